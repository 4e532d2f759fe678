"""Virtual time: calls at moments, and what falls on one moment happens in the order it was asked for. Pure.

What is told to many arrives everywhere at one moment, so there are far fewer moments than calls: it is moments that
the heap is of.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf


class Clock:
    """``now`` in seconds since the world began. Time passes only in `run` and `run_some`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        """How many calls were made."""
        self._moments: list[float] = []
        self._calls: dict[float, list[tuple[Callable[..., None], tuple[object, ...]]]] = {}
        """By moment."""

    def at(self, when: float, call: Callable[..., None], *args: object) -> None:
        """Make the call when it is ``when``, or at this moment if that is over."""
        if when < self.now:
            when = self.now
        calls = self._calls.get(when)
        if calls is None:
            self._calls[when] = [(call, args)]
            heappush(self._moments, when)
        else:
            calls.append((call, args))

    def after(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        """Make the call ``seconds`` from now."""
        self.at(self.now + seconds, call, *args)

    def next_at(self) -> float:
        """When the next call is due; infinite when none is."""
        return self._moments[0] if self._moments else inf

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass to ``until``, or to the end of the moment in which ``stop`` became true; whether it did."""
        while self.next_at() <= until:
            self._pass_moment()
            if stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False

    def run_some(self, until: float, count: int, stop: Callable[[], bool] | None = None) -> bool:
        """As `run`, but at most to the end of the moment in which ``count`` calls were made; whether it came to
        ``until``."""
        end = self.steps + count
        while self.next_at() <= until:
            if self.steps >= end or (stop is not None and stop()):
                return False
            self._pass_moment()
        self.now = max(self.now, until)
        return True

    def _pass_moment(self) -> None:
        """Make all calls of the next moment, those for it that come meanwhile too."""
        now = self.now = self._moments[0]
        calls = self._calls[now]
        for call, args in calls:
            call(*args)
        self.steps += len(calls)
        del self._calls[now]
        heappop(self._moments)
