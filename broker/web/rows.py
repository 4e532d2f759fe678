"""What the JSON API says (docs/API.md): one struct for each of its objects. Pure.

Names and reasons are as peers gave them: any text. Whoever shows them escapes them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from protocol.standings import OrderState

PeerState = Literal["fetching", "checking", "verifying", "waits", "failed", "idle"]
Verdict = Literal["complete", "running", "incomplete", "nobody", "cancelled"]
TrackerState = Literal["ok", "starting", "settling", "silent", "lookups missing"]


class TrackerRow(Struct, frozen=True):
    """A tracker. ``state`` in a word, ``reason`` if it is not ok; times in seconds."""

    state: TrackerState
    reason: str
    started: float
    uptime_seconds: float
    silent_seconds: float
    changes: int
    lookups: int
    lookups_following: int
    requests: dict[str, int]
    requests_per_second: float


class OtherTrackerRow(Struct, frozen=True):
    """Another tracker, at an endpoint that ``named_by`` peers are configured with; ``missed_by`` of them are no members
    of it now."""

    endpoint: str
    named_by: int
    missed_by: int


class Totals(Struct, frozen=True):
    """Of the whole network. ``downloads`` are under way, and ``rate`` is what they add up to, in bytes a second."""

    peers: int
    contents: int
    entries: int
    downloads: int
    failed: int
    rate: int
    uploads: int
    orders: int


class Rates(Struct, frozen=True):
    """``rate`` of the totals, one value every so many seconds, the latest last."""

    every_seconds: float
    values: list[int]


class ContentRow(Struct, frozen=True):
    """A content. ``receivers`` are the peers that fetch it or have fetched it while the tracker ran, ``percent`` what
    these have of all they want; None: there are none."""

    digest: str
    name: str
    names: int
    length: int
    whole: int
    partial: int
    requesting: int
    receivers: int
    receivers_whole: int
    percent: int | None
    rate: int
    seconds_left: float | None
    failed: int


class PeerRow(Struct, frozen=True):
    """A peer. State, percent, rate and the rest are those of the download ``content`` if it has one, of several the one
    that needs attention most; ``rate`` of all of them. ``missed_trackers`` are those of its trackers of which it is no
    member now."""

    peer: str
    name: str
    endpoint: str
    state: PeerState
    content: str
    digest: str
    percent: int | None
    done: int
    length: int
    rate: int
    seconds_left: float | None
    sources: int
    reason: str
    downloads: int
    uploads: int
    whole: int
    partial: int
    requesting: int
    missed_trackers: list[str]


class DownloadRow(Struct, frozen=True):
    """A download of a peer, as its last heartbeat told of it. ``senders`` send most of it."""

    digest: str
    content: str
    state: str
    percent: int | None
    done: int
    length: int
    rate: int
    seconds_left: float | None
    sources: int
    reason: str
    senders: list[Sender]
    order: str


class Sender(Struct, frozen=True):
    """A peer that sends, and how many bytes a second; ``peer`` is the beginning of its id if it is not a member."""

    peer: str
    name: str
    rate: int


class Flows(Struct, frozen=True):
    """Who sends to whom: ``links`` are (sender, receiver, bytes a second), by their places in ``peers``, the fastest
    first. ``more``: links that are left out."""

    peers: list[tuple[str, str]]
    links: list[tuple[int, int, int]]
    more: int


class Problem(Struct, frozen=True):
    """A peer that has not what an order wants it to have, and why."""

    peer: str
    name: str
    state: OrderState
    percent: int | None
    reason: str


class RolloutRow(Struct, frozen=True):
    """An order. ``have`` of ``wanted`` peers have it; ``counts`` by state; ``problems`` are the first of those that
    failed, refuse or wait."""

    order: str
    digest: str
    name: str
    length: int
    giver: str
    giver_name: str
    directory: str
    pattern: str
    attempt: int
    verdict: Verdict
    have: int
    wanted: int
    percent: int | None
    rate: int
    seconds_left: float | None
    counts: dict[str, int]
    problems: list[Problem]


class Failure(Struct, frozen=True):
    """A download that failed lately, and why."""

    peer: str
    name: str
    digest: str
    content: str
    percent: int | None
    reason: str


class GoneRow(Struct, frozen=True):
    """A peer that left (or was ``lost``: it fell silent) so many seconds ago, and what it was doing."""

    peer: str
    name: str
    lost: bool
    seconds_ago: float
    state: PeerState
    percent: int | None
    content: str


class Overview(Struct, frozen=True):
    """All that the page shows at first. Lists are cut; the totals say how much there is."""

    time: float
    trackers: list[TrackerRow]
    other_trackers: list[OtherTrackerRow]
    totals: Totals
    rates: Rates
    contents: list[ContentRow]
    peers: list[PeerRow]
    flows: Flows
    rollouts: list[RolloutRow]
    failures: list[Failure]
    gone: list[GoneRow]


class ContentPage(Struct, frozen=True):
    """``next`` is where the next page begins; empty: there is none."""

    contents: list[ContentRow]
    next: str


class PeerPage(Struct, frozen=True):
    """``next`` is where the next page begins; empty: there is none."""

    peers: list[PeerRow]
    next: str


class StandingRow(Struct, frozen=True):
    """How a peer stands with one content."""

    peer: str
    name: str
    state: str
    percent: int | None
    rate: int
    seconds_left: float | None
    sources: int
    reason: str


class ContentDetail(Struct, frozen=True):
    """A content, its names, and the peers that have it, want it or failed to get it; ``next`` is the next page's."""

    content: ContentRow
    names: list[str]
    peers: list[StandingRow]
    next: str


class HeldContent(Struct, frozen=True):
    """A content that a peer has, has part of, or asks for."""

    digest: str
    name: str
    length: int
    holding: str


class PeerDetail(Struct, frozen=True):
    """A peer, its downloads, and what it lists; ``next`` is the next page's of the latter."""

    peer: PeerRow
    downloads: list[DownloadRow]
    contents: list[HeldContent]
    next: str


class RolloutPage(Struct, frozen=True):
    """``next`` is where the next page begins; empty: there is none."""

    rollouts: list[RolloutRow]
    next: str
