"""One look at all members of the network: what is under way, added up. Pure.

Takes time by the number of members, not of contents: each tells of a few downloads.
"""

from __future__ import annotations

from broker.registry import Member, Registry
from broker.web.rows import PeerState, Totals
from protocol.messages import DownloadState
from protocol.standings import open_state, percent_of, seconds_left

ENDED = ("failed", "done")
NO_DOWNLOAD = DownloadState("", "done")
"""In place of one where there is none."""
URGENCY: tuple[PeerState, ...] = ("failed", "waits", "fetching", "checking", "verifying", "idle")
"""Which download of a peer says most about it, and which peers come first where not all are shown."""


class Activity:
    """Downloads of one content, added up."""

    __slots__ = ("done", "failed", "rate", "running", "slowest")

    def __init__(self) -> None:
        self.running = 0
        self.failed = 0
        self.rate = 0
        self.done = 0
        """Verified bytes of the running ones."""
        self.slowest: float | None = None
        """Seconds left of the one that takes longest, as far as known."""

    def add(self, download: DownloadState) -> None:
        if download.state in ENDED:
            self.failed += download.state == "failed"
            return
        self.running += 1
        self.rate += download.rate
        self.done += download.done
        left = seconds_left(download)
        if left is not None:
            self.slowest = max(left, self.slowest or 0.0)


NO_ACTIVITY = Activity()


class Survey:
    """``busy`` are the members that tell of downloads; ``trackers`` how many name each other tracker, and how many of
    these are no members of it."""

    def __init__(self, registry: Registry) -> None:
        self.busy: list[Member] = []
        self.trackers: dict[str, tuple[int, int]] = {}
        self.contents: dict[str, Activity] = {}
        entries = uploads = 0
        for member in registry.members.values():
            entries += member.weight
            uploads += member.load
            for other in member.others:
                named, missed = self.trackers.get(other.endpoint, (0, 0))
                self.trackers[other.endpoint] = named + 1, missed + (not other.joined)
            if not member.downloads:
                continue
            self.busy.append(member)
            for download in member.downloads:
                activity = self.contents.get(download.digest)
                if activity is None:
                    activity = self.contents[download.digest] = Activity()
                activity.add(download)
        active = self.contents.values()
        self.totals = Totals(
            peers=len(registry.members),
            contents=len(registry.swarms),
            entries=entries,
            downloads=sum(one.running for one in active),
            failed=sum(one.failed for one in active),
            rate=sum(one.rate for one in active),
            uploads=uploads,
            orders=sum(map(len, registry.orders.values())),
        )


def percent_of_all(have: int, wanted: int, done: int, length: int) -> int | None:
    """Whole percent of what ``wanted`` peers want, ``length`` bytes each, which ``have`` of them have; together they
    have ``done`` bytes. None: there are none."""
    if not wanted:
        return None
    return 100 if have == wanted else percent_of(done, wanted * length) or 0


def total_rate(registry: Registry) -> int:
    """Bytes a second of all downloads together: asked for all the time, and eight times as quick as a `Survey`."""
    return sum(
        download.rate
        for member in registry.members.values()
        if member.downloads
        for download in member.downloads
        if download.state not in ENDED
    )


def main_download(member: Member) -> tuple[PeerState, DownloadState]:
    """Of the downloads of ``member`` the one that says most about it, and what; `NO_DOWNLOAD` if all are done."""
    found = [(URGENCY.index(open_state(one)), one) for one in member.downloads if one.state != "done"]
    running = [one for one in found if one[1].state not in ENDED]
    urgency, download = min(running or found, key=lambda one: one[0], default=(URGENCY.index("idle"), NO_DOWNLOAD))
    return URGENCY[urgency], download
