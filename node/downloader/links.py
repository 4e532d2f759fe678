"""The downloader's connections to sources: one DEALER and one connection monitor per session.

Owns the sockets. They do not reconnect by themselves: a lost connection is an event, so that nobody waits for
pushes that go to an identity libzmq has forgotten. What is said over them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import zmq

from node.downloader.download import SourceMessage
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import CONTROL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import Message, Piece, PieceServerReply
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

BYE_LINGER_MS = 300
"""A goodbye frees a slot at the source: give it a moment to go out."""


class Listener(Protocol):
    """Whose session it is: hears what comes over it."""

    def on_connected(self, session: int) -> None: ...
    def on_lost(self, session: int) -> None: ...
    def on_message(self, session: int, message: SourceMessage) -> None: ...
    def on_piece(self, session: int, header: Piece, data: zmq.Frame) -> None: ...
    def on_misbehaved(self, session: int, reason: str) -> None: ...


@dataclass(slots=True)
class _Link:
    socket: zmq.Socket[bytes]
    monitor: ConnectionMonitor
    listener: Listener


class FetchLinks:
    """All connections of the downloader, by session number."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._context = context
        self._links: dict[int, _Link] = {}
        self._decoder: Decoder[PieceServerReply] = Decoder(PieceServerReply, REPLY_BYTES_MAX)

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener) -> None:
        """Open the connection; the listener hears `Listener.on_connected` or `Listener.on_lost`.

        ``piece_bytes`` is the largest data frame to be accepted.
        """
        limit = max(piece_bytes + CONTROL_BYTES_MAX, REPLY_BYTES_MAX)
        socket = open_socket(self._context, Role.FETCH_DEALER, max_message_bytes=limit)
        monitor = ConnectionMonitor(socket)
        self._links[session] = _Link(socket, monitor, listener)
        self._loop.add(monitor.socket, partial(self._on_monitor, session))
        self._loop.add(socket, partial(self._on_readable, session))
        try:
            connect(socket, endpoint)
        except NetworkError as error:
            listener.on_misbehaved(session, f"has an impossible endpoint: {error}")

    def send(self, session: int, message: Message) -> None:
        """Send, unless the connection is gone or full: then nothing arrives, and the lost-connection event or the
        silence of the source ends the session."""
        link = self._links.get(session)
        if link is not None:
            send_or_drop(link.socket, [encode(message)])

    def disconnect(self, session: int) -> None:
        link = self._links.pop(session, None)
        if link is None:
            return
        self._loop.remove(link.monitor.socket)
        self._loop.remove(link.socket)
        link.monitor.close()
        link.socket.close(linger=BYE_LINGER_MS)

    def close(self) -> None:
        for session in list(self._links):
            self.disconnect(session)

    def _on_monitor(self, session: int) -> None:
        link = self._links[session]
        for event in link.monitor.events():
            heard: Callable[[int], None] = link.listener.on_lost
            if event is ConnectionEvent.CONNECTED:
                heard = link.listener.on_connected
            else:
                self._drain(session)
            heard(session)
            if session not in self._links:
                return

    def _on_readable(self, session: int) -> None:
        self._drain(session)

    def _drain(self, session: int) -> None:
        link = self._links.get(session)
        if link is None:
            return
        for frames in drain(link.socket):
            try:
                self._dispatch(session, link.listener, frames)
            except ProtocolError as error:
                link.listener.on_misbehaved(session, str(error))
            if session not in self._links:
                return

    def _dispatch(self, session: int, listener: Listener, frames: list[zmq.Frame]) -> None:
        message = self._decoder.decode(frames[0].buffer)
        if message_session(message) not in (session, None):
            raise ProtocolError(f"a message for session {message_session(message)} came over session {session}")
        if isinstance(message, Piece):
            if len(frames) != 2:
                raise ProtocolError(f"a piece is 2 frames, not {len(frames)}")
            listener.on_piece(session, message, frames[1])
        elif len(frames) != 1:
            raise ProtocolError(f"{len(frames)} frames where a message has 1")
        else:
            listener.on_message(session, message)


def message_session(message: PieceServerReply) -> int | None:
    """The session a reply names; None for an `Error`, which names none."""
    return getattr(message, "session", None)
