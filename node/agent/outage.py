"""What is logged while a server does not answer: each problem once, and a reminder now and then. Pure."""

from __future__ import annotations

REMIND_SECONDS = 300.0


class Outage:
    """Problems of one outage: attempts may alternate between two failures, every few seconds, all night."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._told_at = 0.0

    def is_news(self, problem: str, now: float) -> bool:
        """Whether the log is to be told of ``problem`` now."""
        if problem in self._told and now - self._told_at < REMIND_SECONDS:
            return False
        self._told.add(problem)
        self._told_at = now
        return True

    def end(self) -> None:
        """There was an answer."""
        self._told.clear()
