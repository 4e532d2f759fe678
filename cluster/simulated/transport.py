"""`transport.ports.Transport` of a simulated process: messages go over the simulated network as they are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cluster.simulated.content import SentPiece
from cluster.simulated.network import Connection, NetHost, Network
from cluster.simulated.process import Process
from protocol.codec import Decoder
from protocol.messages import Piece
from transport.addresses import REFUSED
from transport.monitor import ConnectionEvent
from transport.ports import LineOwner, OnGarbage
from transport.sockets import Role, send_queue_count


class SimulatedTransport:
    """Of ``process`` on ``net``. ``note`` gets its name and what it says."""

    def __init__(self, network: Network, net: NetHost, process: Process, note: Callable[[str, str], None]) -> None:
        self.network, self.net, self.process, self._note = network, net, process, note

    def now(self) -> float:
        return self.network.clock.now

    def soon(self, call: Callable[[], None]) -> None:
        self.process.receive(call)

    def dial(
        self,
        role: Role,
        endpoint: str,
        decoder: Decoder[Any],
        owner: LineOwner[Any],
        max_message_bytes: int | None = None,
        key: str = "",
    ) -> SimulatedLine:
        del decoder, max_message_bytes, key
        return SimulatedLine(self, endpoint, owner, queues=role is Role.FETCH_DEALER)

    def listen(self, role: Role, endpoint: str, limit: int) -> SimulatedRouter:
        del limit
        return SimulatedRouter(self, endpoint, send_queue_count(role))

    def note(self, level: str, text: str) -> None:
        del level
        self._note(self.process.name, text)

    def look_up(self, host: str) -> list[str]:
        """There are no names in a simulated world."""
        return [host]

    def why_unreached(self, host: str, port: int, seconds: float) -> str:
        del host, port, seconds
        return REFUSED

    def why_no_route(self, host: str) -> str:
        del host
        return ""

    def has_keys(self, host: str, port: int, seconds: float) -> bool | None:
        del host, port, seconds
        return None


class SimulatedRouter:
    """``limit``: messages that wait for one receiver at most."""

    def __init__(self, transport: SimulatedTransport, endpoint: str, limit: int) -> None:
        self.port = int(endpoint.rpartition(":")[2])
        net, process = transport.net, transport.process
        self.listener = transport.network.listen(net, process, endpoint, nothing, limit)
        self.address_of, self.hang_up_on = self.listener.address_of, self.listener.hang_up_on
        self.refuse = self.listener.refuse

    def hear(
        self, decoder: Decoder[Any], on_message: Callable[[bytes, Any, float], None], on_garbage: OnGarbage
    ) -> None:
        del decoder, on_garbage
        clock = self.listener.network.clock
        self.listener.on_message = lambda route, message: on_message(route, message, clock.now)

    def key_of(self, route: bytes) -> str:
        """There are no keys in a simulated world."""
        del route
        return ""

    def recheck(self) -> None:
        raise AssertionError("nobody was let in by a key")

    def send(self, route: bytes, message: msgspec.Struct, data: Sequence[bytes] = ()) -> bool:
        if isinstance(message, Piece):
            return self.listener.send(route, SentPiece(message, data[0]), len(data[0]))
        return self.listener.send(route, message)

    def send_watched(self, route: bytes, message: msgspec.Struct) -> Callable[[], bool] | None:
        """Such messages take no time on a link here."""
        return (lambda: True) if self.send(route, message) else None

    def send_each(self, messages: Sequence[tuple[bytes, msgspec.Struct]]) -> None:
        for route, message in messages:
            self.listener.send(route, message)

    def publish(self, topic: bytes, message: msgspec.Struct) -> None:
        del topic
        self.listener.publish(message)


def nothing(_route: bytes, _message: object) -> None:
    """Subscribers say nothing."""


class SimulatedLine:
    """``queues``: what is said before it is connected waits for that, as without the socket option IMMEDIATE."""

    def __init__(self, transport: SimulatedTransport, endpoint: str, owner: LineOwner[Any], queues: bool) -> None:
        self.process = transport.process
        self._owner, self._queues = owner, queues
        self._connected = self._closed = False
        self.connection: Connection = transport.network.dial(transport.net, self, endpoint)

    def send(self, message: msgspec.Struct) -> None:
        if self._queues or self.connection.state == "open":
            self.connection.send(message)

    def close(self, linger_ms: int | None = None) -> None:
        del linger_ms
        self._closed = True
        self.connection.close()

    def on_connected(self) -> None:
        if not self._closed:
            self._connected = True
            self._owner.on_connected()

    def on_lost(self) -> None:
        if not self._closed:
            self._owner.on_lost(ConnectionEvent.LOST if self._connected else ConnectionEvent.UNREACHED)

    def on_message(self, message: object) -> None:
        if self._closed:
            return
        if isinstance(message, SentPiece):
            self._owner.on_message(message.header, [message.data])
        else:
            self._owner.on_message(message, ())
