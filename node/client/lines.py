"""Conversations with many local peers at once over their ``api.sock``: nobody waits for one that is being restarted.

A line survives the restart of the agent behind it; what was asked of the dead one is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import zmq

from node.api_messages import ApiGetStatus, ApiReply, ApiRequest, StatusReport
from node.local_messages import API_SOCKET
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import LOCAL_BYTES_MAX
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, connect, drain, open_context, open_socket

ASK_AGAIN_SECONDS = 1.0
"""A status that was not answered by then was asked of a process that is gone."""

Key = TypeVar("Key")


class Lines:
    """The lines of one owner: a ZeroMQ context. A context manager, and for one thread."""

    def __init__(self) -> None:
        self._context = open_context()
        self._lines: list[Line] = []

    def open(self, name: str, directory: Path) -> Line:
        """A line to the peer ``name`` with its sockets in ``directory``. It may be started later."""
        line = Line(self._context, name, directory)
        self._lines.append(line)
        return line

    def close(self) -> None:
        for line in self._lines:
            line.socket.close(0)
        self._context.term()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Line:
    """To one peer."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], name: str, directory: Path) -> None:
        self._name = name
        self._decoder: Decoder[ApiReply] = Decoder(ApiReply, LOCAL_BYTES_MAX)
        self._last_id = 0
        self._status_asked = 0.0
        self.socket = open_socket(context, Role.LOCAL_DEALER)
        connect(self.socket, ipc_endpoint(directory, API_SOCKET))

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def send(self, message: ApiRequest) -> None:
        """``message`` has a `next_id`. It waits for the peer to listen."""
        self.socket.send(encode(message, LOCAL_BYTES_MAX))

    def replies(self) -> list[ApiReply]:
        """All that has arrived."""
        return [self._decoder.decode(frames[0].buffer) for frames in drain(self.socket)]

    def request(self, message: ApiRequest, timeout: float) -> ApiReply:
        """The reply to ``message``. `NetworkError` after ``timeout`` seconds."""
        self.send(message)
        reply = self.reply_to(message, timeout)
        if reply is None:
            raise NetworkError(f"{self._name} did not answer within {timeout:g} s")
        return reply

    def reply_to(self, message: ApiRequest, timeout: float) -> ApiReply | None:
        """The reply to ``message``, which was sent, if it comes within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.socket.poll(int(left * 1_000) + 1)
            for reply in self.replies():
                if reply.id == message.id:
                    return reply
        return None

    def ask_status(self, now: float) -> None:
        """Ask for a status, once at a time."""
        if not self._status_asked or now - self._status_asked >= ASK_AGAIN_SECONDS:
            self._status_asked = now
            self.send(ApiGetStatus(self.next_id()))

    def statuses(self) -> list[StatusReport]:
        """The statuses that have arrived; another may be asked for then."""
        found = [reply for reply in self.replies() if isinstance(reply, StatusReport)]
        if found:
            self._status_asked = 0.0
        return found


def gather(requests: Mapping[Line, ApiRequest], timeout: float) -> dict[Line, ApiReply]:
    """Send each request at the same moment, and return the replies that came within ``timeout`` seconds."""
    for line, message in requests.items():
        line.send(message)
    replies: dict[Line, ApiReply] = {}
    deadline = time.monotonic() + timeout
    while len(replies) < len(requests) and (left := deadline - time.monotonic()) > 0:
        waiting = [line for line in requests if line not in replies]
        for line in _readable(waiting, left):
            for reply in line.replies():
                if reply.id == requests[line].id:
                    replies[line] = reply
    return replies


def latest_statuses(lines: Mapping[Key, Line], seconds: float) -> dict[Key, StatusReport]:
    """Ask everyone for a status and return those that came within ``seconds``; it takes that long when one is missing.

    A peer that does not answer in time is waited for by the next call.
    """
    now = time.monotonic()
    deadline = now + seconds
    for line in lines.values():
        line.ask_status(now)
    found: dict[Key, StatusReport] = {}
    while len(found) < len(lines) and (left := deadline - time.monotonic()) > 0:
        waiting = {line: key for key, line in lines.items() if key not in found}
        for line in _readable(list(waiting), left):
            for status in line.statuses():
                found[waiting[line]] = status
    return found


def _readable(lines: list[Line], seconds: float) -> list[Line]:
    poller = zmq.Poller()
    by_socket = {line.socket: line for line in lines}
    for socket in by_socket:
        poller.register(socket, zmq.POLLIN)
    return [by_socket[socket] for socket, _ in poller.poll(int(seconds * 1_000) + 1) if isinstance(socket, zmq.Socket)]
