"""`transport.curve` and `transport.access`: in a network with keys nobody without one that is let in is heard, or hears
anything."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec
import pytest
import zmq

from protocol.codec import Decoder, encode
from protocol.errors import LocalError, NetworkError
from protocol.limits import CONTROL_BYTES_MAX
from protocol.messages import Beat, Bye, NoSession, PieceServerRequest, Roster
from transport.addresses import has_keys
from transport.curve import KeyPair, Keys, dial_as, new_pair
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, open_context, open_socket
from transport.zmq_transport import ZmqTransport

PATIENCE_SECONDS = 10.0
NOBODY: Any = None
DENIED, OTHER_SECURITY, HUNG_UP = ConnectionEvent.DENIED, ConnectionEvent.OTHER_SECURITY, ConnectionEvent.HUNG_UP
CONNECTED, LOST = ConnectionEvent.CONNECTED, ConnectionEvent.LOST


class Caller:
    """Whoever dials; ``events`` and ``got`` are what it has seen."""

    def __init__(
        self, scene: Scene, port: int, own: KeyPair | None, server: str, role: Role = Role.CONTROL_DEALER
    ) -> None:
        self.socket = open_socket(scene.clients, role)
        self.monitor = ConnectionMonitor(self.socket)
        if own is not None:
            dial_as(self.socket, own, server)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.events: list[ConnectionEvent] = []
        self.got = 0

    def look(self) -> None:
        for event in self.monitor.events():
            self.events.append(event)
        while self.socket.poll(0):
            self.socket.recv_multipart()
            self.got += 1

    def say(self) -> None:
        self.socket.send(encode(Bye(1)), zmq.NOBLOCK)

    def close(self) -> None:
        self.monitor.close()
        self.socket.close(0)


class Scene:
    """A router and a publisher that let ``members`` in."""

    def __init__(self) -> None:
        self.loop, self.context, self.clients = Loop(), open_context(), open_context()
        self.own, self.members = new_pair(), set[str]()
        keys = Keys(self.own, lambda _role, key: key in self.members)
        self.transport = ZmqTransport(self.loop, self.context, keys)
        self.router = self.transport.listen(Role.TRACKER_ROUTER, "tcp://127.0.0.1:0", CONTROL_BYTES_MAX)
        self.publisher = self.transport.listen(Role.TRACKER_PUB, "tcp://127.0.0.1:0", CONTROL_BYTES_MAX)
        decoder: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        self.heard: list[str] = []
        self.router.hear(decoder, self._hear, lambda *_: None)
        self.callers: list[Caller] = []

    def _hear(self, route: bytes, message: msgspec.Struct, now: float) -> None:
        del message, now
        self.heard.append(self.router.key_of(route))
        self.router.send(route, NoSession(1))

    def call(self, own: KeyPair | None = None, server: str = "", subscribe: bool = False) -> Caller:
        role = Role.ROSTER_SUB if subscribe else Role.CONTROL_DEALER
        port = (self.publisher if subscribe else self.router).port
        self.callers.append(caller := Caller(self, port, own, server or self.own.public, role))
        return caller

    def member(self) -> KeyPair:
        pair = new_pair()
        self.members.add(pair.public)
        return pair

    def run(self, until: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        """Whether it came to that."""
        self.loop.resume()
        deadline = time.monotonic() + seconds

        def tick(now: float) -> float:
            self.publisher.publish(b"roster", Roster(1, 1, Beat()))
            for caller in self.callers:
                caller.look()
            if until() or now > deadline:
                self.loop.stop()
            return now + 0.01

        self.transport.run(tick)
        return until()

    def close(self) -> None:
        for caller in self.callers:
            caller.close()
        self.transport.close()
        self.context.term()
        self.clients.term()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def test_a_member_is_heard_and_answered_and_its_key_is_known(scene: Scene) -> None:
    pair, other = scene.member(), scene.member()
    first, second, third = scene.call(pair), scene.call(other), scene.call(pair, subscribe=True)
    assert scene.run(lambda: all(CONNECTED in caller.events for caller in (first, second)))
    first.say()
    assert scene.run(lambda: first.got == 1)
    second.say()
    assert scene.run(lambda: second.got == 1 and third.got > 0)
    assert scene.heard == [pair.public, other.public]


@pytest.mark.parametrize("subscribe", [False, True])
def test_nobody_else_is_heard_or_hears_anything(scene: Scene, subscribe: bool) -> None:
    member = scene.member()
    stranger, plain = scene.call(new_pair(), subscribe=subscribe), scene.call(None, subscribe=subscribe)
    mistaken = scene.call(member, new_pair().public, subscribe=subscribe)
    callers = (stranger, plain, mistaken)
    assert scene.run(lambda: all(caller.events for caller in callers))
    assert (stranger.events, mistaken.events) == ([DENIED], [HUNG_UP])
    assert plain.events in ([OTHER_SECURITY], [HUNG_UP])  # who is quicker
    witness = scene.call(member, subscribe=True)
    assert scene.run(lambda: witness.got > 0)
    assert (scene.heard, [caller.got for caller in callers]) == ([], [0, 0, 0])


def test_whoever_is_put_out_is_hung_up_on_and_the_others_are_not(scene: Scene) -> None:
    pair, other = scene.member(), scene.member()
    gone, stays, hears = scene.call(pair), scene.call(other), scene.call(pair, subscribe=True)
    assert scene.run(lambda: all(CONNECTED in caller.events for caller in (gone, stays, hears)))
    for caller in (gone, stays):
        caller.say()
    assert scene.run(lambda: gone.got == stays.got == 1 and hears.got > 0)
    scene.members.remove(pair.public)
    scene.router.recheck()
    scene.publisher.recheck()
    assert scene.run(lambda: gone.events[-1] is LOST and hears.events[-1] is LOST)
    stays.say()
    assert scene.run(lambda: stays.got == 2)
    again = scene.call(pair), scene.call(pair, subscribe=True)
    assert scene.run(lambda: all(caller.events == [DENIED] for caller in again))


def test_one_that_said_nothing_so_far_is_hung_up_on_when_it_does(scene: Scene) -> None:
    pair = scene.member()
    gone = scene.call(pair)
    assert scene.run(lambda: CONNECTED in gone.events)
    scene.members.remove(pair.public)
    scene.router.recheck()
    gone.say()
    assert scene.run(lambda: gone.events[-1] is LOST)
    assert (scene.heard, gone.got) == ([], 0)


def test_a_route_of_a_member_that_is_gone_is_no_way_in(scene: Scene) -> None:
    """Whoever dials may choose its route."""
    pair, other = scene.member(), scene.member()
    accepted = scene.router.accepted
    assert accepted is not None
    for own in (pair, other):
        caller = scene.call()
        caller.close()
        scene.callers.pop()
        caller.socket = open_socket(scene.clients, Role.CONTROL_DEALER)
        caller.socket.set(zmq.ROUTING_ID, b"route")
        caller.monitor = ConnectionMonitor(caller.socket)
        dial_as(caller.socket, own, scene.own.public)
        caller.socket.connect(f"tcp://127.0.0.1:{scene.router.port}")
        scene.callers.append(caller)
        assert scene.run(lambda caller=caller: CONNECTED in caller.events)  # type: ignore[misc]
        caller.say()
        assert scene.run(lambda caller=caller: caller.got == 1)  # type: ignore[misc]
        caller.close()
        scene.callers.remove(caller)
        assert scene.run(lambda: not accepted.open), "until then libzmq ignores another one with that route"
    assert scene.heard == [pair.public, other.public]


def test_who_has_no_key_is_not_dialled(scene: Scene) -> None:
    with pytest.raises(NetworkError, match="no key"):
        scene.transport.dial(Role.FETCH_DEALER, "tcp://127.0.0.1:1", Decoder(Bye), NOBODY, CONTROL_BYTES_MAX)


def test_it_can_be_learned_whether_somebody_has_keys(scene: Scene) -> None:
    plain = ZmqTransport(scene.loop, scene.clients)
    without = plain.listen(Role.TRACKER_ROUTER, "tcp://127.0.0.1:0", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [scene.router.port, without.port, silent.getsockname()[1], 1]
        assert [has_keys("127.0.0.1", port, 0.5) for port in ports] == [True, False, None, None]
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(has_keys, "127.0.0.1", other.getsockname()[1], PATIENCE_SECONDS)
            with other.accept()[0] as program:
                program.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: nothing that is known here\r\n\r\n")
                assert asked.result() is None
    plain.close()


def test_while_it_cannot_be_told_who_may_connect_nobody_does(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """And the log says it, once, however often a stranger asks."""
    pair, members = scene.member(), scene.members
    scene.members = cast("set[str]", None)  # any bug
    callers = scene.call(pair), scene.call(new_pair())
    assert not scene.run(lambda: any(CONNECTED in caller.events for caller in callers), seconds=0.5)
    assert [record.getMessage()[:27] for record in caplog.records] == ["cannot tell who may connect"]
    scene.members = members
    again = scene.call(pair)
    assert scene.run(lambda: again.events == [CONNECTED])


def test_a_process_in_which_nobody_answers_ends(scene: Scene) -> None:
    assert scene.transport._access is not None
    scene.transport._access.close()
    with pytest.raises(LocalError, match="who may connect"):
        scene.run(lambda: False, seconds=1.0)


def test_without_anybody_who_answers_libzmq_nobody_connects(scene: Scene) -> None:
    pair = scene.member()
    assert scene.transport._access is not None
    scene.transport._access.close()
    scene.transport._access = None  # or the process would end
    caller = scene.call(pair)
    assert not scene.run(lambda: CONNECTED in caller.events, seconds=1.0)
