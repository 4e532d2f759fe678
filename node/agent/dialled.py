"""One connection of the agent to its tracker: a socket, what arrives on it, and whether it is connected.

Each dial is one attempt with an outcome. The host is looked up afresh, in a thread, and its addresses are tried in
turn, each with a socket of its own. When none of them can be reached or the connection ends, the owner is told why, and
a moment later the next attempt begins. libzmq reconnects by itself too, but in silence, and never again after a failed
handshake.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar

import zmq

from node.workers import Workers
from protocol.codec import encode
from protocol.endpoints import Address, ip_of, parse_endpoint
from protocol.errors import NetworkError, ProtocolError
from protocol.messages import Message
from transport.addresses import NO_ANSWER, REFUSED, look_up, why_unreached
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import CONNECT_MS_MAX, Role, connect, drain, open_socket, send_or_drop

log = logging.getLogger(__name__)

REDIAL_SECONDS, REDIAL_SECONDS_MAX = 0.2, 2.0
"""Between an attempt that failed and the next one: twice as long each time, and up to half as long again at random."""
_CONNECT_SECONDS_MAX = CONNECT_MS_MAX / 1_000

_WORDS = {
    ConnectionEvent.SILENT: "it accepts the connection but does not answer; it hangs, or is not a zswarm tracker",
    ConnectionEvent.HUNG_UP: "it hangs up at once; it has too many connections, or is not a zswarm tracker",
    ConnectionEvent.STRANGER: "something that is not a zswarm tracker answers there",
    ConnectionEvent.LOST: "connection lost",
}
_HINTS = {
    REFUSED: f"{REFUSED}; is it running there?",
    NO_ANSWER: f"{NO_ANSWER}; is the machine up, and can this one reach the port?",
}

M = TypeVar("M")
Told = Callable[[Any], None]
"""What a thread's result is for."""


@dataclass(slots=True, frozen=True)
class _Link:
    """One attempt at one address."""

    address: Address
    socket: zmq.Socket[bytes]
    monitor: ConnectionMonitor
    opened_at: float

    def close(self, linger: int | None = None) -> None:
        self.monitor.close()
        self.socket.close(linger)


class Dialled(Generic[M]):
    """Dials ``endpoint`` and goes on dialling, from the first `tick` on. ``decode`` makes of a frame what may arrive;
    ``on_connected`` hears the address that was reached, as the host of an endpoint, and ``on_lost`` why there is no
    connection, also after each attempt that failed. `NetworkError` when ``endpoint`` is no address."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        names: Workers[Told, Any],
        role: Role,
        endpoint: str,
        decode: Callable[[memoryview], M],
        on_message: Callable[[M], None],
        on_connected: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.endpoint = endpoint
        try:
            self._address = parse_endpoint(endpoint)
        except ProtocolError as error:
            raise NetworkError(str(error)) from None
        self._context, self._names, self._role, self._decode = context, names, role, decode
        self._on_message, self._on_connected, self._on_lost = on_message, on_connected, on_lost
        self._random = Random()
        self._loop: Loop | None = None
        self._link: _Link | None = None
        self._hosts: list[str] = []
        self._problems: dict[str, str] = {}
        """Of this attempt, by address."""
        self._failures = 0
        self._closed = False
        self._dial_at: float | None = 0.0

    def attach(self, loop: Loop) -> None:
        """Be served by ``loop``, and by no other any more. Its owner calls `tick`."""
        self.detach()
        self._loop = loop
        if self._link is not None:
            self._watch(loop, self._link)

    def detach(self) -> None:
        if self._loop is not None and self._link is not None:
            self._unwatch(self._loop, self._link)
        self._loop = None

    def tick(self, now: float) -> None:
        """Begin an attempt that is due. Call at `next_deadline`."""
        if self._dial_at is not None and now >= self._dial_at:
            self._dial_at = None
            self._begin(self._address.host)

    def next_deadline(self) -> float | None:
        return self._dial_at

    def send(self, message: Message) -> None:
        """Send, or not: what is not answered is said again by whoever said it."""
        if self._link is not None:
            send_or_drop(self._link.socket, [encode(message)])

    def close(self) -> None:
        """Hang up; what was sent still goes out within the linger time."""
        self._closed = True
        self._dial_at = None
        if self._link is not None:
            self._put_away().close()
        self._loop = None

    # --- an attempt --------------------------------------------------------------------------------------

    def _begin(self, host: str) -> None:
        if ip_of(host) is None:
            self._names.submit(self._looked_up, lambda: look_up(host))
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
            self._failed(_summary(self._problems))
            return
        host = self._hosts.pop(0)
        try:
            self._link = self._open(Address(host, self._address.port))
        except NetworkError as error:
            self._next_after(host, str(error))

    def _open(self, address: Address) -> _Link:
        assert self._loop is not None
        socket = open_socket(self._context, self._role)
        try:
            link = _Link(address, socket, ConnectionMonitor(socket), self._loop.now())
        except zmq.ZMQError as error:
            socket.close(0)
            raise NetworkError(f"the connection cannot be watched ({error.strerror})") from None
        try:
            connect(socket, str(address))
        except NetworkError:
            link.close(0)
            raise
        self._watch(self._loop, link)
        return link

    def _next_after(self, host: str, problem: str) -> None:
        self._problems[host] = problem
        self._try_next()

    def _failed(self, why: str) -> None:
        wait = min(REDIAL_SECONDS * 2**self._failures, REDIAL_SECONDS_MAX) * self._random.uniform(1.0, 1.5)
        self._failures = min(self._failures + 1, 10)
        assert self._loop is not None
        self._dial_at = self._loop.now() + wait
        self._on_lost(why)

    # --- what the sockets say ----------------------------------------------------------------------------

    def _receive(self, link: _Link) -> None:
        for frames in drain(link.socket):
            try:
                message = self._decode(frames[-1].buffer)
            except ProtocolError as error:
                log.warning("%s sent a message that cannot be understood: %s", self.endpoint, error)
                continue
            self._on_message(message)
            if self._link is not link:
                return

    def _changed(self, link: _Link) -> None:
        for event in link.monitor.events():
            if event is ConnectionEvent.CONNECTED:
                self._failures = 0
                self._on_connected(link.address.host)
            else:
                self._receive(link)
                self._lost(link, event)
            if self._link is not link:
                return

    def _lost(self, link: _Link, event: ConnectionEvent) -> None:
        if self._link is not link:  # what was said last made the owner close this
            return
        assert self._loop is not None
        self._put_away().close(0)
        late = self._loop.now() - link.opened_at >= 0.9 * _CONNECT_SECONDS_MAX
        host, port = link.address
        if event is ConnectionEvent.LOST:
            self._failed(_WORDS[event])
        elif event is not ConnectionEvent.UNREACHED:
            self._next_after(host, _WORDS[event])
        elif late:
            self._next_after(host, NO_ANSWER)
        else:
            tell = partial(self._told_why, host)
            self._names.submit(tell, lambda: why_unreached(host, port, _CONNECT_SECONDS_MAX))

    def _told_why(self, host: str, why: Any) -> None:
        if isinstance(why, BaseException):
            raise why
        if not self._closed:
            self._next_after(host, str(why))

    # --- the loop ----------------------------------------------------------------------------------------

    def _watch(self, loop: Loop, link: _Link) -> None:
        loop.add(link.socket, partial(self._receive, link))
        loop.add(link.monitor.socket, partial(self._changed, link))

    def _unwatch(self, loop: Loop, link: _Link) -> None:
        loop.remove(link.socket)
        loop.remove(link.monitor.socket)

    def _put_away(self) -> _Link:
        link, self._link = self._link, None
        assert link is not None
        if self._loop is not None:
            self._unwatch(self._loop, link)
        return link


def _summary(problems: Mapping[str, str]) -> str:
    """``problems`` by address, in words; the same of all addresses is said once."""
    words = dict.fromkeys(problems.values())
    if len(words) == 1:
        word = next(iter(words))
        return _HINTS.get(word, word)
    return ", ".join(f"{host}: {word}" for host, word in problems.items())
