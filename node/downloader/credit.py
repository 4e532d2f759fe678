"""How many pieces may be on their way from each source of a download. PROTOCOL.md, section 6.

Pure. Owns what sources may send, what they have not been told to have arrived, and the download's part of the budget:
a piece takes its place there from when a source may send it until it is written.
"""

from __future__ import annotations

from node.downloader.bottleneck import Cause
from node.downloader.source import Send, Source
from node.pace import Recent, RoundTrips
from node.rate_limit import Budget, Share
from protocol.messages import Received

CREDIT_COUNT, CREDIT_BYTES = 16, 16 * 2**20
"""Pieces that may be on their way, and their bytes, shared among the sources; one from each at least. One is enough
where there are many; few must fill the link while messages are on their way."""
QUICK_SECONDS = 0.05
"""As many pieces as came within so long may be on their way, if that is more: where all are quick it is not the links
that take the time, but processes that wait for their turn."""


class Credit:
    """Of one download, with pieces of ``length`` bytes; ``budget`` is that of all downloads."""

    def __init__(self, budget: Budget, length: int) -> None:
        self._budget, self._share = budget, Share(budget)
        self._length = length
        self._ready = 0
        """Sources that have answered."""
        self._writing = 0
        """Pieces that have come and are not written."""
        self._unsaid: dict[Source, None] = {}
        """Sources to which there is something to say."""
        self._recent = Recent()
        """When the last pieces came."""
        self._round_trips = RoundTrips()

    def begin(self, source: Source, now: float) -> int:
        """``source`` has answered: how many pieces it may send."""
        self._ready += 1
        self._round_trips.measured(now - source.polled_at)
        self._unsaid[source] = None
        return self._grant(source, self.most(source), now)

    def end(self, source: Source) -> None:
        """Nothing more comes of ``source``, which may have answered."""
        self._ready -= source.answered
        self._share.release(source.credit * self._length)
        source.credit = source.arrived = 0
        self._unsaid.pop(source, None)

    def arrived(self, source: Source, receipt: int, now: float) -> None:
        """A piece of ``source``, which has credit, has come with ``receipt``. `written` comes next."""
        source.credit -= 1
        source.arrived += 1
        source.receipt = receipt
        self._writing += 1
        self._recent.note(now)
        self._unsaid[source] = None

    def written(self) -> None:
        """A piece that has come takes no more memory: it is on disk, or of no use."""
        self._writing -= 1
        self._share.release(self._length)

    def most(self, source: Source) -> int:
        """How many pieces may be on their way from ``source``: an equal part of all or, from one that is far away, as
        many as its link takes."""
        most = CREDIT_BYTES // self._length
        part = min(max(CREDIT_COUNT, self._recent.up_to_the_last(QUICK_SECONDS)), most) // max(1, self._ready)
        return max(1, part, self.usually_on_way(source))

    def usually_on_way(self, source: Source) -> int:
        """How many pieces come from ``source`` in a few round trips: with fewer on their way its link would be idle at
        times. 0 where a message takes no time to speak of."""
        seconds = self._round_trips.seconds
        window = max(QUICK_SECONDS, seconds)
        return int(source.recent.up_to_the_last(window) * seconds / window)

    def say(self, now: float) -> list[Send]:
        """Acknowledge what has come and give credit back, first to those that have something to send: where a rate
        limit allows little, credit of the others is of no use, and is used up for them all the same."""
        effects: list[Send] = []
        for source in sorted(self._unsaid, key=lambda one: not one.is_to_send):
            most = self.most(source)
            session, given = source.session, self._grant(source, most, now)
            if source.arrived or given:
                effects.append(Send(session, Received(session, source.arrived, given, source.receipt)))
                source.arrived = 0
                source.said_at = now
            if source.credit >= most:
                del self._unsaid[source]
        return effects

    def _grant(self, source: Source, most: int, now: float) -> int:
        """Give the source credit for more pieces, up to ``most``, as the budget allows; how many. One piece of each
        source is always admitted while the disk keeps up, or a budget that is used up by idle ones would block the
        others."""
        given = 0
        keeps_up = self._writing * self._length < self._budget.bytes_max
        while source.credit < most and self._share.admits(self._length, now, whatever=keeps_up and not source.credit):
            self._share.claim(self._length, now)
            source.credit += 1
            given += 1
        return given

    def next_deadline(self, now: float) -> float | None:
        """When there may be something to `say` for which the rate is too low now."""
        ready = self._budget.bucket.ready_at(now)
        return ready if self._unsaid and ready > now else None

    def held_back_by(self, is_all_there: bool, now: float) -> Cause:
        """What keeps pieces from coming sooner at this moment; ``is_all_there``: each has come."""
        full = not self._budget.has_room(self._length) and 2 * self._writing * self._length >= self._share.under_way
        if self._writing and (full or is_all_there):
            return "disk"
        late = self._budget.bucket.ready_at(now) > now
        return "rate_limit" if late and any(not source.credit for source in self._unsaid) else "sources"

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self, sources: list[Source], writing: int) -> None:
        """Raise AssertionError when the counts are not those of all ``sources`` and of ``writing`` pieces."""
        assert self._ready == sum(source.answered for source in sources)
        assert self._writing == writing
        assert all(source.credit >= 0 for source in sources)
        may_come = sum(source.credit for source in sources)
        assert self._share.under_way == (may_come + writing) * self._length
