"""`transport.zmq_transport` between a router for peers and those who dial it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec
import pytest
import zmq

from protocol.codec import Decoder, encode
from protocol.endpoints import EVERY
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import Bye, ManifestPage, PieceServerRequest
from transport.loop import Loop
from transport.sockets import Role, open_context
from transport.zmq_transport import ZmqRouter, ZmqTransport

PATIENCE_SECONDS = 10.0
NEIGHBOUR, STRANGER = "127.0.0.1", "127.0.0.2"
PAGE = ManifestPage(1, 0, 200_000, bytes(200_000))


class Scene:
    """``heard``: the addresses that something came from, in order."""

    def __init__(self, host: str) -> None:
        self.loop, self.context = Loop(), open_context()
        self.transport = ZmqTransport(self.loop, self.context)
        self.router: ZmqRouter = self.transport.listen(Role.PIECE_ROUTER, f"tcp://{host}:0", REPLY_BYTES_MAX)
        decoder: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        self.heard: list[str] = []
        self.on_heard: Callable[[bytes], object] = lambda route: route
        self.router.hear(decoder, self._hear, lambda *_: None)
        self.dealers: list[zmq.Socket[bytes]] = []

    def _hear(self, route: bytes, message: msgspec.Struct, now: float) -> None:
        del message, now
        self.heard.append(self.router.address_of(route))
        self.on_heard(route)

    def dial(self, address: str, receive_bytes: int = -1, route: bytes = b"") -> zmq.Socket[bytes]:
        """Connect from there, and say something. A ``route`` is one that it chooses itself."""
        dealer = self.context.socket(zmq.DEALER)
        if route:
            dealer.set(zmq.ROUTING_ID, route)
        dealer.set(zmq.RECONNECT_IVL, -1)
        dealer.set(zmq.LINGER, 0)
        dealer.set(zmq.RCVBUF, receive_bytes)
        dealer.set(zmq.RCVHWM, 1)
        dealer.connect(f"tcp://{address}:0;127.0.0.1:{self.router.port}")
        self.dealers.append(dealer)
        self.say(dealer)
        return dealer

    def say(self, dealer: zmq.Socket[bytes]) -> None:
        """Nothing if it has been hung up on: it does not dial again, so it would wait forever."""
        with suppress(zmq.Again):
            dealer.send(encode(Bye(1)), zmq.NOBLOCK)

    def run(self, until: Callable[[], bool]) -> bool:
        """Whether it came to that."""
        self.loop.resume()
        deadline = time.monotonic() + PATIENCE_SECONDS

        def tick(now: float) -> float:
            if until() or now > deadline:
                self.loop.stop()
            return now + 0.01

        self.transport.run(tick)
        return until()

    def close(self) -> None:
        for dealer in self.dealers:
            dealer.close(0)
        self.transport.close()
        self.context.term()


@pytest.fixture(params=[NEIGHBOUR, EVERY])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    scene = Scene(request.param)
    yield scene
    scene.close()


def test_a_refused_address_is_hung_up_on_and_cannot_dial_and_others_can(scene: Scene) -> None:
    before = scene.dial(STRANGER), scene.dial(NEIGHBOUR)
    assert scene.run(lambda: len(scene.heard) == 2)
    scene.on_heard = lambda route: scene.router.refuse(route, 60.0)
    scene.say(before[0])
    assert scene.run(lambda: len(scene.heard) == 3)
    scene.on_heard = lambda route: route
    scene.say(before[0])
    scene.dial(STRANGER)
    scene.dial(NEIGHBOUR)
    scene.say(before[1])
    assert scene.run(lambda: len(scene.heard) == 5)
    assert scene.heard[3:] == [NEIGHBOUR, NEIGHBOUR]


def test_who_was_hung_up_on_is_heard_when_it_dials_again_though_by_the_same_route(scene: Scene) -> None:
    scene.on_heard = lambda route: scene.router.hang_up_on(route)()
    scene.dial(STRANGER, route=b"mine")
    assert scene.run(lambda: len(scene.heard) == 1)
    assert scene.router.accepted is not None
    there = scene.router.accepted.closing
    assert scene.run(lambda: not there)
    scene.on_heard = lambda route: route
    scene.dial(STRANGER, route=b"mine")
    assert scene.run(lambda: len(scene.heard) == 2)


def test_what_is_read_has_gone_out_and_what_is_not_goes_with_the_connection(scene: Scene) -> None:
    sent: list[Callable[[], bool] | None] = []
    closers: list[Callable[[], None]] = []

    def answer(route: bytes) -> None:
        closers.append(scene.router.hang_up_on(route))
        sent.extend(scene.router.send_watched(route, PAGE) for _ in range(100))

    scene.on_heard = answer
    dealer = scene.dial(NEIGHBOUR)
    assert scene.run(lambda: len(sent) == 100)
    assert any(is_gone is not None and not is_gone() for is_gone in sent)
    for _ in range(100):
        assert scene.run(lambda: bool(dealer.poll(0)))
        dealer.recv()
    assert scene.run(lambda: all(is_gone is not None and is_gone() for is_gone in sent))
    sent.clear()
    scene.say(dealer)
    assert scene.run(lambda: len(sent) == 100)
    assert any(is_gone is not None and not is_gone() for is_gone in sent)
    closers[-1]()
    assert scene.run(lambda: all(is_gone is not None and is_gone() for is_gone in sent))
