"""The downloader's connections to sources: one line per session.

A lost connection is an event, so that nobody waits for pushes that go to an identity libzmq has forgotten. What is
said over them is decided elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node.disk.store import Buffer
from node.downloader.job_context import Listener
from node.reasons import NOT_ADMITTED
from protocol.codec import Decoder
from protocol.endpoints import host_of, ip_of, parse_endpoint
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import CONTROL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import Message, Piece, PieceServerReply
from transport.monitor import ConnectionEvent
from transport.ports import Line, Transport
from transport.sockets import Role

log = logging.getLogger(__name__)

NO_ANSWER = "no answer"
LOST_WORDS = {
    ConnectionEvent.SILENT: NO_ANSWER,
    ConnectionEvent.HUNG_UP: "it hangs up at once; it has too many connections, or is not a zswarm peer",
    ConnectionEvent.LOST: "connection lost",
    ConnectionEvent.DENIED: NOT_ADMITTED,
    ConnectionEvent.OTHER_SECURITY: "it has keys and this peer has none, or the other way round",
}
REFUSAL_SECONDS_MAX = 1.0
"""A machine refuses within a round trip; that there is none is known when it was looked for three times, in 3 s."""
BYE_LINGER_MS = 300
"""A goodbye frees the session at the source: give it a moment to go out."""


class FetchLinks:
    """All connections of the downloader, by session number."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._links: dict[int, _Link] = {}
        self._decoder: Decoder[PieceServerReply] = Decoder(PieceServerReply, REPLY_BYTES_MAX)

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener, key: str = "") -> None:
        """Open the connection; the listener hears `Listener.on_connected`, or `Listener.on_lost` also when this
        machine has no socket left or ``endpoint`` is no address of a host, or `Listener.on_misbehaved` when another
        program answers there. It hears nothing before this returns.

        ``piece_bytes`` is the largest data frame to be accepted; ``key`` as in `Transport.dial`.
        """
        link = self._links[session] = _Link(session, endpoint, listener, self._transport)
        if not _is_numeric(endpoint):
            self._fail(link, "this machine cannot dial that address")
            return
        limit = max(piece_bytes + CONTROL_BYTES_MAX, REPLY_BYTES_MAX)
        try:
            link.line = self._transport.dial(Role.FETCH_DEALER, endpoint, self._decoder, link, limit, key)
        except NetworkError as error:
            log.warning("a source cannot be dialled now: %s", error)
            self._fail(link, str(error))

    def send(self, session: int, message: Message) -> None:
        """Send, unless the connection is gone or full: then nothing arrives, and the lost-connection event or the
        silence of the source ends the session."""
        line = self.line(session)
        if line is not None:
            line.send(message)

    def line(self, session: int) -> Line | None:
        """What the session goes over."""
        link = self._links.get(session)
        return None if link is None else link.line

    def disconnect(self, session: int) -> None:
        link = self._links.pop(session, None)
        if link is not None and link.line is not None:
            link.line.close(BYE_LINGER_MS)

    def close(self) -> None:
        for session in list(self._links):
            self.disconnect(session)

    def _fail(self, link: _Link, reason: str) -> None:
        """Tell it later: the listener may dial the next source at once, and there may be thousands."""

        def tell() -> None:
            if self._links.get(link.session) is link:
                link.listener.on_lost(link.session, reason)

        self._transport.soon(tell)


class _Link:
    """A session; the owner of its line, which there is none of where it could not be dialled."""

    def __init__(self, session: int, endpoint: str, listener: Listener, transport: Transport) -> None:
        self.session, self.listener = session, listener
        self.line: Line | None = None
        self._endpoint, self._transport = endpoint, transport
        self._dialled_at = transport.now()

    def on_connected(self) -> None:
        self.listener.on_connected(self.session)

    def on_lost(self, event: ConnectionEvent) -> None:
        if event is ConnectionEvent.STRANGER:
            self.listener.on_misbehaved(self.session, "it does not speak this protocol")
        elif event is ConnectionEvent.UNREACHED:
            late = self._transport.now() - self._dialled_at >= REFUSAL_SECONDS_MAX
            answer = NO_ANSWER if late else "refused"
            self.listener.on_lost(self.session, self._transport.why_no_route(host_of(self._endpoint)) or answer)
        else:
            self.listener.on_lost(self.session, LOST_WORDS[event])

    def on_garbage(self, error: ProtocolError) -> None:
        self.listener.on_misbehaved(self.session, str(error))

    def on_message(self, message: PieceServerReply, data: Sequence[Buffer]) -> None:
        session, named = self.session, message_session(message)
        frames = 2 if isinstance(message, Piece) else 1
        if named not in (session, None):
            what = f"a message for session {named} came over session {session}"
            self.listener.on_misbehaved(session, what)
        elif 1 + len(data) != frames:
            self.listener.on_misbehaved(session, f"{1 + len(data)} frames where such a message has {frames}")
        elif isinstance(message, Piece):
            self.listener.on_piece(session, message, data[0])
        else:
            self.listener.on_message(session, message)


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
