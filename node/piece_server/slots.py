"""How many pieces are sent at a time. PROTOCOL.md, section 6.3.

Pure. A piece takes a slot from when it is sent until its receiver says `Received`; one for a slow receiver takes a part
of a slot. Which pieces those are, and what is promised beyond them, is up to `uploads`.
"""

from __future__ import annotations

from node.piece_server.latency import BATCH_BYTES_MAX, Latency
from node.piece_server.pace import Pace
from node.piece_server.session import Promise, Session, Swarm
from protocol.limits import BATCH_COUNT_MAX, MIB

COMPLETE_PART = 4
"""For each so many slots one more piece is sent at a time of complete content that has more receivers than ``count``.
What nobody else has comes to them on top of what others send, at a smaller part of their downlinks: with as many
slots as others, a seeder does not use up its uplink, and nobody can be faster than it."""
SENDING_FACTOR = 2
"""However slow receivers are, no more than so many times the slots are sent at a time."""
LATENCY_SHORT = 0.15
"""While a message takes fewer piece times there and back there are as few slots as was said..."""
LATENCY_FACTOR = 2
"""...from there on so many times as many..."""
LATENCY_SLOTS = 1.5
"""...and so many more for each piece time of it, for pieces and acknowledgements that are on their way..."""
LATENCY_FACTOR_MAX = 6
"""...up to so many times as many in all, be they for pieces or for batches..."""
LATENCY_BYTES_MAX = 64 * MIB
"""...and as long as what is sent at a time is no more than that."""


class Slots:
    """``count`` of them, more where `COMPLETE_PART` says so, and more where messages take long. ``pace`` knows who is
    slow."""

    def __init__(self, count: int, pace: Pace, latency: Latency) -> None:
        self.sent_bytes = 0
        """Of the pieces that are being sent."""
        self._count = count
        self._count_complete = count + count // COMPLETE_PART
        self._pace = pace
        self._latency = latency
        self._sent: dict[int, tuple[Session, Promise]] = {}
        """By offer."""

    def __len__(self) -> int:
        """How many pieces are being sent."""
        return len(self._sent)

    @property
    def count(self) -> int:
        """How many there are for content that is not complete, if its pieces are not long."""
        return self._with_latency(self._count)

    @property
    def count_max(self) -> int:
        """There are never more."""
        return LATENCY_FACTOR_MAX * self._count_complete * BATCH_COUNT_MAX

    def at_once(self, swarm: Swarm) -> int:
        """How many pieces of ``swarm`` are sent at a time, as if it were not complete."""
        return min(self.count, max(self._count, LATENCY_BYTES_MAX // swarm.piece_length))

    def more_at_once(self, swarm: Swarm) -> int:
        """The same where that is more than it would be if messages took no time; 0 where it is not."""
        slots = self.at_once(swarm)
        return slots if slots > self._count else 0

    def take(self, session: Session, offer: int) -> None:
        """What was promised by ``offer`` has just been sent."""
        promise = session.promises[offer]
        self._sent[offer] = session, promise
        self.sent_bytes += promise.size

    def give_back(self, offer: int) -> None:
        """It has arrived, or nobody waits for that any more."""
        _, promise = self._sent.pop(offer)
        self.sent_bytes -= promise.size

    def is_free(self, session: Session, ahead: int, now: float) -> bool:
        """Whether there is one for a piece to ``session`` when ``ahead`` more are taken."""
        swarm = session.swarm
        many = swarm.have.full and len(swarm.sessions) > self._count
        slots = usual = self._count_complete if many else self._count
        if self.sent_bytes + (ahead + 1) * swarm.piece_length <= LATENCY_BYTES_MAX:
            slots = self._with_latency(usual)
        return self._is_free(slots, ahead, now)

    def any_free(self, ahead: int, now: float) -> bool:
        """Whether there may be one for a piece to some receiver when ``ahead`` more are taken."""
        return self._is_free(self._with_latency(self._count_complete), ahead, now)

    def check_invariants(self, sent: list[int]) -> None:
        """Raise AssertionError when these are not the offers ``sent``."""
        assert sorted(self._sent) == sorted(sent)
        sizes = [promise.size for _, promise in self._sent.values()]
        assert self.sent_bytes == sum(sizes)
        usual = SENDING_FACTOR * self._count_complete
        bytes_max = max(LATENCY_BYTES_MAX, usual * max(sizes, default=0)) + BATCH_BYTES_MAX
        assert len(sizes) <= usual or self.sent_bytes <= bytes_max
        assert len(sizes) <= SENDING_FACTOR * self.count_max

    def _with_latency(self, usual: int) -> int:
        """How many there are instead of ``usual``. Where messages take long some pieces are on their way at any moment
        and keep no uplink busy. And how many there are varies, as both sides decide on old news: with twice as many
        nobody runs out. Five to seven instead of four were worse than both: some sources have more than others then."""
        latency, slots = self._latency.batches, usual
        if latency >= LATENCY_SHORT:
            slots = min(LATENCY_FACTOR_MAX * usual, LATENCY_FACTOR * usual + int(LATENCY_SLOTS * latency))
        return slots * self._latency.batch

    def _is_free(self, slots: int, ahead: int, now: float) -> bool:
        count = len(self._sent) + ahead
        if count < slots:
            return True
        return count < SENDING_FACTOR * slots and self._taken(now) + ahead < slots

    def _taken(self, now: float) -> float:
        """How many slots the pieces take that are being sent."""
        taken = 0.0
        for session, promise in self._sent.values():
            assert promise.sent_at is not None
            taken += self._pace.slot_part(session, now - promise.sent_at)
        return taken
