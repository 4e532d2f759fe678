"""Virtual time: calls at moments, and what falls on one moment happens in the order it was asked for. Pure.

What is told to many arrives everywhere at one moment, so there are far fewer moments than calls: it is moments that
the heap is of.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf


class Clock:
    """``now`` in seconds since the world began. Time passes only in `step` and `run`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        """How many calls were made."""
        self._moments: list[float] = []
        self._calls: dict[float, list[tuple[Callable[..., None], tuple[object, ...]]]] = {}
        """By moment; those of the first one stay until the next one begins, since more may come."""
        self._made = 0
        """Of the calls of the first moment."""

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
        moments = self._moments
        if moments and self._made == len(self._calls[moments[0]]):
            del self._calls[heappop(moments)]
            self._made = 0
        return moments[0] if moments else inf

    def step(self) -> None:
        """Make the next call."""
        self.now = self.next_at()
        call, args = self._calls[self.now][self._made]
        self._made += 1
        self.steps += 1
        call(*args)

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass to ``until``, or to the call after which ``stop`` is true; whether it was."""
        while self.next_at() <= until:
            self.step()
            if stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False

    def run_some(self, until: float, count: int) -> bool:
        """As `run`, but at most to the end of the moment in which ``count`` calls were made; whether it is ``until``.

        Faster than `step` by `step`.
        """
        end = self.steps + count
        while (now := self.next_at()) <= until:
            if self.steps >= end:
                return False
            self.now = now
            calls, made = self._calls[now], self._made
            self.steps -= made
            while made < len(calls):
                call, args = calls[made]
                self._made = made = made + 1
                call(*args)
            self.steps += made
        self.now = max(self.now, until)
        return True
