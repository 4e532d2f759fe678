"""How long each part of a run took."""

from __future__ import annotations

import time


class Stopwatch:
    """``seconds`` by part, in the order of the parts. The first one begins when it is made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def next(self, part: str) -> None:
        """``part`` has just ended, and the next one begins."""
        now = time.monotonic()
        self.seconds[part] = now - self._since
        self._since = now
