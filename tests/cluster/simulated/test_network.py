"""`cluster.simulated.network`: connections behave as ZeroMQ's do over TCP."""

from __future__ import annotations

from math import inf

import pytest

from cluster.simulated.clock import Clock
from cluster.simulated.links import Port
from cluster.simulated.network import CONNECT_SECONDS, RETRANSMIT_SECONDS, Connection, Listener, NetHost, Network
from cluster.simulated.process import Process

DELAY = 0.01
"""Of each host: a message takes twice as long."""
RATE = 1_000.0
LIMIT = 5
SERVER = "tcp://10.0.0.1:1"


class Loop(Process):
    """Does nothing by itself."""

    def tick(self, _now: float) -> float | None:
        return None


def nothing(*_: object) -> None:
    """Nobody looks."""


class Client:
    """Dials once, as a fetch DEALER; ``heard`` has what it was told, and when."""

    def __init__(self, net: Net, name: str, endpoint: str = SERVER) -> None:
        self.net = net
        self.host = net.host(name)
        self.process: Process = Loop(net.clock, name)
        self.heard: list[object] = []
        self.at: list[float] = []
        self.connection: Connection = net.network.dial(self.host, self, endpoint)

    def on_connected(self) -> None:
        self.on_message("connected")

    def on_lost(self) -> None:
        self.on_message("lost")

    def on_message(self, message: object) -> None:
        self.heard.append(message)
        self.at.append(self.net.clock.now)


class Net:
    """A server that listens, and whoever dials it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, nothing)
        self.server = self.host("server")
        self.heard: list[tuple[bytes, object]] = []
        self.listen()

    def host(self, name: str) -> NetHost:
        return self.network.add_host(name, name, Port(RATE, inf), DELAY)

    def listen(self) -> None:
        self.process = Loop(self.clock, "server")
        self.listener: Listener = self.network.listen(self.server, self.process, SERVER, self.on_message, LIMIT)

    def on_message(self, route: bytes, message: object) -> None:
        self.heard.append((route, message))

    def connected(self, name: str = "client") -> Client:
        client = Client(self, name)
        self.run(1.0)
        assert client.heard == ["connected"]
        client.heard.clear()
        client.at.clear()
        return client

    def run(self, seconds: float) -> None:
        self.clock.run(self.clock.now + seconds)


@pytest.fixture
def net() -> Net:
    return Net()


def test_a_connection_takes_a_round_trip_and_what_was_said_before_waits(net: Net) -> None:
    client = Client(net, "client")
    client.connection.send("early")
    net.run(1.0)
    assert client.at == [pytest.approx(4 * DELAY, abs=1e-3)]
    assert [message for _, message in net.heard] == ["early"]


def test_messages_come_in_order_behind_what_is_on_the_link(net: Net) -> None:
    client = net.connected()
    (route,) = net.listener.routes
    began = net.clock.now
    for message, size in (("one", 0), ("piece", 100), ("two", 0), ("other", 100)):
        assert net.listener.send(route, message, size)
    net.run(1.0)
    assert client.heard == ["one", "piece", "two", "other"]
    took = [at - began - 2 * DELAY for at in client.at]
    assert took == [pytest.approx(seconds, abs=1e-3) for seconds in (0.0, 0.1, 0.1, 0.2)]
    assert net.server.sent_bytes == 200


def test_nobody_listens(net: Net) -> None:
    net.network.process_died(net.server, net.process)
    net.process.kill()
    client = Client(net, "client")
    net.run(1.0)
    assert client.heard == ["lost"]


def test_nobody_answers(net: Net) -> None:
    net.network.host_died(net.server)
    client, nowhere = Client(net, "client"), Client(net, "other", "tcp://10.9.9.9:9")
    net.run(CONNECT_SECONDS - 0.1)
    assert client.heard == nowhere.heard == []
    net.run(0.2)
    assert client.heard == nowhere.heard == ["lost"]


def test_a_broken_connection_loses_what_was_on_it_and_both_sides_notice(net: Net) -> None:
    client = net.connected()
    (route,) = net.listener.routes
    net.listener.send(route, "piece", 500)
    client.connection.send("on its way")
    net.network.break_up(client.connection)
    assert not net.listener.send(route, "more")
    net.run(10.0)
    assert client.heard == ["lost"]
    assert net.heard == []
    assert not client.connection.send("more")


def test_a_process_that_dies_closes_what_it_had(net: Net) -> None:
    client = net.connected()
    net.process.kill()
    net.network.process_died(net.server, net.process)
    net.run(0.1)
    assert client.heard == ["lost"]
    net.listen()
    again = net.connected("again")
    again.connection.send("hello")
    net.run(0.1)
    assert [message for _, message in net.heard] == ["hello"]


def test_a_client_that_closes_is_forgotten_after_what_it_said_last(net: Net) -> None:
    client = net.connected()
    (route,) = net.listener.routes
    net.listener.send(route, "piece", 500)
    client.connection.send("bye")
    client.connection.close()
    net.run(1.0)
    assert [message for _, message in net.heard] == ["bye"]
    assert client.heard == []
    assert not net.listener.send(route, "more")


def test_a_machine_that_vanishes_is_missed_when_tcp_gives_up(net: Net) -> None:
    client = net.connected()
    net.network.host_died(net.server)
    net.run(RETRANSMIT_SECONDS - 1)
    assert client.heard == []
    net.run(2)
    assert client.heard == ["lost"]


def test_a_machine_that_is_back_says_that_it_knows_nothing(net: Net) -> None:
    client = net.connected()
    net.network.host_died(net.server)
    net.run(1.0)
    net.network.host_is_back(net.server)
    net.run(0.1)
    assert client.heard == ["lost"]


def test_a_half_open_connection_takes_everything_and_delivers_nothing(net: Net) -> None:
    client = net.connected()
    (route,) = net.listener.routes
    net.network.half_open(client.connection)
    assert net.listener.send(route, "to nobody")
    assert client.connection.send("to nobody")
    net.run(RETRANSMIT_SECONDS + 1)
    assert client.heard == ["lost"]
    assert net.heard == []
    assert not net.listener.send(route, "to nobody")


def test_a_cut_holds_up_and_what_is_held_up_too_long_breaks(net: Net) -> None:
    client = net.connected()
    (route,) = net.listener.routes
    net.network.cut("server", "client")
    net.listener.send(route, "one")
    net.listener.send(route, "two")
    client.connection.send("the other way is free")
    net.run(1.0)
    assert client.heard == []
    assert len(net.heard) == 1
    net.network.heal("server", "client")
    net.run(0.1)
    assert client.heard == ["one", "two"]
    net.network.cut("server", "client")
    net.listener.send(route, "three")
    net.run(RETRANSMIT_SECONDS + 1)
    assert client.heard == ["one", "two", "lost"]


def test_two_cuts_are_healed_twice(net: Net) -> None:
    net.network.cut("server", "client")
    net.network.cut("server", "client")
    net.host("client")
    net.network.heal("server", "client")
    assert net.network.is_cut("server", "client")
    net.network.heal("server", "client")
    assert not net.network.is_cut("server", "client")


def test_a_queue_is_bounded(net: Net) -> None:
    net.connected()
    (route,) = net.listener.routes
    assert all(net.listener.send(route, "piece", 100) for _ in range(LIMIT + 1)), "one is on the link"
    assert not net.listener.send(route, "piece", 100)
    net.run(0.15)
    assert net.listener.send(route, "piece", 100)


def test_who_publishes_does_not_wait_for_anybody(net: Net) -> None:
    slow, other = net.connected("slow"), net.connected("other")
    next(iter(net.listener.routes.values())).to_client.full_until = net.clock.now + 1
    net.listener.publish("news")
    net.run(0.1)
    assert (slow.heard, other.heard) == ([], ["news"])


def test_a_process_that_is_paused_takes_in_what_came_when_it_goes_on(net: Net) -> None:
    client = net.connected()
    net.process.pause()
    client.connection.send("one")
    client.connection.send("two")
    net.run(5.0)
    assert net.heard == []
    assert net.process.waiting == 2
    net.process.go_on()
    net.run(0.1)
    assert [message for _, message in net.heard] == ["one", "two"]
