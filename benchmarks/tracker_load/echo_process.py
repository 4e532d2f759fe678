"""What a ROUTER in Python costs when nothing else is done: each request is answered with the same frame, unread.

As many requests a turn as the tracker's processes take, answered in batches as large, and past what pyzmq adds to a
call for options that nobody uses here.
"""

from __future__ import annotations

import zmq
import zmq.backend

from benchmarks.contenders.helper import Answer, serve
from broker.outbox import BATCH_COUNT
from protocol.limits import DRAIN_COUNT

IDLE_MS = 2_000
"""Without a request for so long, whoever asked is gone."""


_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)


class Echo:
    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger, self._socket.rcvhwm = 0, 0
        self._endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"

    def open(self) -> Answer:
        return {"endpoint": self._endpoint}

    def answer(self, requests: int, answer_bytes: int) -> Answer:
        """So many ``requests`` with ``answer_bytes`` each."""
        receive, readable = self._socket.recv, [(self._socket, zmq.POLLIN)]
        answer = bytes(answer_bytes)
        left = requests
        routes: list[bytes] = []
        while left:
            if not zmq.backend.zmq_poll(readable, IDLE_MS):
                raise TimeoutError(f"{left} of {requests} requests never came")
            for _ in range(DRAIN_COUNT):
                try:
                    routes.append(receive(_NOBLOCK))
                except zmq.Again:
                    break
                receive(_NOBLOCK)
                left -= 1
                if len(routes) == BATCH_COUNT:
                    self._send(routes, answer)
            self._send(routes, answer)
        return {}

    def _send(self, routes: list[bytes], answer: bytes) -> None:
        send, socket = zmq.backend.Socket.send, self._socket
        for route in routes:
            send(socket, route, _NOBLOCK_MORE)
            send(socket, answer, _NOBLOCK)
        routes.clear()


if __name__ == "__main__":
    echo = Echo()
    serve({"open": echo.open, "answer": echo.answer})
