"""A PUB socket in a thread of its own.

Before libzmq publishes a message it processes all subscriptions that have arrived, and keeps each byte of them in a
node of its own. A stranger that subscribes without end is disconnected, but what it sent until then takes up to a
second. Nobody waits for published messages, so that time is spent in this thread.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import zmq

from protocol.errors import LocalError
from transport.sockets import send_or_drop

QUEUE_COUNT_MAX = 10_000
"""What is published beyond that while the thread is busy is dropped."""

FULL_SECONDS = 0.01
"""Between two attempts to end the thread while the queue is full."""

_END = b""
_ids = itertools.count()


class Publisher:
    """Owns ``socket`` from now on, and closes it in `close`."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        address = f"inproc://publisher-{next(_ids)}"
        self._queue, self._taken = (socket.context.socket(zmq.PAIR) for _ in range(2))
        self._queue.set(zmq.SNDHWM, QUEUE_COUNT_MAX)
        self._taken.set(zmq.RCVHWM, QUEUE_COUNT_MAX)
        self._queue.bind(address)
        self._taken.connect(address)
        self._thread = threading.Thread(target=self._publish, name="publisher")
        self._thread.start()

    def send(self, frames: Sequence[bytes]) -> None:
        """`LocalError` when the thread has ended, and so nothing would be published ever again."""
        if not self._thread.is_alive():
            raise LocalError("the thread that publishes has ended")
        send_or_drop(self._queue, frames)

    def close(self) -> None:
        while self._thread.is_alive() and not send_or_drop(self._queue, [_END]):
            self._thread.join(FULL_SECONDS)
        self._thread.join()
        self._queue.close(0)

    def _publish(self) -> None:
        try:
            while (frames := self._taken.recv_multipart()) != [_END]:
                send_or_drop(self._socket, frames)
        finally:
            self._taken.close(0)
            self._socket.close()
