"""How fast a download is: bytes over the last seconds. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 3.0


class RateMeter:
    """Average rate over a sliding window, from a counter that only grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self, total_bytes: int, now: float) -> float:
        """Note that ``total_bytes`` had passed at ``now``; return bytes a second over the window."""
        self._samples.append((now, total_bytes))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        return (total_bytes - before) / (now - then) if now > then else 0.0
