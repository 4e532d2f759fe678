"""`broker.outbox` over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from broker.effects import Reply
from broker.outbox import BATCH_COUNT, BATCH_SECONDS, Outbox
from protocol.codec import Decoder
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import Goodbye, Ok, RegistrarReply
from transport.loop import Loop
from transport.sockets import OPTIONS, Role, connect, drain_routed, open_context, open_socket, send_or_drop
from transport.zmq_transport import ZmqTransport

WAIT_MS = 10_000
LISTEN = "tcp://127.0.0.1:0"


class Scene:
    """A tracker's socket that answers, and who asked. Time stands still unless ``now`` is set."""

    def __init__(self, transport: ZmqTransport, asker: zmq.Socket[bytes]) -> None:
        router, loop = transport.listen(Role.TRACKER_ROUTER, LISTEN, REPLY_BYTES_MAX), transport.loop
        self.now = 100.0
        self.router, self.asker = router.socket, asker
        self.outbox = Outbox(router, lambda: self.now)
        self._decoder: Decoder[RegistrarReply] = Decoder(RegistrarReply)
        asker.rcvtimeo = WAIT_MS
        connect(asker, f"tcp://127.0.0.1:{router.port}")
        transport.run(lambda now: now + 0.01 if not asker.poll(0, zmq.POLLOUT) else loop.stop())  # until it was let in
        send_or_drop(asker, [b"hello"])
        assert self.router.poll(WAIT_MS)
        ((self.route, _),) = drain_routed(self.router)

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.outbox.put(Reply(self.route, Ok(number, 1, 1)))

    def sent(self) -> list[int]:
        """Which answers have been sent since the last call."""
        send_or_drop(self.router, [self.route, b"so far"])
        numbers = []
        while (data := self.asker.recv()) != b"so far":
            numbers.append(self._decoder.decode(data).id)
        return numbers


@pytest.fixture
def scene() -> Iterator[Scene]:
    context = open_context()
    transport, asker = ZmqTransport(Loop(), context), open_socket(context, Role.CONTROL_DEALER)
    try:
        yield Scene(transport, asker)
    finally:
        transport.close()
        asker.close(0)
        context.term()


def test_answers_wait_for_each_other_and_keep_their_order(scene: Scene) -> None:
    scene.put(1, 2)
    scene.outbox.put(Reply(scene.route, Goodbye(3, 1, 1)))
    assert scene.sent() == []
    scene.outbox.send()
    assert scene.sent() == [1, 2, 3]
    scene.outbox.send()
    assert scene.sent() == []


def test_no_more_wait_than_a_batch_is(scene: Scene) -> None:
    numbers = range(BATCH_COUNT + 1)
    scene.put(*numbers)
    assert scene.sent() == list(numbers[:-1])
    scene.outbox.send()
    assert scene.sent() == [BATCH_COUNT]


def test_no_answer_waits_long_for_others(scene: Scene) -> None:
    scene.put(1)
    scene.now += BATCH_SECONDS / 2
    scene.put(2)
    assert scene.sent() == []
    scene.now += BATCH_SECONDS
    scene.put(3)
    assert scene.sent() == [1, 2, 3]
    scene.put(4)
    assert scene.sent() == []


def test_who_is_gone_does_not_keep_others_waiting(scene: Scene) -> None:
    scene.outbox.put(Reply(b"gone", Ok(1, 1, 1)))
    scene.put(2)
    scene.outbox.send()
    assert scene.sent() == [2]


def test_a_batch_fits_the_queue_of_one_peer() -> None:
    queue = OPTIONS[Role.TRACKER_ROUTER].values[zmq.SNDHWM]
    assert isinstance(queue, int)
    assert queue > 2 * BATCH_COUNT
