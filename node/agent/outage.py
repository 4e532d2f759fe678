"""An outage of a server: since when, why, and what of it is logged: each problem once, and a reminder now and then.
Pure.
"""

from __future__ import annotations

REMIND_SECONDS = 300.0


class Outage:
    """``since`` is None while there is none, ``why`` in words. Attempts may alternate between two failures, every few
    seconds, all night."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.why = ""
        self._told: set[str] = set()
        self._told_at = 0.0

    def goes_on(self, why: str, since: float, now: float) -> bool:
        """There is one, at least ``since`` then. Whether the log is to be told of it now."""
        if self.since is None:
            self.since = since
        self.why = why
        if why in self._told and now - self._told_at < REMIND_SECONDS:
            return False
        self._told.add(why)
        self._told_at = now
        return True

    def end(self, now: float) -> float | None:
        """There was an answer. How long the outage lasted, None if there was none."""
        since, self.since, self.why = self.since, None, ""
        self._told.clear()
        return None if since is None else now - since
