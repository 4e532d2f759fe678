"""How long things take on this uplink, as far as its receivers tell. PROTOCOL.md, section 6.3.

Pure. Says how far ahead to offer, when a receiver has stalled and for how long news may be gathered. What follows
from that is up to `uploads`.
"""

from __future__ import annotations

from statistics import median_low

from node.piece_server.session import Session, Swarm

STALL_FACTOR, STALL_SECONDS_MIN = 3.0, 2.0
"""A receiver has stalled when it takes this much longer than its pieces did so far, and at least this long..."""
STALL_SECONDS_FIRST = 10.0
"""...or this long while it has received none, unless others took longer too."""
STALL_DOUBLINGS_MAX = 6
"""...and twice as long for each stall since anybody last received anything: it may be our own uplink that is slow, and
to give its slots to others would make it slower still."""
SLOW_FACTOR = 2.5
"""A receiver is slow when its pieces take so many times as long as pieces usually do: over real links twice as long is
no more than chance..."""
SLOW_FACTOR_SLOTS = 2.0
"""...and a piece that takes so many times as long takes less of a slot."""
AHEAD_FACTOR = 2.0
"""How many times what would just keep the slots filled during a handshake is offered ahead: an offer may be refused,
and handshakes differ."""
HAVE_DELAY_SECONDS_MAX, HAVE_DELAY_PART = 0.05, 0.25
"""News are gathered for this part of a piece time, and no longer than that."""


class Pace:
    """Moving averages over all receivers of one piece server."""

    def __init__(self) -> None:
        self._piece_seconds = 0.0
        self._handshake_seconds = 0.0
        self._stalls = 0
        """Since anybody received anything."""

    def answered(self, session: Session, seconds: float) -> None:
        """An offer was answered after ``seconds``. That counts unless it had to queue behind a piece."""
        if not session.is_sent_something:
            self._handshake_seconds = _averaged(self._handshake_seconds, seconds)

    def received(self, session: Session, seconds: float) -> None:
        """A piece was acknowledged ``seconds`` after it was sent."""
        self._stalls = 0
        self._piece_seconds = _averaged(self._piece_seconds, seconds)
        session.measured(seconds)

    def compare(self, swarm: Swarm) -> None:
        """Find out what is usual among its receivers. One vote each, whoever acknowledges the most pieces."""
        times = [session.piece_seconds for session in swarm.sessions.values() if session.piece_seconds is not None]
        swarm.usual_seconds = median_low(times) if times else 0.0

    def stalled(self) -> None:
        self._stalls += 1

    def ahead(self, slots: int) -> int:
        """How many pieces to offer beyond the slots that are free: what ends while a handshake takes place. That is
        none where a handshake is short beside a piece. A piece that is promised and not sent keeps its receiver from
        taking another one. As many again as are free while that is not known."""
        if not self._piece_seconds:
            return slots
        return min(slots, int(AHEAD_FACTOR * slots * self._handshake_seconds / self._piece_seconds))

    def is_slow(self, session: Session) -> bool:
        """Compared with others that get the same content: pieces of another may be longer."""
        return (session.piece_seconds or 0.0) > SLOW_FACTOR * session.swarm.usual_seconds > 0

    def slot_part(self, session: Session, seconds: float) -> float:
        """How much of a slot a piece takes that was sent to the receiver ``seconds`` ago: less when it is slow, or this
        one seems to be, as it uses less of the uplink."""
        usual, expected = session.swarm.usual_seconds, max(seconds, session.piece_seconds or 0.0)
        return usual / expected if expected > SLOW_FACTOR_SLOTS * usual > 0 else 1.0

    def patience(self, session: Session) -> float:
        """Seconds after which the session has stalled."""
        usual = max(STALL_SECONDS_FIRST, STALL_FACTOR * self._piece_seconds)
        if session.piece_seconds is not None:
            usual = max(STALL_SECONDS_MIN, STALL_FACTOR * session.piece_seconds)
        return usual * float(2 ** min(self._stalls, STALL_DOUBLINGS_MAX))

    def news_seconds(self) -> float:
        """For how long news are gathered before sessions are told."""
        return min(HAVE_DELAY_SECONDS_MAX, self._piece_seconds * HAVE_DELAY_PART)


def _averaged(before: float, seconds: float) -> float:
    """The moving average with one more of what it is of; 0 before the first."""
    return before + 0.1 * (seconds - before) if before else seconds
