"""`broker.outbox` over real sockets."""

from __future__ import annotations

import zmq

from broker.effects import Reply
from broker.outbox import BATCH_COUNT, Outbox
from protocol.codec import Decoder
from protocol.messages import Goodbye, Ok, RegistrarReply
from transport.sockets import Role, bind, connect, drain_routed, open_context, open_socket, send_or_drop

WAIT_MS = 10_000


def test_answers_go_out_together_and_in_order() -> None:
    decoder: Decoder[RegistrarReply] = Decoder(RegistrarReply)
    context = open_context()
    router, dealer = open_socket(context, Role.TRACKER_ROUTER), open_socket(context, Role.CONTROL_DEALER)
    try:
        dealer.rcvtimeo = WAIT_MS
        connect(dealer, bind(router, "tcp://127.0.0.1:0"))
        assert dealer.poll(WAIT_MS, zmq.POLLOUT)
        send_or_drop(dealer, [b"hello"])
        assert router.poll(WAIT_MS)
        ((route, _),) = drain_routed(router)
        outbox = Outbox(router)
        outbox.put(Reply(b"gone", Ok(0, 1, 1)))
        for number in range(1, BATCH_COUNT + 2):
            outbox.put(Reply(route, Ok(number, 1, 1)))
        send_or_drop(router, [route, b"meanwhile"])
        outbox.put(Reply(route, Goodbye(99, 1, 1)))
        outbox.send()
        first = [decoder.decode(dealer.recv()) for _ in range(BATCH_COUNT - 1)]
        assert first == [Ok(number, 1, 1) for number in range(1, BATCH_COUNT)]
        assert dealer.recv() == b"meanwhile"  # the others waited
        rest = [decoder.decode(dealer.recv()) for _ in range(3)]
        assert rest == [Ok(BATCH_COUNT, 1, 1), Ok(BATCH_COUNT + 1, 1, 1), Goodbye(99, 1, 1)]
        outbox.send()
        send_or_drop(router, [route, b"the end"])
        assert dealer.recv() == b"the end"  # and nothing twice
    finally:
        router.close(0)
        dealer.close(0)
        context.term()
