"""One connection of the agent to its tracker: a socket, what arrives on it, and whether it is connected.

Each dial is one attempt with an outcome. The host is looked up afresh, in a thread, and its addresses are tried in
turn, each with a socket of its own. When none of them can be reached or the connection ends, the owner is told why, and
a moment later the next attempt begins. libzmq reconnects by itself too, but in silence, and never again after a failed
handshake.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

from node.reasons import NOT_ADMITTED
from node.work_queue import WorkQueue
from protocol.codec import Decoder
from protocol.endpoints import Address, ip_of, parse_endpoint
from protocol.errors import NetworkError, ProtocolError
from protocol.messages import Message
from transport.addresses import NO_ANSWER, REFUSED
from transport.monitor import ConnectionEvent
from transport.ports import Line, Transport
from transport.sockets import CONNECT_MS_MAX, Role

log = logging.getLogger(__name__)

REDIAL_SECONDS, REDIAL_SECONDS_MAX = 0.2, 2.0
"""Wait after a failed attempt: doubled each time, plus up to half of it at random."""
_CONNECT_SECONDS_MAX = CONNECT_MS_MAX / 1_000

_WORDS = {
    ConnectionEvent.SILENT: "it accepts the connection but does not answer; it hangs, or is not a zswarm tracker",
    ConnectionEvent.HUNG_UP: "it hangs up at once; it has too many connections, or is not a zswarm tracker",
    ConnectionEvent.STRANGER: "something that is not a zswarm tracker answers there",
    ConnectionEvent.LOST: "connection lost",
    ConnectionEvent.DENIED: NOT_ADMITTED,
    ConnectionEvent.OTHER_SECURITY: "it has keys and this peer has none; ask for an invite, and use --invite LINE",
}
_KEYED_WORDS = {
    **_WORDS,
    ConnectionEvent.HUNG_UP: "it hangs up at once; it has too many connections, or another key than this peer knows",
    ConnectionEvent.DENIED: f"{NOT_ADMITTED}'s key, which was revoked or never authorised; have the key "
    "that 'keys show' prints authorised, or, if it was never authorised, ask for an invite",
    ConnectionEvent.OTHER_SECURITY: "it has no keys, but this peer belongs to a network with keys; it is another "
    "tracker, or runs without its key folder",
}
"""Of a peer that knows the tracker's key."""
_HINTS = {
    REFUSED: f"{REFUSED}; is it running there?",
    NO_ANSWER: f"{NO_ANSWER}; is the machine up, and can this one reach the port?",
}

M = TypeVar("M")


class Dialled(Generic[M]):
    """Dials ``endpoint`` again and again, from the first `tick` on; ``names`` resolves hosts. ``on_connected`` gets the
    address that was reached, as the host of an endpoint; ``on_lost`` the reason why there is no connection, also after
    each failed attempt, and whether it is that the tracker does not admit this peer. ``key`` as in `Transport.dial`.
    `NetworkError` when ``endpoint`` is no address."""

    def __init__(
        self,
        transport: Transport,
        names: WorkQueue,
        role: Role,
        endpoint: str,
        decoder: Decoder[M],
        on_message: Callable[[M], None],
        on_connected: Callable[[str], None],
        on_lost: Callable[[str, bool], None],
        rng: Random,
        key: str = "",
    ) -> None:
        self.endpoint = endpoint
        self._key, self._words = key, _KEYED_WORDS if key else _WORDS
        try:
            self._address = parse_endpoint(endpoint)
        except ProtocolError as error:
            raise NetworkError(str(error)) from None
        self._transport, self._names, self._role, self._decoder = transport, names, role, decoder
        self._on_message, self._on_connected, self._on_lost = on_message, on_connected, on_lost
        self._rng = rng
        self._line: Line | None = None
        self._host = ""
        """The address to which `_line` leads..."""
        self._dialled_at = 0.0
        """...and since when."""
        self._hosts: list[str] = []
        self._problems: dict[str, str] = {}
        """Problems of this attempt, by address."""
        self._failures = 0
        self._closed = False
        self._dial_at: float | None = 0.0

    def tick(self, now: float) -> None:
        """Begin an attempt that is due. Call at `next_deadline`."""
        if self._dial_at is not None and now >= self._dial_at:
            self._dial_at = None
            self._begin(self._address.host)

    def next_deadline(self) -> float | None:
        return self._dial_at

    def send(self, message: Message) -> None:
        """Send, or drop: the sender repeats what is not answered."""
        if self._line is not None:
            self._line.send(message)

    def close(self) -> None:
        """Hang up; what was sent still goes out within the linger time."""
        self._closed = True
        self._dial_at = None
        if self._line is not None:
            self._line.close()
            self._line = None

    # --- an attempt --------------------------------------------------------------------------------------

    def _begin(self, host: str) -> None:
        if ip_of(host) is None:
            self._names.submit(self._looked_up, lambda: self._transport.look_up(host))
        else:
            self._looked_up([host])  # it waits behind no name

    def _looked_up(self, found: Any) -> None:
        if self._closed:
            return
        if isinstance(found, NetworkError):
            self._failed(f"{found}; is it spelled right, and does this machine's resolver work?")
            return
        if isinstance(found, BaseException):
            raise found
        self._problems.clear()
        self._hosts = found
        self._try_next()

    def _try_next(self) -> None:
        if not self._hosts:
            self._failed(_summary(self._problems), self._words[ConnectionEvent.DENIED] in self._problems.values())
            return
        self._host, self._dialled_at = self._hosts.pop(0), self._transport.now()
        address = Address(self._host, self._address.port)
        try:
            self._line = self._transport.dial(self._role, str(address), self._decoder, self, key=self._key)
        except NetworkError as error:
            self._next_after(str(error))

    def _next_after(self, problem: str) -> None:
        self._problems[self._host] = problem
        self._try_next()

    def _failed(self, why: str, denied: bool = False) -> None:
        wait = min(REDIAL_SECONDS * 2**self._failures, REDIAL_SECONDS_MAX) * self._rng.uniform(1.0, 1.5)
        self._failures = min(self._failures + 1, 10)
        self._dial_at = self._transport.now() + wait
        self._on_lost(why, denied)

    # --- what the line says ------------------------------------------------------------------------------

    def on_connected(self) -> None:
        self._failures = 0
        self._on_connected(self._host)

    def on_message(self, message: M, _data: object) -> None:
        self._on_message(message)

    def on_garbage(self, error: ProtocolError) -> None:
        log.warning("%s sent a message that cannot be understood: %s", self.endpoint, error)

    def on_lost(self, event: ConnectionEvent) -> None:
        assert self._line is not None
        self._line.close(0)
        self._line = None
        host, port = self._host, self._address.port
        if event is ConnectionEvent.LOST:
            self._failed(self._words[event])
        elif event is ConnectionEvent.HUNG_UP:
            keyed = partial(self._transport.has_keys, host, port, _CONNECT_SECONDS_MAX)
            self._names.submit(self._told_keyed, keyed)
        elif event is not ConnectionEvent.UNREACHED:
            self._next_after(self._words[event])
        elif self._transport.now() - self._dialled_at >= 0.9 * _CONNECT_SECONDS_MAX:
            self._next_after(NO_ANSWER)
        else:
            why = partial(self._transport.why_unreached, host, port, _CONNECT_SECONDS_MAX)
            self._names.submit(self._told_why, why)

    def _told_keyed(self, keyed: Any) -> None:
        """Whether the tracker that hung up ``keyed`` has keys, if that is known."""
        if isinstance(keyed, BaseException):
            raise keyed
        if not self._closed:
            mismatch = keyed is not None and keyed is not bool(self._key)
            self._next_after(self._words[ConnectionEvent.OTHER_SECURITY if mismatch else ConnectionEvent.HUNG_UP])

    def _told_why(self, why: Any) -> None:
        if isinstance(why, BaseException):
            raise why
        if not self._closed:
            self._next_after(str(why))


def _summary(problems: Mapping[str, str]) -> str:
    """``problems`` by address, in words; one that all addresses share is named once."""
    words = dict.fromkeys(problems.values())
    if len(words) == 1:
        word = next(iter(words))
        return _HINTS.get(word, word)
    return ", ".join(f"{host}: {word}" for host, word in problems.items())
