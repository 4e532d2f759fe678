"""How many pieces are sent at a time. PROTOCOL.md, section 6.3.

Pure. A piece takes a slot from when it is sent until its receiver says `Received`; one for a slow receiver takes a part
of a slot. Which pieces those are, and what is promised beyond them, is up to `uploads`.
"""

from __future__ import annotations

from node.piece_server.pace import Pace
from node.piece_server.session import Promise, Session

COMPLETE_PART = 4
"""For each so many slots one more piece is sent at a time of complete content that has more receivers than there are
slots. What nobody else has comes to them on top of what others send, at a smaller part of their downlinks: with as many
slots as others, a seeder does not use up its uplink, and nobody can be faster than it."""
SENDING_FACTOR = 2
"""However slow receivers are, no more than so many times the slots are sent at a time."""


class Slots:
    """``count`` of them, and more where `COMPLETE_PART` says so. ``pace`` knows who is slow."""

    def __init__(self, count: int, pace: Pace) -> None:
        self.count = count
        self._count_max = count + count // COMPLETE_PART
        self._pace = pace
        self._sent: dict[int, tuple[Session, Promise]] = {}
        """By offer."""

    def __len__(self) -> int:
        """How many pieces are being sent."""
        return len(self._sent)

    def take(self, session: Session, offer: int) -> None:
        """What was promised by ``offer`` has just been sent."""
        self._sent[offer] = session, session.promises[offer]

    def give_back(self, offer: int) -> None:
        """It has arrived, or nobody waits for that any more."""
        del self._sent[offer]

    def is_free(self, session: Session | None, ahead: int, now: float) -> bool:
        """Whether there is one for a piece to ``session``, or for some piece, when ``ahead`` more are taken."""
        slots = self._count_max if session is None else self._count_for(session)
        count = len(self._sent) + ahead
        if count < slots:
            return True
        return count < SENDING_FACTOR * slots and self._taken(now) + ahead < slots

    def check_invariants(self, sent: list[int]) -> None:
        """Raise AssertionError when these are not the offers ``sent``."""
        assert sorted(self._sent) == sorted(sent)
        assert len(self._sent) <= SENDING_FACTOR * self._count_max

    def _count_for(self, session: Session) -> int:
        swarm = session.swarm
        return self._count_max if swarm.have.full and len(swarm.sessions) > self.count else self.count

    def _taken(self, now: float) -> float:
        """How many slots the pieces take that are being sent."""
        taken = 0.0
        for session, promise in self._sent.values():
            assert promise.sent_at is not None
            taken += self._pace.slot_part(session, now - promise.sent_at)
        return taken
