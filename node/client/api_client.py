"""Ask the peer that runs on a data directory, and notice when none does. Synchronous."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from node.api_messages import ApiReply, ApiRequest
from node.client.lines import Lines
from node.config import PROGRAM, no_peer
from node.local_messages import API_SOCKET
from protocol.errors import NetworkError
from transport.runtime_dir import find_runtime_dir

REQUEST_SECONDS = 10.0
TELL_SECONDS = 2.0
LOOK_SECONDS = 0.5
"""While there is no reply, it is made sure this often that there still is a peer."""


def _nothing(_text: str) -> None:
    """Nobody asks."""


class ApiClient:
    """A connection to the peer that runs on ``data_dir``; `NetworkError` at once when there is none, which says that
    ``program`` would run one. ``tell`` is told of a reply that takes long."""

    def __init__(self, data_dir: Path, tell: Callable[[str], None] = _nothing, program: str = PROGRAM) -> None:
        self._data_dir = data_dir
        self._tell = tell
        self._program = program
        self._unanswered_since: float | None = None
        try:
            directory = find_runtime_dir(data_dir)
        except OSError:
            raise no_peer(data_dir, program) from None
        self._path = directory / API_SOCKET
        self._check_listening()
        self._lines = Lines()
        self._line = self._lines.open(str(data_dir), directory)

    def request(self, message: ApiRequest, timeout: float = REQUEST_SECONDS) -> ApiReply:
        """The reply to ``message``, whatever it is, `ApiError` included. `NetworkError` after ``timeout`` seconds."""
        self._line.send(message)
        started = time.monotonic()
        deadline, tell_at = started + timeout, started + TELL_SECONDS
        if self._unanswered_since is None:
            self._unanswered_since = started
        while (left := deadline - time.monotonic()) > 0:
            reply = self._line.reply_to(message, min(left, LOOK_SECONDS))
            if reply is not None:
                self._unanswered_since = None
                return reply
            self._check_listening()
            if time.monotonic() >= tell_at:
                tell_at = deadline
                self._tell(f"waiting for the peer on {self._data_dir} to answer, up to {timeout:.0f} s")
        seconds = time.monotonic() - self._unanswered_since
        what = f"the peer on {self._data_dir} has not answered for {seconds:.0f} s"
        raise NetworkError(f"{what}: its agent is stopped, hangs or has too much to do; its log may say why")

    def _check_listening(self) -> None:
        """libzmq would dial a socket that nobody listens on for ever; a killed peer leaves such a file behind."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError:
                raise no_peer(self._data_dir, self._program) from None

    def close(self) -> None:
        self._lines.close()
