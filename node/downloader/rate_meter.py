"""How fast a download is: bytes over the last seconds. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 3.0


class RateMeter:
    """Average rate over a sliding window, from a counter that only grows: of bytes, or of seconds spent."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def rate(self, total: float, now: float) -> float:
        """Note that ``total`` had passed at ``now``; return how much a second over the window."""
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        return (total - before) / (now - then) if now > then else 0.0
