"""`transport.ports.Transport` with ZeroMQ's sockets, on one poll loop."""

from __future__ import annotations

import logging
from typing import Generic, Literal, TypeVar

import msgspec
import zmq

from protocol.codec import Decoder, encode
from protocol.errors import NetworkError, ProtocolError
from transport.addresses import look_up, why_no_route, why_unreached
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.ports import LineOwner
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

M = TypeVar("M")
_logger = logging.getLogger(__name__)


class ZmqTransport:
    """Whoever has it closes what it opened before ``context`` is terminated."""

    look_up = staticmethod(look_up)
    why_unreached = staticmethod(why_unreached)
    why_no_route = staticmethod(why_no_route)

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.loop, self.context = loop, context
        self.now, self.soon = loop.now, loop.soon

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        getattr(_logger, level)("%s", text)

    def dial(
        self, role: Role, endpoint: str, decoder: Decoder[M], owner: LineOwner[M], max_message_bytes: int | None = None
    ) -> ZmqLine[M]:
        line = ZmqLine(self.loop, open_socket(self.context, role, max_message_bytes), role, decoder, owner)
        try:
            connect(line.socket, endpoint)
        except NetworkError:
            line.close(0)
            raise
        return line


class ZmqLine(Generic[M]):
    """A socket and its monitor. libzmq does not reconnect it: then pushes would go to an identity it has forgotten."""

    def __init__(
        self, loop: Loop, socket: zmq.Socket[bytes], role: Role, decoder: Decoder[M], owner: LineOwner[M]
    ) -> None:
        self._loop, self._decode, self._owner = loop, decoder.decode, owner
        self._first = -1 if role is Role.ROSTER_SUB else 0  # there it is behind its topic
        self.socket = socket
        try:
            self._monitor = ConnectionMonitor(socket)
        except zmq.ZMQError as error:
            socket.close(0)
            raise NetworkError(f"it cannot be watched ({error.strerror})") from None
        loop.add(self._monitor.socket, self._on_events)
        loop.add(socket, self._on_readable)

    def send(self, message: msgspec.Struct) -> None:
        send_or_drop(self.socket, [encode(message)])

    def close(self, linger_ms: int | None = None) -> None:
        self._loop.remove(self._monitor.socket)
        self._loop.remove(self.socket)
        self._monitor.close()
        self.socket.close(linger_ms)

    def _on_readable(self) -> None:
        socket, owner = self.socket, self._owner
        for frames in drain(socket):
            try:
                message = self._decode(frames[self._first].buffer)
            except ProtocolError as error:
                owner.on_garbage(error)
            else:
                owner.on_message(message, [frame.buffer for frame in frames[1:]])
            if socket.closed:
                return

    def _on_events(self) -> None:
        for event in self._monitor.events():
            if event is ConnectionEvent.CONNECTED:
                self._owner.on_connected()
            else:
                self._on_readable()  # what was said last
                if not self.socket.closed:
                    self._owner.on_lost(event)
            if self.socket.closed:
                return
