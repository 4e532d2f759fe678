"""When the next heartbeat to a tracker is due, and what it says (PROTOCOL.md, section 4.2). Pure.

The figures have one home for all trackers; what each of them was told of downloads and orders is its `Heartbeats`'.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from protocol.limits import HEARTBEAT_SECONDS, TRACKER_TOLD_BYTES_MAX
from protocol.messages import DownloadState, Heartbeat, Order, OtherTracker

RECONNECT_JITTER_SECONDS = 1.0
NEWS_SECONDS, NEWS_BYTES = 2.0, 30_000
"""While downloads go on, heartbeats come this often, or once for so many bytes that arrive if that is rarer: over
uplinks of 1.6 KB/s they would delay the pieces. When something is decided they come sooner..."""
HASTE_SECONDS = 1.0
"""...and this long after the last one when people wait for what has changed."""
AWAITED_SECONDS = 0.3
"""A new member sends its orders, and whether it accepts any, within this time."""
HEARTBEAT_SECONDS_MIN = 0.05
"""Minimum interval, however often a tracker asks for heartbeats."""


class Figures:
    """What this peer tells every tracker of itself. ``downloads`` returns what to report about downloads at a given
    time, ``trackers`` which trackers it has, by endpoint, and whether it is a member of each."""

    def __init__(
        self,
        downloads: Callable[[float], list[DownloadState]] = lambda _now: [],
        trackers: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        self.downloads, self.trackers = downloads, trackers
        self.load = 0
        self.free: int | None = None
        """Free bytes for orders; None: orders are not accepted."""
        self.rate = 0
        """Of the last download that was long enough to measure, bytes/s; 0: there was none."""
        self.orders: list[Order] = []
        """Orders that this peer gives."""


class Heartbeats:
    """To the tracker at the endpoint ``tracker``. ``due`` is None while this peer is not its member."""

    def __init__(self, tracker: str, figures: Figures, rng: random.Random) -> None:
        self.due: float | None = None
        self._tracker, self._figures, self._rng = tracker, figures, rng
        self._seconds = HEARTBEAT_SECONDS
        self._sent_at = 0.0
        """When the last one was first sent."""
        self._told_downloads: list[DownloadState] | None = None
        self._told_orders: list[Order] | None = None
        """Orders and downloads as the registrar last acknowledged them; None: it may have older ones."""

    def begin(self, seconds: float, now: float) -> None:
        """A member from now on, of a tracker that asks for one every ``seconds`` (0: as usual)."""
        self._seconds = max(HEARTBEAT_SECONDS_MIN, seconds or HEARTBEAT_SECONDS)
        awaited = bool(self._figures.orders) or self._figures.free is not None
        soon = min(AWAITED_SECONDS, self._seconds) if awaited else self._seconds
        self.due = now + soon * self._rng.uniform(0.2, 1.0)
        self._told_downloads = self._told_orders = None

    def hasten(self, now: float) -> None:
        """People wait for changes of downloads or orders."""
        if self.due is not None:
            self.due = min(self.due, max(now, self._sent_at + HASTE_SECONDS))

    def reconnected(self, now: float) -> None:
        """The tracker may have restarted."""
        if self.due is not None:
            self.due = min(self.due, now + self._rng.uniform(0, RECONNECT_JITTER_SECONDS))

    def next(self, number: int, peer: str, token: bytes, version: int, run: int, now: float) -> Heartbeat:
        """The one that is due, as request ``number`` of ``run``; the list has ``version``."""
        figures = self._figures
        downloads = figures.downloads(now)
        news = downloads if downloads != self._told_downloads else None
        rate = sum(one.rate for one in downloads) if news else 0
        seconds = min(max(NEWS_SECONDS, NEWS_BYTES / rate), self._seconds) if rate else self._seconds
        self._sent_at, self.due = now, now + seconds * self._rng.uniform(0.8, 1.0)
        orders = list(figures.orders) if figures.orders != self._told_orders else None
        others = tuple(
            OtherTracker(endpoint[:TRACKER_TOLD_BYTES_MAX], joined)
            for endpoint, joined in figures.trackers().items()
            if endpoint != self._tracker
        )
        return Heartbeat(
            number, peer, token, version, figures.load, run, news, figures.free, orders, figures.rate, others
        )

    def acknowledged(self, beat: Heartbeat) -> None:
        """The registrar has taken it."""
        self._told_downloads = beat.downloads if beat.downloads is not None else self._told_downloads
        self._told_orders = beat.orders if beat.orders is not None else self._told_orders
