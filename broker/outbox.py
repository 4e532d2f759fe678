"""What a process of the tracker answers in one turn of its loop, sent together at the end of the turn.

One by one each answer finds ZeroMQ's thread asleep again, and waking it costs as much as the answer.
"""

from __future__ import annotations

import zmq

from broker.effects import Reply
from protocol.codec import encode
from protocol.limits import REPLY_BYTES_MAX
from transport.sockets import send_or_drop

BATCH_COUNT = 16
"""So many at a time: whoever waits for the first works while the next are made. Below the high-water mark of the
socket, since all of them may be for one peer."""


class Outbox:
    """Of the ROUTER ``socket``."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._answers: list[tuple[bytes, bytes]] = []

    def put(self, reply: Reply) -> None:
        """To be sent with the next `send`, or when there are many; in the order of calls."""
        self._answers.append((reply.route, encode(reply.message, REPLY_BYTES_MAX)))
        if len(self._answers) == BATCH_COUNT:
            self.send()

    def send(self) -> None:
        """Send all there is. Who is gone or takes no more is not waited for: they ask again."""
        for answer in self._answers:
            send_or_drop(self._socket, answer)
        self._answers.clear()
