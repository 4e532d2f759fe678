"""How long messages and pieces take on this uplink. PROTOCOL.md, section 6.3.

Pure. How quick pieces are says how many are worth a message; how long messages take to receivers and back beside that,
how many are on their way, or acknowledged on their way back, when the uplink is in use all the time: round trip by
rate. How many are sent because of that is up to `slots`.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low

from node.piece_server.session import Session, Swarm
from protocol.limits import BATCH_COUNT_MAX, MIB

RISE = 0.4
"""By this part of the difference what is measured at a receiver rises, while it falls at once: an answer may have had
to wait for something else, here or there. So the quicker of the last answers count."""
BATCH_LATENCY = 4.0
"""So many of what fits into the time of a message there and back are offered, sent and acknowledged as a batch: where a
piece takes no longer than a message, messages and the work on them are what it costs..."""
BATCH_SECONDS = 0.04
"""...but no more than fits into this: others get what is sent so much later."""
BATCH_BYTES_MAX = 2 * MIB
"""A batch is no longer than that: longer ones were not quicker..."""
BATCHES_COUNT_MIN = 64
"""...and content has so many of them, or few would have something to pass on."""
INTERVALS_COUNT = 8
"""The time between acknowledgements is that of so many, of a batch each: those that share a link come together."""


class Latency:
    """Of one piece server. One vote for each session, or one that dawdles could make all others wait."""

    def __init__(self) -> None:
        self.batches = 0.0
        """Of a message there and back, in times of a batch on the uplink; 0 while that is not known."""
        self.batch = 1
        """How many pieces are a batch, if they are not too long."""
        self._seconds = 0.0
        self._interval = 0.0
        """Seconds between two acknowledgements of a piece while there was something to send."""
        self._since: float | None = None
        """When the present count of them began."""
        self._count = 0
        self._pieces = 0
        """Of these acknowledgements."""
        self._longest = BATCH_COUNT_MAX
        """How many pieces are a batch at most, of all contents they are of."""

    def answered(self, session: Session, seconds: float) -> None:
        """An offer that no piece was in front of was answered after ``seconds``."""
        before = session.latency_seconds
        session.latency_seconds = seconds if before is None else min(seconds, before + RISE * (seconds - before))

    def received(self, session: Session, seconds: float, pieces: int, now: float, more: bool) -> None:
        """So many pieces were acknowledged in one message, ``seconds`` after they were sent. ``more``: others are under
        way or wait for a slot."""
        if session.latency_seconds is not None:
            session.latency_seconds = min(session.latency_seconds, seconds)
        if self._since is not None:
            self._count += 1
            self._pieces += pieces
            self._longest = min(self._longest, _longest_batch(session.swarm))
            if self._count == INTERVALS_COUNT:
                interval = (now - self._since) / self._pieces
                self._interval = (self._interval + interval) / 2 if self._interval else interval
                self.batch = self._worth(session.swarm)
                self._measure()
                self._since = None
        if self._since is None or not more:
            self._since, self._count, self._pieces, self._longest = now if more else None, 0, 0, BATCH_COUNT_MAX

    def compare(self, sessions: Iterable[Session]) -> None:
        """Find out what is usual among the receivers."""
        self._seconds = _usual(sessions)
        self._measure()

    def batch_of(self, swarm: Swarm) -> int:
        """How many pieces of ``swarm`` are a batch."""
        return min(self.batch, _longest_batch(swarm))

    def _worth(self, swarm: Swarm) -> int:
        """How many pieces are a batch, as the receivers of ``swarm`` have answered of late."""
        if not self._interval:
            return 1
        seconds = min(BATCH_SECONDS, BATCH_LATENCY * _usual(swarm.sessions.values()))
        return max(1, min(self._longest, int(seconds / self._interval)))

    def _measure(self) -> None:
        self.batches = self._seconds / (self.batch * self._interval) if self._interval else 0.0


def _usual(sessions: Iterable[Session]) -> float:
    """How long a message takes to most of them; 0 while that is not known."""
    votes = [session.latency_seconds for session in sessions if session.latency_seconds is not None]
    return median_low(votes) if votes else 0.0


def _longest_batch(swarm: Swarm) -> int:
    """How many pieces of ``swarm`` are a batch at most."""
    return max(1, min(BATCH_COUNT_MAX, BATCH_BYTES_MAX // swarm.piece_length, swarm.have.size // BATCHES_COUNT_MIN))
