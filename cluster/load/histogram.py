"""Counts of durations, from which percentiles are read. Pure.

Buckets are as wide as a 32nd of what they count, so any number of durations of any length takes a few hundred
counters, a percentile is at most 3.2 % too high, and the counts of several processes are added up without loss.
"""

from __future__ import annotations

from collections.abc import Iterable

_STEPS_BITS = 5
"""There are two to the power of this many buckets in each doubling of the duration."""


class Histogram:
    """Of durations in microseconds. ``count`` is how many there are, ``longest`` the largest of them."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0
        self._buckets: dict[int, int] = {}

    def record(self, micros: int) -> None:
        """Count one more; ``micros`` is 0 or more."""
        bucket = bucket_of(micros)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.longest = max(self.longest, micros)

    def add(self, buckets: Iterable[tuple[int, int]], longest: int) -> None:
        """Count all of another one, by its `pairs` and its ``longest``."""
        for bucket, count in buckets:
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
            self.count += count
        self.longest = max(self.longest, longest)

    def pairs(self) -> list[tuple[int, int]]:
        """Its buckets and how many are in each, shortest first."""
        return sorted(self._buckets.items())

    def percentile(self, percent: float) -> int:
        """Microseconds that so many percent of the durations do not exceed; 0 when there are none."""
        wanted = self.count * percent / 100
        seen = 0
        for bucket, count in self.pairs():
            seen += count
            if seen >= wanted:
                return min(top_of(bucket), self.longest)
        return 0


def bucket_of(micros: int) -> int:
    """The bucket that ``micros`` falls into: itself below 64, then 32 of them for each doubling."""
    shift = max(0, micros.bit_length() - _STEPS_BITS - 1)
    return (shift << _STEPS_BITS) + (micros >> shift)


def top_of(bucket: int) -> int:
    """The largest number of microseconds that falls into ``bucket``."""
    shift = max(0, (bucket >> _STEPS_BITS) - 1)
    return ((bucket - (shift << _STEPS_BITS) + 1) << shift) - 1
