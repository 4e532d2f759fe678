"""The network of a simulated world: hosts that dial each other, and all that goes wrong with connections. Pure.

A connection behaves as ZeroMQ's do over TCP. In order and whole within it; what was on it is lost when it breaks. The
side that dials learns of that, unless the other host vanished: then after as long as TCP goes on trying. The side
that listens learns nothing: what it sends to the old route fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Protocol, TypeVar

from cluster.simulated.clock import Clock
from cluster.simulated.lanes import Lane
from cluster.simulated.links import Links, Port
from cluster.simulated.process import Process

CONNECT_SECONDS = 5.0
"""How long dialling a host that does not answer goes on: CONNECT_TIMEOUT of `transport.sockets`."""
RETRANSMIT_SECONDS = 30.0
"""How long TCP tries to get something through (TCP_MAXRT, the keepalive a little longer)."""
L = TypeVar("L")


class Dialler(Protocol):
    """The process that dials, and what it is told, in turns of its own."""

    process: Process

    def on_connected(self) -> None: ...
    def on_lost(self) -> None: ...
    def on_message(self, message: object) -> None: ...


class NetHost:
    """A machine on the network, at IP ``address``. ``delay`` is its part of the one-way delay, in seconds."""

    def __init__(self, name: str, address: str, port: Port, delay: float) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.delay = delay
        self.up = True
        self.listeners: dict[str, Listener] = {}
        """By endpoint."""
        self.dialled: dict[Connection, None] = {}
        self.sent_bytes = 0.0
        self.received_bytes = 0.0


class Listener:
    """A bound ROUTER (or PUB) of ``process``. ``limit``: messages that wait for one receiver at most."""

    def __init__(
        self,
        network: Network,
        host: NetHost,
        process: Process,
        endpoint: str,
        on_message: Callable[[bytes, object], None],
        limit: int,
    ) -> None:
        self.network, self.host, self.process, self.endpoint = network, host, process, endpoint
        self.on_message, self.limit = on_message, limit
        self.routes: dict[bytes, Connection] = {}

    def send(self, route: bytes, message: object, size: int = 0) -> bool:
        """False when the route is gone or its queue is full."""
        connection = self.routes.get(route)
        if connection is None or not connection.to_client.send(message, size):
            return False
        self.host.sent_bytes += size
        return True

    def address_of(self, route: bytes) -> str:
        """The IP address a message came from; empty when its connection is gone already."""
        connection = self.routes.get(route)
        return "" if connection is None else connection.client.address

    def hang_up_on(self, route: bytes) -> Callable[[], None]:
        """What closes the connection a message came from."""

        def hang_up() -> None:
            if route in self.routes:
                self.network.break_up(self.routes[route])

        return hang_up

    def refuse(self, route: bytes, _seconds: float) -> None:
        """Whoever is behind ``route`` is hung up on, and may dial again."""
        self.hang_up_on(route)()

    def publish(self, message: object) -> None:
        """Send to everybody who is connected; who is behind misses it."""
        clock = self.network.clock
        together: dict[float, list[Lane]] = {}
        for connection in self.routes.values():
            lane = connection.to_client
            delay = lane.delay_now
            if delay < 0:
                lane.send(message, 0)
            elif delay in together:
                together[delay].append(lane)
            else:
                together[delay] = [lane]
                clock.at(clock.now + delay, _arrive, together[delay], message)


class Connection:
    """What one `Network.dial` made. ``state`` goes one way: ``dialling``, ``open``, ``lost``."""

    def __init__(self, network: Network, dialler: Dialler, client: NetHost, server: NetHost, endpoint: str) -> None:
        self.network, self.dialler, self.client, self.server, self.endpoint = network, dialler, client, server, endpoint
        self.state = "dialling"
        self.route = network.new_route()
        self.listener: Listener | None = None
        delay = client.delay + server.delay
        there, back = (client.name, server.name), (server.name, client.name)
        self.delay = delay
        self.to_server = Lane(
            network, there, (client.port, server.port), delay, network.dialler_limit, self._at_server, self._held_up
        )
        self.to_client = Lane(network, back, (server.port, client.port), delay, 0, self._at_client, self._held_up)

    def send(self, message: object) -> bool:
        """To the side that listens; before the connection is there it waits."""
        return self.state != "lost" and self.to_server.send(message, 0)

    def close(self) -> None:
        """The side that dialled has had enough; what it sent just before still arrives."""
        if self.state == "lost":
            return
        self.state = "lost"
        self.client.dialled.pop(self, None)
        self.to_client.kill()
        if self.listener is not None:
            self.to_server.send(_FIN, 0)

    # --- for the network ---------------------------------------------------------------------------------

    def accepted(self, listener: Listener) -> None:
        self.listener = listener
        listener.routes[self.route] = self
        self.to_client.begin(listener.limit)
        self.to_client.send(_SYN, 0)

    def drop(self) -> None:
        """Nothing gets through any more, and neither side is told."""
        self.to_server.kill()
        self.to_client.kill()

    def forget(self) -> None:
        """The side that listens finds that it is gone."""
        self.to_client.kill()
        if self.listener is not None:
            self.listener.routes.pop(self.route, None)

    def lose(self) -> None:
        """The side that dialled finds that it is gone."""
        if self.state != "lost":
            self.state = "lost"
            self.client.dialled.pop(self, None)
            self.drop()
            self.dialler.process.receive(self.dialler.on_lost)

    def _at_server(self, message: object) -> None:
        listener = self.listener
        assert listener is not None
        if message is _FIN:
            self.to_server.kill()
            self.forget()
        else:
            self.network.seen(self.client.name, self.server.name, message)
            listener.process.receive(listener.on_message, self.route, message)

    def _at_client(self, message: object) -> None:
        if self.state == "lost":
            return
        if message is _SYN:
            self.state = "open"
            self.to_server.open = True
            self.dialler.process.receive(self.dialler.on_connected)
            self.to_server.go_on()
            return
        self.network.seen(self.server.name, self.client.name, message)
        self.dialler.process.receive(self.dialler.on_message, message)

    def _held_up(self) -> None:
        self.network.clock.after(RETRANSMIT_SECONDS, self._given_up)

    def _given_up(self) -> None:
        if self.to_server.holds or self.to_client.holds:
            self.network.break_up(self)


class Network:
    """All hosts, and what lies between them. ``seen`` is told of every message that arrives."""

    dialler_limit = 256
    """Messages that wait at the side that dialled."""

    def __init__(self, clock: Clock, seen: Callable[[str, str, object], None]) -> None:
        self.clock = clock
        self.links = Links(clock)
        self.seen = seen
        self.hosts: dict[str, NetHost] = {}
        self._endpoints: dict[str, NetHost] = {}
        self._routes = count(1)
        self.cuts: dict[tuple[str, str], int] = {}
        """How often each way is cut."""
        self._vanished: dict[Connection, None] = {}

    def overhear(self, listener: L, heard: Mapping[type, Callable[[L, str, str, Any], None]]) -> None:
        """From now on what is ``heard`` is called for each message of its type that arrives, with ``listener``, who
        says it and who hears it."""
        told = self.seen

        def seen(source: str, target: str, message: object) -> None:
            told(source, target, message)
            of_type = heard.get(type(message))
            if of_type is not None:
                of_type(listener, source, target, message)

        self.seen = seen

    def add_host(self, name: str, address: str, port: Port, delay: float) -> NetHost:
        self.hosts[name] = host = NetHost(name, address, port, delay)
        return host

    def new_route(self) -> bytes:
        return b"%d" % next(self._routes)

    def listen(
        self,
        host: NetHost,
        process: Process,
        endpoint: str,
        on_message: Callable[[bytes, object], None],
        limit: int = 0,
    ) -> Listener:
        """Bind ``endpoint`` of ``host``."""
        listener = host.listeners[endpoint] = Listener(self, host, process, endpoint, on_message, limit)
        self._endpoints[endpoint] = host
        return listener

    def dial(self, host: NetHost, dialler: Dialler, endpoint: str) -> Connection:
        """Connect from ``host``; an endpoint nobody ever had is a host that does not answer."""
        server = self._endpoints.get(endpoint)
        connection = Connection(self, dialler, host, server if server is not None else host, endpoint)
        host.dialled[connection] = None
        if server is None:
            self.clock.after(CONNECT_SECONDS, connection.lose)
        else:
            self.clock.after(connection.delay, self._arrived, connection)
        return connection

    def _arrived(self, connection: Connection) -> None:
        """Somebody dialled a moment ago."""
        client, server = connection.client, connection.server
        if connection.state == "lost":
            return
        if not server.up or self.is_cut(client.name, server.name) or self.is_cut(server.name, client.name):
            self.clock.after(CONNECT_SECONDS, self._unanswered, connection)
            return
        listener = server.listeners.get(connection.endpoint)
        if listener is None or not listener.process.alive:
            self.clock.after(connection.delay, connection.lose)
        else:
            connection.accepted(listener)

    def _unanswered(self, connection: Connection) -> None:
        if connection.listener is None:
            connection.lose()

    # --- what goes wrong ---------------------------------------------------------------------------------

    def connections(self) -> Iterator[Connection]:
        """Every connection that the side that dialled believes to have."""
        for host in self.hosts.values():
            yield from host.dialled

    def break_up(self, connection: Connection) -> None:
        """It breaks, and both sides notice: the one that dialled after a delay."""
        connection.drop()
        connection.forget()
        self.clock.after(connection.delay, connection.lose)

    def half_open(self, connection: Connection) -> None:
        """It breaks, and neither side notices until TCP gives up."""
        connection.drop()
        self._vanished[connection] = None
        self.clock.after(RETRANSMIT_SECONDS, self._noticed, connection)

    def process_died(self, host: NetHost, process: Process) -> None:
        """The machine is up, so it closes what the process had open."""
        for connection in list(host.dialled):
            if connection.dialler.process is process:
                connection.close()
        for listener in list(host.listeners.values()):
            if listener.process is process:
                for connection in list(listener.routes.values()):
                    self.break_up(connection)

    def host_died(self, host: NetHost) -> None:
        """The machine vanishes without a word."""
        host.up = False
        for connection in list(host.dialled):
            connection.state = "lost"
            self.half_open(connection)
        host.dialled.clear()
        for listener in list(host.listeners.values()):
            for connection in list(listener.routes.values()):
                self.half_open(connection)
            listener.routes.clear()

    def host_is_back(self, host: NetHost) -> None:
        """The machine knows nothing of its connections, and says so to who uses them."""
        host.up = True
        for connection in list(self._vanished):
            if host in (connection.client, connection.server):
                self.clock.after(connection.delay, self._noticed, connection)

    def cut(self, source: str, target: str) -> None:
        """Nothing gets from ``source`` to ``target``; cut twice, it has to be healed twice."""
        self.cuts[source, target] = self.cuts.get((source, target), 0) + 1

    def heal(self, source: str, target: str) -> None:
        left = self.cuts[source, target] - 1
        if left:
            self.cuts[source, target] = left
            return
        del self.cuts[source, target]
        for connection in [*self.hosts[source].dialled, *self.hosts[target].dialled]:
            connection.to_server.let_go()
            connection.to_client.let_go()

    def is_cut(self, source: str, target: str) -> bool:
        return bool(self.cuts) and (source, target) in self.cuts

    def is_half_open(self, connection: Connection) -> bool:
        """Whether it is broken and nobody has noticed."""
        return connection in self._vanished

    def _noticed(self, connection: Connection) -> None:
        self._vanished.pop(connection, None)
        connection.forget()
        connection.lose()


def _arrive(lanes: list[Lane], message: object) -> None:
    for lane in lanes:
        lane.arrive(message)


class _Mark:
    """A message of the connection itself."""


_SYN, _FIN = _Mark(), _Mark()
