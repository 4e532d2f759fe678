"""The page's replica of the registry, and answers read from it. Pure.

Follows the registrar as a lookup does (`broker.replica`), but answers a page's questions instead of peers'. Each answer
is bounded, in rows and in work.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from typing import get_args

from broker.effects import LookupEffect
from broker.link_messages import Changes, FromRegistrar, LinkBeat
from broker.replica import Replica
from broker.web.contents import LargestContents, contents_to_show
from broker.web.flows import flows
from broker.web.history import History
from broker.web.pages import Pages
from broker.web.peers import failures, peers_to_show
from broker.web.questions import (
    NOT_HEARD,
    STARTING,
    Figures,
    GetContent,
    GetContents,
    GetFigures,
    GetOverview,
    GetPeer,
    GetPeers,
    GetRollouts,
    Question,
    Refusal,
)
from broker.web.rollouts import orders_after, rollout_row
from broker.web.rows import (
    ContentDetail,
    ContentPage,
    OtherTrackerRow,
    Overview,
    PeerDetail,
    PeerPage,
    RolloutPage,
    TrackerRow,
    TrackerState,
)
from broker.web.survey import Survey, total_rate
from protocol.limits import LINK_SILENT_SECONDS, TRACKERS_COUNT_MAX
from protocol.messages import DownloadPhase

CONTENTS_SHOWN_COUNT = 40
PEERS_SHOWN_COUNT = 60
ROLLOUTS_SHOWN_COUNT = 8
FAILURES_SHOWN_COUNT = 50
RATE_SECONDS = 10.0
"""Over which requests a second are measured."""

Answer = Overview | ContentPage | ContentDetail | PeerPage | PeerDetail | RolloutPage | Figures | Refusal


class PageCore:
    """``wall_offset`` added to monotonic seconds gives seconds since 1970."""

    def __init__(self, rng: random.Random, lookups: int, wall_offset: float, now: float) -> None:
        self.replica = Replica(rng, answers=False)
        self.history = History(now)
        self._lookups = lookups
        self._wall_offset = wall_offset
        self._started_at = now
        self._heard_at: float | None = None
        self._beat: LinkBeat | None = None
        self._counted: tuple[float, int] = (now, 0)
        self._request_rate = 0.0
        self._largest = LargestContents()
        self._pages: Pages | None = None

    # --- the link ----------------------------------------------------------------------------------------

    def connected(self, now: float) -> list[LookupEffect]:
        """The link has a (new) connection."""
        return self.replica.connected(now)

    def handle_link(self, message: FromRegistrar, now: float) -> list[LookupEffect]:
        """A message from the registrar."""
        registry = self.replica.registry
        self._heard_at = now
        if isinstance(message, Changes) and registry is not None:
            self.history.hear(message.events, registry, now)
        elif isinstance(message, LinkBeat):
            self._hear_beat(message, now)
        effects = self.replica.handle(message, now)
        if self.replica.registry is not registry and self.replica.registry is not None:
            self._largest, self._pages = LargestContents(), Pages(self.replica.registry)
        return effects

    def next_deadline(self) -> float:
        """When `tick` is due."""
        due = self.replica.next_deadline()
        return self.history.sample_at if due is None else min(due, self.history.sample_at)

    def tick(self, now: float) -> list[LookupEffect]:
        """Remember the rate; ask a silent registrar again."""
        if now >= self.history.sample_at:
            registry = self.replica.registry
            self.history.sample(0 if registry is None else total_rate(registry), now)
        return self.replica.tick(now)

    def _hear_beat(self, beat: LinkBeat, now: float) -> None:
        self._beat = beat
        at, before = self._counted
        count = sum(number for _, number in beat.requests)
        if count < before:  # the registrar was restarted
            self._counted = (now, count)
        elif now - at >= RATE_SECONDS:
            self._request_rate = (count - before) / (now - at)
            self._counted = (now, count)

    # --- answers -----------------------------------------------------------------------------------------

    def answer(self, question: Question, now: float) -> Answer:
        """The answer to ``question``."""
        if isinstance(question, GetFigures):
            return self._figures(now)
        if self._pages is None:
            return STARTING
        match question:
            case GetOverview():
                return self._overview(self._pages, now)
            case GetContents():
                return self._pages.contents(question)
            case GetContent():
                return self._pages.content(question)
            case GetPeers():
                return self._pages.peers(question)
            case GetPeer():
                return self._pages.peer(question)
            case GetRollouts():
                return self._pages.rollouts(question)

    def _overview(self, pages: Pages, now: float) -> Overview:
        registry = pages.registry
        survey = Survey(registry)
        largest = self._largest.look(registry, (self.replica.epoch, self.replica.seq))
        orders = orders_after(registry, "", ROLLOUTS_SHOWN_COUNT)
        return Overview(
            time=round(self._wall_offset + now, 3),
            trackers=[self._tracker(now)],
            other_trackers=_most_named(survey.trackers),
            totals=survey.totals,
            rates=self.history.rates(),
            contents=list(contents_to_show(registry, survey.contents, largest, CONTENTS_SHOWN_COUNT)),
            peers=peers_to_show(registry, survey.busy, PEERS_SHOWN_COUNT),
            flows=flows(survey.busy, registry),
            rollouts=[rollout_row(giver, order, registry) for giver, order in orders],
            failures=failures(registry, survey.busy, FAILURES_SHOWN_COUNT),
            gone=self.history.gone(now),
        )

    def _tracker(self, now: float) -> TrackerRow:
        beat = self._beat or LinkBeat(0, 0)
        started = self.replica.epoch / 1_000
        silent = now - (self._started_at if self._heard_at is None else self._heard_at)
        state, reason = self._state(silent, now)
        return TrackerRow(
            state=state,
            reason=reason,
            started=started,
            uptime_seconds=round(self._wall_offset + now - started) if started else 0.0,
            silent_seconds=round(silent, 1),
            changes=self.replica.seq,
            lookups=self._lookups,
            lookups_following=beat.following,
            requests=dict(beat.requests),
            requests_per_second=round(self._request_rate, 1),
        )

    def _state(self, silent: float, now: float) -> tuple[TrackerState, str]:
        """Of the tracker, and the reason."""
        if self.replica.registry is None or self._beat is None:
            return "starting", NOT_HEARD
        if silent > LINK_SILENT_SECONDS:
            return "silent", f"the registrar has been silent for {silent:.0f} s; figures are as old"
        following = self._beat.following
        if following < self._lookups:
            return "lookups missing", f"{following} of {self._lookups} lookups answer: searches may be slow or fail"
        if self.replica.settling(now):
            return "settling", "it has just started: peers that are still to join again are missing"
        return "ok", ""

    def _figures(self, now: float) -> Figures:
        registry = self.replica.registry
        downloads = dict.fromkeys(get_args(DownloadPhase), 0)
        holdings = dict.fromkeys(("whole", "partial", "requesting"), 0)
        for member in registry.members.values() if registry is not None else ():
            holdings["whole"] += member.whole
            holdings["partial"] += member.partial
            holdings["requesting"] += member.requesting
            for download in member.downloads:
                downloads[download.state] += 1
        totals = None if registry is None else Survey(registry).totals
        history = self.history
        without_seeder = 0 if registry is None else registry.without_seeder
        gone = history.lost_count, history.left_count
        return Figures(self._tracker(now), totals, downloads, holdings, *gone, without_seeder)


def _most_named(trackers: Mapping[str, tuple[int, int]]) -> list[OtherTrackerRow]:
    """The first are those that most peers name: anybody can make up more."""
    most = heapq.nsmallest(TRACKERS_COUNT_MAX, trackers.items(), key=lambda one: (-one[1][0], one[0]))
    return [OtherTrackerRow(endpoint, named, missed) for endpoint, (named, missed) in most]
