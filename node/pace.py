"""How fast pieces come and go, as downloads and uploads measure it. Pure.

Owns the measures; what follows from them is up to whoever takes them.
"""

from __future__ import annotations

from collections import deque

TRIPS_COUNT, ROUND_TRIP_SECONDS_MAX = 3, 0.5
"""With as many pieces on their way as came in so many round trips the rate grows until the link is full, also where
messages wait for a turn at either end. A round trip that seems to take longer is one in which somebody was busy."""


class Recent:
    """When the last ones came, in order, and how many there were of late."""

    __slots__ = ("_moments",)

    def __init__(self) -> None:
        self._moments: deque[float] = deque()

    def note(self, now: float) -> None:
        self._moments.append(now)

    def since(self, moment: float) -> int:
        """How many came at ``moment`` or later; earlier ones are forgotten."""
        moments = self._moments
        while moments and moments[0] < moment:
            moments.popleft()
        return len(moments)

    def up_to_the_last(self, seconds: float) -> int:
        """How many came in the ``seconds`` before the last one, with that one."""
        return self.since(self._moments[-1] - seconds) if self._moments else 0


class Average:
    """Moving average of durations in seconds: each new one counts for ``part``. None while there is none."""

    __slots__ = ("_part", "value")

    def __init__(self, part: float = 0.25) -> None:
        self._part = part
        self.value: float | None = None

    def add(self, seconds: float) -> None:
        self.value = seconds if self.value is None else self.value + self._part * (seconds - self.value)

    def or_else(self, seconds: float) -> float:
        """``seconds`` where there is none."""
        return seconds if self.value is None else self.value


class RoundTrips:
    """``seconds`` are `TRIPS_COUNT` round trips to whoever answered the soonest: a message may wait behind pieces."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = TRIPS_COUNT * ROUND_TRIP_SECONDS_MAX

    def measured(self, seconds: float) -> None:
        """An answer took ``seconds``."""
        self.seconds = min(self.seconds, TRIPS_COUNT * seconds)
