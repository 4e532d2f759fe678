"""Token buckets: how the configured upload and download rates are kept.

Pure. A bucket may go into debt by one piece, because a piece is sent whole: what is allowed next waits until the
debt is paid, so the average is the configured rate whatever the piece length.
"""

from __future__ import annotations

BURST_SECONDS = 0.25
"""What an idle bucket saves up: enough to hide timer granularity, too little to be seen as a burst."""


class TokenBucket:
    """Allows ``rate`` bytes a second on average; a rate of 0 allows everything."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._balance = rate * BURST_SECONDS
        self._at = now

    def ready_at(self, now: float) -> float:
        """The moment from which `spend` is allowed; ``now`` or earlier means at once."""
        if not self.rate:
            return now
        self._refill(now)
        return now if self._balance >= 0 else now - self._balance / self.rate

    def spend(self, count: int, now: float) -> None:
        """Take ``count`` bytes, into debt if need be."""
        if self.rate:
            self._refill(now)
            self._balance -= count

    def _refill(self, now: float) -> None:
        self._balance = min(self._balance + (now - self._at) * self.rate, self.rate * BURST_SECONDS)
        self._at = now


class Budget:
    """What one downloader may have under way, all its downloads together: bytes, and bytes a second.

    ``bytes_max`` bounds what is accepted but not yet written; ``rate`` is the download limit in bytes a second.
    """

    def __init__(self, bytes_max: int, rate: float, now: float) -> None:
        self.bytes_max = bytes_max
        self.under_way = 0
        self.bucket = TokenBucket(rate, now)

    def admits(self, count: int, now: float) -> bool:
        """Whether a piece of ``count`` bytes may be accepted now. One piece is always admitted when nothing is
        under way, so that no budget can block a download for good."""
        room = self.under_way == 0 or self.under_way + count <= self.bytes_max
        return room and self.bucket.ready_at(now) <= now

    def claim(self, count: int, now: float) -> None:
        self.under_way += count
        self.bucket.spend(count, now)

    def release(self, count: int) -> None:
        self.under_way -= count
        assert self.under_way >= 0, "more released than was claimed"
