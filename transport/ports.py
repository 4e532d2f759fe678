"""The ports through which a process speaks to others, and passes the time.

`transport.zmq_transport` has sockets and a poll loop behind them, `cluster.simulated.transport` a network in virtual
time. So messages go in and out as structs; what is made of them on the way is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from protocol.codec import Decoder
from protocol.errors import ProtocolError
from transport.monitor import ConnectionEvent
from transport.sockets import Role

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)


class LineOwner(Protocol[M_contra]):
    """Hears of its line in turns of its own process, not before `Transport.dial` returned nor after `Line.close`."""

    def on_connected(self) -> None: ...

    def on_lost(self, event: ConnectionEvent) -> None:
        """There is no connection, and this line never has one again. It is the owner's to close."""

    def on_message(self, message: M_contra, data: Sequence[bytes | memoryview]) -> None:
        """``data`` has the frames behind the message."""

    def on_garbage(self, error: ProtocolError) -> None:
        """What arrived is no message."""


class Line(Protocol):
    """A connection to one address, dialled once."""

    def send(self, message: msgspec.Struct) -> None:
        """Send, or not: when there is no connection, or it is full, nothing arrives."""

    def close(self, linger_ms: int | None = None) -> None:
        """Hang up; what was sent goes out within ``linger_ms`` (None: what its role has)."""


OnGarbage = Callable[[bytes, bytes, ProtocolError], None]
"""Takes the route of what is no message, its bytes, and why it is none."""


class Router(Protocol):
    """A socket that listens. Whoever comes is answered by the route it came by, as long as it is there."""

    def hear(self, decoder: Decoder[M], on_message: Callable[[bytes, M, float], None], on_garbage: OnGarbage) -> None:
        """From now on; ``on_message`` takes the route, the message and the time."""

    def send(self, route: bytes, message: msgspec.Struct, data: Sequence[bytes] = ()) -> bool:
        """With the frames ``data``, which nobody changes afterwards. False when the route is gone or takes no more."""


class PublicRouter(Router, Protocol):
    """One that other machines reach at ``port``."""

    port: int

    def send_each(self, messages: Sequence[tuple[bytes, msgspec.Struct]]) -> None:
        """Each by its route, or not at all."""

    def send_watched(self, route: bytes, message: msgspec.Struct) -> Callable[[], bool] | None:
        """As `send`, for what is large. Tells whether it has left this process, or never will; None when it was not
        sent."""

    def publish(self, topic: bytes, message: msgspec.Struct) -> None:
        """To all who are there; who is behind misses it."""

    def address_of(self, route: bytes) -> str:
        """The IP address behind ``route``, of whom a message is being heard."""

    def key_of(self, route: bytes) -> str:
        """The key of whoever is behind ``route``, of whom a message is being heard; empty in a network without keys."""

    def recheck(self) -> None:
        """Close the connections of those who may not connect any more, in a network with keys."""

    def hang_up_on(self, route: bytes) -> Callable[[], None]:
        """What closes the connection behind ``route``, of whom a message is being heard."""

    def refuse(self, route: bytes, seconds: float) -> None:
        """Close all connections of the address behind ``route``, of whom a message is being heard, and for so long
        those that come from there."""


class Transport(Protocol):
    """Time in monotonic seconds, and the network."""

    def now(self) -> float: ...

    def soon(self, call: Callable[[], None]) -> None:
        """Make the call in the next turn."""

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """A line for the log."""

    def dial(
        self,
        role: Role,
        endpoint: str,
        decoder: Decoder[M],
        owner: LineOwner[M],
        max_message_bytes: int | None = None,
        key: str = "",
    ) -> Line:
        """Connect; see `transport.sockets.open_socket`. In a network with keys only the one with the public ``key`` is
        spoken to. Raises `NetworkError` when this machine cannot dial."""

    def listen(self, role: Role, endpoint: str, limit: int) -> PublicRouter:
        """Bind ``endpoint``; messages of at most ``limit`` bytes go out. Raises `NetworkError` when that cannot be."""

    def look_up(self, host: str) -> list[str]:
        """`transport.addresses.look_up`."""

    def why_unreached(self, host: str, port: int, seconds: float) -> str:
        """`transport.addresses.why_unreached`."""

    def why_no_route(self, host: str) -> str:
        """`transport.addresses.why_no_route`."""

    def has_keys(self, host: str, port: int, seconds: float) -> bool | None:
        """`transport.addresses.has_keys`."""
