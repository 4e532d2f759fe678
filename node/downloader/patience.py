"""How long sources take for a piece, and so which of them take too long. PROTOCOL.md, section 6.

Pure. Owns the measure of all sources of one download together; that of each is in its record. What becomes of a source
that takes too long is up to `download`.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from node.downloader.source import Source, SourcePool
from node.pace import Average
from protocol.limits import TEST_IDLE_SECONDS

SILENT_SECONDS = 3 * TEST_IDLE_SECONDS
"""An idle source that leaves three Tests unanswered is gone."""
TURNS_COUNT = 4
SILENT_SENDING_SECONDS = 30.0
"""A source whose answers queue behind a large piece on a slow link may be silent this long, or OVERDUE_FACTOR piece
times, and twice as long each time we were too impatient: see `SourcePool.be_patient`."""
OVERDUE_FACTOR, OVERDUE_SECONDS_MIN, OVERDUE_SECONDS_FIRST = 4.0, 2.0, 10.0
"""A source that takes so many times as long for a piece as it or others usually do, at least this long, and as long as
this link needs for all that there is credit for, is snubbing us (BEP 3): others may send what it owes. The last is for
when no piece has arrived yet."""
STUCK_SECONDS = 60.0
"""A source that owes a piece this long is closed and opened anew, even when there is no other."""
STARVED_SECONDS_FIRST = 200.0
"""A download that has had no piece yet waits this long until it asks busy sources. On links where a piece takes 40 s,
one receiver in four would otherwise ask for what is on its way to it: 1.5 of the content would be sent, not 1.34."""


class Owed(NamedTuple):
    """``source`` is to send ``piece`` in so many ``seconds``."""

    seconds: float
    piece: int
    source: Source

    @property
    def is_owed(self) -> bool:
        """Still."""
        return self.piece in self.source.gets or self.piece in self.source.promised


class Patience:
    """With the sources of ``pool``."""

    def __init__(self, pool: SourcePool) -> None:
        self._pool = pool
        self._arrived = 0
        """Pieces that have come, of whatever use..."""
        self._arrived_at = 0.0
        """...when the last one did, and seconds from one to the next."""
        self._pace = Average()
        self._unasked_at = 0.0
        """When a missing piece last came that was not asked for by number."""

    def begin(self, now: float) -> None:
        """The download begins, or goes on after a pause."""
        self._unasked_at = now

    def heard(self, source: Source, now: float) -> None:
        """Something of ``source`` has come."""
        source.heard_at, source.heard_count = now, self._arrived

    def arrived(self, source: Source, now: float) -> None:
        """A piece of ``source`` has come."""
        self.heard(source, now)
        source.delivered(now)
        if self._arrived:
            self._pace.add(now - self._arrived_at)
        self._arrived_at = now
        self._arrived += 1

    def gained(self, now: float) -> None:
        """A missing piece has come that was not asked for by number."""
        self._unasked_at = now

    # --- how long it takes -------------------------------------------------------------------------------

    def usual(self) -> float:
        """Seconds that a source takes for a piece; 0 while that is not known."""
        known = [source.interval.value for source in self._pool if source.interval.value is not None]
        return median(known) if known else 0.0

    def owed(self, usual: float, now: float) -> Iterator[Owed]:
        """All that sources owe, and when it should come; the first piece of each, which may be on its way, as if in
        half the time."""
        for source in self._pool:
            interval = source.interval.or_else(usual)
            seconds = interval - (now - source.busy_since)
            for place, piece in enumerate([*source.gets, *source.promised]):
                yield Owed(seconds + place * interval if place else seconds / 2, piece, source)

    # --- who takes too long ------------------------------------------------------------------------------

    def silent(self, now: float) -> Iterator[Source]:
        """Sources that did not answer in time. While others send as well, an answer may wait behind a piece for as long
        as it takes to get one from each."""
        turn = TURNS_COUNT * len(self._pool)
        for source in self._pool:
            behind_pieces = self._arrived < source.heard_count + turn
            since = max(source.heard_at, self._arrived_at) if behind_pieces else source.heard_at
            if source.is_unanswered(now) or (source.answered and now - since >= _silence_allowed(source)):
                yield source

    def overdue(self, now: float) -> Iterator[Source]:
        """Sources that take so long for what they owe, or were asked to assign, that others may be asked."""
        usual = self.usual()
        all_that_may_come = sum(source.credit for source in self._pool) * self._pace.or_else(0.0)
        least = max(OVERDUE_SECONDS_MIN, min(STUCK_SECONDS, all_that_may_come))
        for source in self._pool.ready():
            slowest = max(usual, source.interval.or_else(0.0))
            allowed = max(least, OVERDUE_FACTOR * slowest if slowest else OVERDUE_SECONDS_FIRST)
            if (source.owes or source.asked) and now - source.busy_since >= allowed:
                yield source

    def is_starved(self, now: float) -> bool:
        """Whether nothing has come unasked for far too long: what nobody relays has to be asked for, and sources that
        serve others as well may be busy for hours."""
        allowed = _far_too_long(self.usual()) if self._arrived else STARVED_SECONDS_FIRST
        return now - self._unasked_at >= allowed

    def stuck(self, now: float) -> Iterator[Source]:
        """Sources that owe a piece which they were asked for, for far too long."""
        for source in self._pool.ready():
            if source.gets and now - source.busy_since > _far_too_long(source.interval.or_else(0.0)) * source.patience:
                yield source

    def mute(self, now: float) -> list[Source]:
        """Sources that have sent nothing for far too long, whatever they have promised: because they were asked for
        nothing, or although they were."""
        allowed = _far_too_long(self.usual())
        return [
            source
            for source in self._pool.ready()
            if (source.snubs or not source.gets)
            and now - (source.waited_since if source.snubs else source.busy_since) > allowed
        ]


def _silence_allowed(source: Source) -> float:
    """Seconds without a word after which it is taken for gone."""
    if not source.owes and not source.credit:
        return SILENT_SECONDS
    interval = source.interval.value
    return (
        SILENT_SENDING_SECONDS if interval is None else max(SILENT_SECONDS, OVERDUE_FACTOR * interval)
    ) * source.patience


def _far_too_long(interval: float) -> float:
    """Seconds that are, for a piece that takes ``interval``."""
    return max(STUCK_SECONDS, 10 * interval)
