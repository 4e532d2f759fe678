"""The state of an agent: the peer's identity, and the cores that each own a part. Pure.

`core` carries out what they ask of each other; `requests` and `status` query them for the command line.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from msgspec import Struct

from node.agent.audits import Audits
from node.agent.catalogue import Catalogue
from node.agent.children import Children, DownloadedTotals, UploadTotals
from node.agent.effects import Downloaded
from node.agent.follows import Follows
from node.agent.gets import Gets
from node.agent.heartbeats import Figures
from node.agent.jobs import JobBook, reported
from node.agent.library import LibraryItem
from node.agent.members import Members
from node.agent.mends import Mends
from node.agent.orders import Orders
from node.agent.quota import Quota
from node.agent.shares import Shares
from node.agent.told_downloads import LastRate, told_downloads
from node.agent.tracker import Who
from node.agent.trackers import Trackers
from node.api_messages import Following
from node.disk.share_options import AS_USUAL, ShareOptions
from node.rate_limit import UNLIMITED, RateLimits
from node.schedule import HeldLimits, Override, Period
from node.trust import Trust
from protocol.discreet import Discreet
from protocol.messages import DownloadState


class AgentTerms(Discreet, Struct, frozen=True):
    """The peer's identity, its configuration, and ``instance`` and ``pid`` of this run of the agent. ``tokens``:
    by which each tracker, by its endpoint, knows this peer.

    ``foreground``: the peer runs for one command, and does only what it is asked for; everything else in its library
    stays as it is. ``asked`` are the paths that it was asked for before the agent restarted. ``limits`` and
    ``schedule`` are the configuration's, ``override`` what a person set before this run of the agent. ``quota`` is in
    bytes, ``downloaded`` what earlier runs downloaded. ``rollouts`` is the directory below which it carries out orders
    of others; empty: it accepts none. ``keyed``: it is in a network with keys. With written keys in ``signed_by`` it
    takes only what one of them has signed."""

    peer: str
    name: str
    tokens: dict[str, bytes]
    advertise: str
    algorithm: str
    share: tuple[str, ...]
    scan_seconds: float
    instance: int
    pid: int
    foreground: bool = False
    asked: frozenset[str] = frozenset()
    options: ShareOptions = AS_USUAL
    limits: RateLimits = UNLIMITED
    rollouts: str = ""
    keyed: bool = False
    ignore: tuple[str, ...] = ()
    follow: tuple[Following, ...] = ()
    schedule: tuple[Period, ...] = ()
    override: Override | None = None
    quota: int = 0
    downloaded: tuple[Downloaded, ...] = ()
    signed_by: tuple[str, ...] = ()


class AgentState:
    """Adding ``wall_offset`` turns the loop's monotonic seconds into `time.time`. ``away``: the last run was told to
    leave."""

    def __init__(
        self, who: AgentTerms, items: Iterable[LibraryItem], wall_offset: float, rng: random.Random, away: bool = False
    ) -> None:
        self.who = who
        self.wall_offset = wall_offset
        self.figures = Figures(self._told_downloads, lambda: self.trackers.joined_each)
        self.trackers = Trackers(who.tokens, Who(who.peer, who.name, away), self.figures, rng)
        self.members = Members(who.keyed)
        self.jobs = JobBook(wall_offset)
        parts: dict[bool, list[LibraryItem]] = {True: [], False: []}
        for item in items:
            parts[not who.foreground or item.path in who.asked].append(item)
        self.catalogue = Catalogue(parts[True], parts[False])
        self.uploads = UploadTotals()
        self.downloaded = DownloadedTotals()
        self.trust = Trust(who.signed_by)
        self.shares = Shares(
            self.catalogue, self.jobs, wall_offset, self.is_fetched, lambda path: self.quota.going == path, self.trust
        )
        self.quota = Quota(
            who.quota,
            self.catalogue,
            self.jobs,
            self.uploads,
            lambda: self.gets.digests,
            self.trackers.list.get,
            self.shares.is_announced,
            lambda: self.trackers.joined,
            self.is_followed,
            who.downloaded,
        )
        self.gets = Gets(self.catalogue, self.jobs, self.quota.has_room, self.trust)
        self.mends = Mends(self.catalogue, self.jobs, self._is_busy)
        self.audits = Audits(self.catalogue, self.jobs, self.shares, self.mends.repair)
        self.orders = Orders(who.peer, who.name, who.rollouts, self.gets, self.jobs, rng)
        self.follows = Follows(who.follow, self.catalogue, self.jobs, self.gets, rng, self.trust)
        self.children = Children()
        self.last_rate = LastRate()
        self.serving = not away
        self.limits = HeldLimits(who.limits, who.schedule, who.override)

    def _told_downloads(self, now: float) -> list[DownloadState]:
        silent = self.children.silent_seconds(now).get("downloader", 0.0)
        return told_downloads((reported(job, silent, now) for job in self.jobs.all()), now, self.orders.jobs)

    def _is_busy(self, item: LibraryItem) -> bool:
        return item.digest in self.gets.digests or self.shares.is_hashing(item.path)

    def is_followed(self, path: str) -> bool:
        return self.follows.covers(path)

    def is_fetched(self, digest: str) -> bool:
        """Whether a peer is fetching it from this one."""
        return self.uploads.of(digest)[1] > 0
