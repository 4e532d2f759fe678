"""The connection of a process with a replica to the registrar: dialled again whenever it is lost.

The core decides what a message means; this carries messages between it and the registrar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from broker.effects import LookupEffect
from broker.intake import Intake
from broker.link_messages import FromLookup, FromRegistrar
from protocol.codec import Decoder
from protocol.errors import ProtocolError
from protocol.limits import LINK_BYTES_MAX
from transport.monitor import ConnectionEvent
from transport.ports import Line, Transport
from transport.sockets import Role

REDIAL_SECONDS = 0.2
"""Between the end of a link and the next attempt; the registrar is on this machine."""
_FROM_REGISTRAR: Decoder[FromRegistrar] = Decoder(FromRegistrar, LINK_BYTES_MAX)


class Follower(Protocol):
    """The core of a process with a replica."""

    def connected(self, now: float) -> list[LookupEffect]: ...

    def handle_link(self, message: FromRegistrar, now: float) -> list[LookupEffect]: ...


class RegistrarLine:
    """To the registrar's ``endpoint``; what ``core`` wants done is given to ``perform``."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        core: Follower,
        perform: Callable[[Sequence[LookupEffect]], None],
    ) -> None:
        self._transport, self._endpoint, self._core, self._perform = transport, endpoint, core, perform
        self._line: Line | None = None
        self._dial_at = 0.0
        self._intake = Intake("link messages")

    def on_connected(self) -> None:
        self._perform(self._core.connected(self._transport.now()))

    def on_lost(self, _event: ConnectionEvent) -> None:
        self.close()
        self._dial_at = self._transport.now() + REDIAL_SECONDS

    def on_message(self, message: FromRegistrar, _data: object) -> None:
        self._perform(self._core.handle_link(message, self._transport.now()))

    def on_garbage(self, error: ProtocolError) -> None:
        """The core then misses its number, and starts over."""
        self._intake.refuse(b"", error, self._transport.now())

    def send(self, message: FromLookup) -> None:
        """Up the link, or not: when there is no connection nothing arrives."""
        if self._line is not None:
            self._line.send(message)

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def tick(self, now: float) -> float | None:
        """Called after every turn; returns when to be called at the latest."""
        if self._line is None and now >= self._dial_at:
            self._line = self._transport.dial(Role.LINK_DEALER, self._endpoint, _FROM_REGISTRAR, self)
        self._perform(self._intake.note(now))
        deadlines = (self._intake.next_deadline(), self._dial_at if self._line is None else None)
        return min((at for at in deadlines if at is not None), default=None)
