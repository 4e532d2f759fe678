"""One connection to a tracker for whoever measures it: ask, and wait for the answer."""

from __future__ import annotations

import time
from typing import TypeVar

import zmq

from benchmarks.tracker_load import samples
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import (
    FileList,
    Join,
    ListRequest,
    LookupReply,
    LookupRequest,
    Message,
    RegistrarReply,
    RegistrarRequest,
    Welcome,
)
from transport.sockets import Role, connect, open_context, open_socket

ANSWER_SECONDS = 10.0
REPEAT_MS = 500
LIST_VERSION = 1

R = TypeVar("R", bound=Message)


class Conversation:
    """With the registrar or a lookup at ``endpoint``. A context manager."""

    def __init__(self, endpoint: str) -> None:
        self._context = open_context()
        self._socket = open_socket(self._context, Role.CONTROL_DEALER)
        self._socket.rcvtimeo = self._socket.sndtimeo = REPEAT_MS
        self._decoder: Decoder[Message] = Decoder(RegistrarReply | LookupReply, REPLY_BYTES_MAX)
        self._endpoint = endpoint
        self._last_id = 0
        connect(self._socket, endpoint)

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def ask(self, request: RegistrarRequest | LookupRequest, kind: type[R], seconds: float = ANSWER_SECONDS) -> R:
        """The answer of ``kind`` to ``request``, which has a `next_id` and is repeated until then. `NetworkError` after
        ``seconds``."""
        deadline = time.monotonic() + seconds
        reply: Message | None = None
        while time.monotonic() < deadline:
            try:
                self._socket.send(encode(request))
                while getattr(reply := self._decoder.decode(self._socket.recv()), "id", None) != request.id:
                    pass
            except zmq.Again:
                continue
            if isinstance(reply, kind):
                return reply
        raise NetworkError(f"{self._endpoint} did not answer {request} within {seconds:g} s; it said last: {reply}")

    def join(self, number: int, files: int) -> Welcome:
        """As peer ``number`` of `samples`, with a list of the first ``files`` (one page of them)."""
        peer, token = samples.peer_id(number), samples.token(number)
        asked = self.ask(Join(self.next_id(), peer, token, f"light-{number}", f"tcp://*:{1 + number}"), ListRequest)
        entries = list(samples.entries(files))
        page = FileList(self.next_id(), peer, token, asked.list_id, 0, True, LIST_VERSION, entries)
        return self.ask(page, Welcome)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()
