"""The answers of a tracker process, sent in batches.

An answer that is sent alone finds ZeroMQ's thread asleep, and waking it costs as much as the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.effects import Reply
from protocol.messages import LookupReply, RegistrarReply
from transport.ports import PublicRouter

BATCH_COUNT = 16
"""Maximum batch: the peer that waits for the first answer works while the next are made. Below the high-water mark of
the socket, since all of them may be for one peer."""
BATCH_SECONDS = 0.001
"""An answer that has waited this long is sent with the next one: some take long to compute."""


class Outbox:
    """The answers that go out over ``router``. ``clock`` gives monotonic seconds."""

    def __init__(self, router: PublicRouter, clock: Callable[[], float]) -> None:
        self._router = router
        self._clock = clock
        self._answers: list[tuple[bytes, RegistrarReply | LookupReply]] = []
        self._since = 0.0
        """When the first of them was put in."""

    def put(self, reply: Reply) -> None:
        """Queue an answer, to be sent by the next `send` at the latest, in the order of calls."""
        now = self._clock()
        if not self._answers:
            self._since = now
        self._answers.append((reply.route, reply.message))
        if len(self._answers) == BATCH_COUNT or now - self._since >= BATCH_SECONDS:
            self.send()

    def send(self) -> None:
        """Send everything. Peers that are gone or do not read are not waited for: they ask again."""
        self._router.send_each(self._answers)
        self._answers.clear()
