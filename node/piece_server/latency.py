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
BATCH_SECONDS = 0.04
"""What fits into this time on the uplink is offered, sent and acknowledged as a batch: each message costs both sides
some tenths of a millisecond of processor time, whatever it is about. Others get what is sent so much later: pieces that
take longer go one by one."""
BATCH_BYTES_MAX = 2 * MIB
"""A batch is no longer than that: longer ones were not quicker..."""
BATCHES_COUNT_MIN = 64
"""...and content has so many of them, or few would have something to pass on."""
INTERVALS_COUNT = 8
"""The time between acknowledgements is that of so many: those of pieces that share a link come together."""


class Latency:
    """Of one piece server. One vote for each receiver, or one that dawdles could make all others wait."""

    def __init__(self) -> None:
        self.batches = 0.0
        """Of a message there and back, in times of a batch on the uplink; 0 while that is not known."""
        self.batch = 1
        """How many pieces are a batch, if they are not too long."""
        self._batch_max = 1
        """...of the content of which a piece was acknowledged last."""
        self._seconds = 0.0
        self._interval = 0.0
        """Seconds between two acknowledgements while there was something to send."""
        self._since: float | None = None
        """When the present count of them began."""
        self._count = 0

    def answered(self, session: Session, seconds: float) -> None:
        """An offer that no piece was in front of was answered after ``seconds``."""
        before = session.latency_seconds
        session.latency_seconds = seconds if before is None else min(seconds, before + RISE * (seconds - before))

    def received(self, session: Session, seconds: float, now: float, more: bool) -> None:
        """A piece was acknowledged ``seconds`` after it was sent. ``more``: others are under way or wait for a slot."""
        if session.latency_seconds is not None:
            session.latency_seconds = min(session.latency_seconds, seconds)
        self._count += 1
        self._batch_max = _longest_batch(session.swarm)
        if self._since is not None and self._count == INTERVALS_COUNT:
            interval = (now - self._since) / INTERVALS_COUNT
            self._interval = (self._interval + interval) / 2 if self._interval else interval
            self._measure()
            self._since = None
        if self._since is None or not more:
            self._since, self._count = now if more else None, 0

    def compare(self, sessions: Iterable[Session]) -> None:
        """Find out what is usual among the receivers."""
        votes = [session.latency_seconds for session in sessions if session.latency_seconds is not None]
        self._seconds = median_low(votes) if votes else 0.0
        self._measure()

    def batch_of(self, swarm: Swarm) -> int:
        """How many pieces of ``swarm`` are a batch."""
        return min(self.batch, _longest_batch(swarm))

    def _measure(self) -> None:
        if not self._interval:
            return
        self.batch = max(1, min(self._batch_max, int(BATCH_SECONDS / self._interval)))
        self.batches = self._seconds / (self.batch * self._interval)


def _longest_batch(swarm: Swarm) -> int:
    """How many pieces of ``swarm`` are a batch at most."""
    return max(1, min(BATCH_COUNT_MAX, BATCH_BYTES_MAX // swarm.piece_length, swarm.have.size // BATCHES_COUNT_MIN))
