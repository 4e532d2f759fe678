"""A tracker as real processes, and a client that talks to it over real sockets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
import zmq

from protocol.codec import ROSTER_DECODER, Decoder, encode
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import (
    Beat,
    Entry,
    FileList,
    Join,
    ListRequest,
    LookupReply,
    LookupRequest,
    Message,
    RegistrarReply,
    RegistrarRequest,
    Roster,
    RosterEvent,
    Welcome,
)
from transport.sockets import Role, connect, open_socket

ROOT = Path(__file__).resolve().parents[2]
R = TypeVar("R", bound=Message)
REPEAT_MS = 500
REPEATS_MAX = 40


class RunningTracker:
    """``python -m broker``, ready. Leaving the context ends it in order."""

    def __init__(self, directory: Path, *options: str, config: str = "lookups: 1\n") -> None:
        config_path = directory / "tracker.yaml"
        config_path.write_text(config)
        self.ready_file = directory / "ready.json"
        command = [sys.executable, "-m", "broker", "--config", str(config_path), "--ready-file", str(self.ready_file)]
        command += ["--listen", "tcp://127.0.0.1:0", "--web", "", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.log: list[str] = []
        try:
            self.wait_for("tracker ready")
            self.endpoints: dict[str, Any] = json.loads(self.ready_file.read_text())
        except BaseException:
            self.end(signal.SIGKILL)  # the children end with it
            raise

    def __enter__(self) -> RunningTracker:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        code = self.end(signal.SIGTERM)
        assert error is not None or code == 0, self.log

    def wait_for(self, text: str) -> str:
        """Read the log up to the next line that contains ``text``."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if text in line:
                return line
        raise AssertionError(f"the tracker ended: {self.log}")

    def kill(self, module: str) -> None:
        """``kill -9`` the child that runs ``module``."""
        for child in psutil.Process(self.process.pid).children():
            if module in child.cmdline():
                child.kill()
                return
        raise AssertionError(f"no {module} among the children")

    def end(self, number: signal.Signals) -> int:
        """Send ``number`` and wait; the exit code. Reads the rest of the log."""
        with self.process as process:
            if process.poll() is None:
                process.send_signal(number)
            assert process.stderr is not None
            if not process.stderr.closed:
                self.log += process.stderr  # to its end: that of the last child
        return process.returncode


class Client:
    """Sockets of a peer. Requests are repeated until they are answered, as the protocol has it."""

    def __init__(self, tracker: RunningTracker) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.registrar = self._dial(Role.CONTROL_DEALER, tracker.endpoints["registrar"])
        self.lookups = [self._dial(Role.CONTROL_DEALER, lookup) for lookup in tracker.endpoints["lookups"]]
        self.roster = self._dial(Role.ROSTER_SUB, tracker.endpoints["roster"])
        self._replies: Decoder[Message] = Decoder(RegistrarReply | LookupReply, REPLY_BYTES_MAX)

    def _dial(self, role: Role, endpoint: str) -> zmq.Socket[bytes]:
        socket = open_socket(self._context, role)
        socket.set(zmq.RCVTIMEO, REPEAT_MS)
        socket.set(zmq.SNDTIMEO, REPEAT_MS)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RECONNECT_IVL, 100)  # a test just repeats what it asked
        connect(socket, endpoint)
        return socket

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy()

    def ask(self, socket: zmq.Socket[bytes], request: RegistrarRequest | LookupRequest, kind: type[R]) -> R:
        """The reply to ``request``, which must be of ``kind``."""
        reply = self.exchange(socket, [encode(request)], request.id)
        assert isinstance(reply, kind), reply
        return reply

    def exchange(self, socket: zmq.Socket[bytes], frames: Sequence[bytes], number: int) -> Message:
        """Send ``frames`` until a reply with id ``number`` comes."""
        for _ in range(REPEATS_MAX):
            try:
                socket.send_multipart(frames)
                while True:
                    reply = self._replies.decode(socket.recv())
                    if getattr(reply, "id", None) == number:
                        return reply
            except zmq.Again:
                continue
        raise AssertionError(f"no answer to {frames!r:.200}")

    def join(self, name: str, *entries: Entry, endpoint: str = "tcp://*:7000") -> Welcome:
        token = name.encode().ljust(16, b"-")
        request = self.ask(self.registrar, Join(1, name, token, name, endpoint), ListRequest)
        return self.ask(self.registrar, FileList(2, name, token, request.list_id, 0, True, 1, list(entries)), Welcome)

    def next_event(self) -> RosterEvent:
        """The next event published that is no beat."""
        while isinstance(event := self.next_roster().event, Beat):
            pass
        return event

    def next_roster(self) -> Roster:
        """The next thing published."""
        for _ in range(REPEATS_MAX):
            try:
                topic, payload = self.roster.recv_multipart()
            except zmq.Again:
                continue
            assert topic == b"roster"
            return ROSTER_DECODER.decode(payload)
        raise AssertionError("nothing is published")
