"""`cluster.simulated.transport`: a line behaves as the socket of its role does."""

from __future__ import annotations

from math import inf

import pytest

from cluster.simulated.clock import Clock
from cluster.simulated.links import Port
from cluster.simulated.network import Network
from cluster.simulated.process import Process
from cluster.simulated.transport import SimulatedTransport
from protocol.codec import Decoder
from protocol.errors import ProtocolError
from protocol.messages import Goodbye, Ok
from transport.monitor import ConnectionEvent
from transport.sockets import Role

SERVER = "tcp://10.0.0.1:1"


class Loop(Process):
    def tick(self, _now: float) -> float | None:
        return None


class Scene:
    """A server, and a client that dials it; ``heard`` has what the client was told, ``asked`` what the server was."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, lambda *_: None)
        self.server, self.client = self._transport("server"), self._transport("client")
        self.heard: list[object] = []
        self.asked: list[tuple[bytes, object]] = []
        router = self.server.listen(Role.PIECE_ROUTER, SERVER, 0)
        router.hear(Decoder(Ok), lambda route, message, _now: self.asked.append((route, message)), lambda *_: None)
        self.router = router

    def _transport(self, name: str) -> SimulatedTransport:
        net = self.network.add_host(name, name, Port(inf, inf), 0.01)
        return SimulatedTransport(self.network, net, Loop(self.clock, name), lambda *_: None)

    def run(self) -> None:
        self.clock.run(self.clock.now + 10.0)

    def on_connected(self) -> None:
        self.heard.append("connected")

    def on_lost(self, event: ConnectionEvent) -> None:
        self.heard.append(event)

    def on_message(self, message: object, data: object) -> None:
        self.heard.append((message, data))

    def on_garbage(self, error: ProtocolError) -> None:
        raise AssertionError(error)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(("role", "queued"), [(Role.FETCH_DEALER, 1), (Role.CONTROL_DEALER, 0)])
def test_what_is_said_before_it_is_connected_waits_or_is_dropped(scene: Scene, role: Role, queued: int) -> None:
    line = scene.client.dial(role, SERVER, Decoder(Goodbye), scene)
    line.send(Ok(1, 1, 1))
    scene.run()
    line.send(Ok(2, 1, 1))
    scene.run()
    assert [message for _, message in scene.asked] == [Ok(1, 1, 1), Ok(2, 1, 1)][1 - queued :]
    assert scene.router.send(scene.asked[0][0], Goodbye(3, 1, 1))
    scene.run()
    assert scene.heard == ["connected", (Goodbye(3, 1, 1), ())]


@pytest.mark.parametrize("closed", [False, True])
def test_the_end_is_told_with_its_kind_and_not_once_it_is_closed(scene: Scene, closed: bool) -> None:
    nowhere = scene.client.dial(Role.FETCH_DEALER, "tcp://10.0.0.9:9", Decoder(Goodbye), scene)
    line = scene.client.dial(Role.FETCH_DEALER, SERVER, Decoder(Goodbye), scene)
    scene.clock.run(1.0)
    scene.network.process_died(scene.server.net, scene.server.process)
    if closed:
        line.close()
        nowhere.close()
    scene.run()
    assert scene.heard == ["connected", *([] if closed else [ConnectionEvent.LOST, ConnectionEvent.UNREACHED])]
