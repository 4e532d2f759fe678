"""Virtual time: one heap of calls by (time, number), so that what falls on one moment happens in the order it was
asked for. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

_Entry = tuple[float, int, Callable[..., None], tuple[object, ...]]


class Clock:
    """``now`` in seconds since the world began. Time passes only in `step`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        """How many calls were made."""
        self._heap: list[_Entry] = []
        self._numbers = count()

    def at(self, when: float, call: Callable[..., None], *args: object) -> None:
        """Make the call when it is ``when``, or at this moment if that is over."""
        heapq.heappush(self._heap, (max(when, self.now), next(self._numbers), call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """Make the call ``seconds`` from now."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._numbers), call, args))

    def next_at(self) -> float:
        """When the next call is due; infinite when none is."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Make the next call."""
        self.now, _, call, args = heapq.heappop(self._heap)
        self.steps += 1
        call(*args)

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass to ``until``, or to the call after which ``stop`` is true; whether it was."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.step()
            if stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False

    def run_some(self, until: float, count: int) -> bool:
        """As `run`, but ``count`` calls at most; whether it is ``until``."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            if not count:
                return False
            count -= 1
            self.step()
        self.now = max(self.now, until)
        return True
