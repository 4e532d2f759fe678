"""The downloader's connections to sources: one DEALER and one connection monitor per session.

Owns the sockets. They do not reconnect by themselves: a lost connection is an event, so that nobody waits for
pushes that go to an identity libzmq has forgotten. What is said over them is decided elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import zmq

from node.downloader.job_context import Listener
from protocol.codec import Decoder, encode
from protocol.endpoints import host_of, ip_of, parse_endpoint
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import CONTROL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import Message, Piece, PieceServerReply
from transport.addresses import why_no_route
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

log = logging.getLogger(__name__)

NO_ANSWER = "no answer"
LOST_WORDS = {
    ConnectionEvent.SILENT: NO_ANSWER,
    ConnectionEvent.HUNG_UP: "it hangs up at once; it has too many connections, or is not a zswarm peer",
    ConnectionEvent.LOST: "connection lost",
}
REFUSAL_SECONDS_MAX = 1.0
"""A machine refuses within a round trip; that there is none is known when it was looked for three times, in 3 s."""
BYE_LINGER_MS = 300
"""A goodbye frees the session at the source: give it a moment to go out."""


@dataclass(slots=True)
class _Link:
    socket: zmq.Socket[bytes]
    monitor: ConnectionMonitor
    listener: Listener
    endpoint: str
    dialled_at: float


class FetchLinks:
    """All connections of the downloader, by session number."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._context = context
        self._links: dict[int, _Link] = {}
        self._failed: dict[int, Callable[[int], None]] = {}
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.add(self._wakeup, self._on_failed)
        self._decoder: Decoder[PieceServerReply] = Decoder(PieceServerReply, REPLY_BYTES_MAX)

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener) -> None:
        """Open the connection; the listener hears `Listener.on_connected`, or `Listener.on_lost` also when this
        machine has no socket left or ``endpoint`` is no address of a host, or `Listener.on_misbehaved` when another
        program answers there. It hears nothing before this returns.

        ``piece_bytes`` is the largest data frame to be accepted.
        """
        if not _is_numeric(endpoint):
            self._fail(session, partial(listener.on_lost, reason="this machine cannot dial that address"))
            return
        limit = max(piece_bytes + CONTROL_BYTES_MAX, REPLY_BYTES_MAX)
        try:
            link = self._open(limit, listener, endpoint)
        except (NetworkError, zmq.ZMQError) as error:
            log.warning("a source cannot be dialled now: %s", error)
            self._fail(session, partial(listener.on_lost, reason=str(error)))
            return
        self._links[session] = link
        self._loop.add(link.monitor.socket, partial(self._on_monitor, session))
        self._loop.add(link.socket, partial(self._on_readable, session))
        try:
            connect(link.socket, endpoint)
        except NetworkError as error:
            self._fail(session, partial(listener.on_lost, reason=str(error)))

    def send(self, session: int, message: Message) -> None:
        """Send, unless the connection is gone or full: then nothing arrives, and the lost-connection event or the
        silence of the source ends the session."""
        link = self._links.get(session)
        if link is not None:
            send_or_drop(link.socket, [encode(message)])

    def disconnect(self, session: int) -> None:
        self._failed.pop(session, None)
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
        self._loop.remove(self._wakeup)
        os.close(self._wakeup)

    def _open(self, limit: int, listener: Listener, endpoint: str) -> _Link:
        socket = open_socket(self._context, Role.FETCH_DEALER, max_message_bytes=limit)
        try:
            return _Link(socket, ConnectionMonitor(socket), listener, endpoint, self._loop.now())
        except zmq.ZMQError:
            socket.close(0)
            raise

    def _fail(self, session: int, tell: Callable[[int], None]) -> None:
        """Have the loop tell it: the listener may dial the next source at once, and there may be thousands."""
        self._failed[session] = tell
        os.eventfd_write(self._wakeup, 1)

    def _on_failed(self) -> None:
        os.eventfd_read(self._wakeup)
        for session in list(self._failed):
            tell = self._failed.pop(session, None)
            if tell is not None:
                tell(session)

    def _on_monitor(self, session: int) -> None:
        link = self._links[session]
        for event in link.monitor.events():
            if event is ConnectionEvent.CONNECTED:
                link.listener.on_connected(session)
            else:
                self._drain(session)
                self._tell_lost(session, link, event)
            if session not in self._links:
                return

    def _tell_lost(self, session: int, link: _Link, event: ConnectionEvent) -> None:
        if event is ConnectionEvent.STRANGER:
            link.listener.on_misbehaved(session, "it does not speak this protocol")
        elif event is ConnectionEvent.UNREACHED:
            late = self._loop.now() - link.dialled_at >= REFUSAL_SECONDS_MAX
            answer = NO_ANSWER if late else "refused"
            link.listener.on_lost(session, why_no_route(host_of(link.endpoint)) or answer)
        else:
            link.listener.on_lost(session, LOST_WORDS[event])

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
                raise ProtocolError(f"{len(frames)} frames where a piece has 2")
            listener.on_piece(session, message, frames[1].buffer)
        elif len(frames) != 1:
            raise ProtocolError(f"{len(frames)} frames where a message has 1")
        else:
            listener.on_message(session, message)


def _is_numeric(endpoint: str) -> bool:
    """Trackers name sources: none may lead us to sockets of this machine, or to a name whose look-up would hold up
    libzmq's one thread for all connections."""
    try:
        return ip_of(parse_endpoint(endpoint).host) is not None
    except ProtocolError:
        return False


def message_session(message: PieceServerReply) -> int | None:
    """The session a reply names; None for an `Error`, which names none."""
    return getattr(message, "session", None)
