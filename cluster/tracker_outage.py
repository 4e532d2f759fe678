"""One of several trackers of a run is killed in the middle of it, and started again later."""

from __future__ import annotations

from cluster.local import LocalCluster, LocalTracker
from service.units import format_seconds

KILL_PART = 0.3
"""The part of all copies at which it dies."""
AWAY_SECONDS = 4.0
"""How long it is away: longer than anybody waits for one answer."""


class TrackerOutage:
    """The first tracker of ``cluster``, in a run that began at ``began_at``."""

    def __init__(self, cluster: LocalCluster, began_at: float) -> None:
        self._tracker: LocalTracker = cluster.trackers[0]
        self._others = len(cluster.trackers) - 1
        self._began_at = began_at
        self._killed_at: float | None = None
        self._started_at: float | None = None

    def step(self, part: float, now: float) -> None:
        """``part`` of all copies is there."""
        if self._killed_at is None and part >= KILL_PART:
            self._killed_at = now
            self._tracker.kill()
        elif self._killed_at is not None and self._started_at is None and now - self._killed_at >= AWAY_SECONDS:
            self._start(now)

    def end(self, now: float) -> None:
        """The run is over; the tracker is back when this returns."""
        if self._killed_at is not None:
            if self._started_at is None:
                self._start(now)
            self._tracker.await_ready()

    def note(self, wall_s: float, before_s: float) -> str:
        """What happened, for a run that took ``wall_s``, and ``before_s`` without that."""
        if self._killed_at is None:
            return "it was over before a tracker could be killed; give it more with --size"
        left = "the other one went on" if self._others == 1 else f"{self._others} others went on"
        killed = f"one tracker was killed after {format_seconds(self._killed_at - self._began_at)}, and {left}"
        return f"{killed}; it took {wall_s / before_s:.2f} times as long as without ({format_seconds(before_s)})"

    def _start(self, now: float) -> None:
        self._started_at = now
        self._tracker.begin()
