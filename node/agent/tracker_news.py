"""What follows from what trackers say: who is told of answers, acknowledgements, departures, and hints of the roster.
Pure.

Events of one tracker come as `FromTracker`, the answers of all together as they are. Each handler returns wishes for
the agent's cores and its shell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent import roster as ro
from node.agent.effects import Note, Subscribe, ToDownloader
from node.agent.requests import AgentApi
from node.agent.state import AgentState
from node.agent.tracker import FromTracker, Tracker
from node.local_messages import SourceLost, Sources

REFRESH_SPREAD_SECONDS = 1.0
"""Spreads the requests of peers that all missed the same event."""
SENT = mb.Send | lk.Dial | lk.Ask | Subscribe
"""What the shell does at the tracker that it came from."""


class TrackerNews:
    """For the cores of ``agent``, and for the requests of people that ``api`` has."""

    def __init__(self, agent: AgentState, api: AgentApi) -> None:
        self._agent, self._api = agent, api
        self._unacknowledged = False

    def of_one(self, told: FromTracker, now: float) -> list[Any] | None:
        """What follows from an effect of one tracker's cores; None: the shell carries it out."""
        handler = _OF_ONE.get(type(told.effect))
        if handler is not None:
            return handler(self, self._agent.trackers.all[told.tracker], told.effect, now)
        return None if isinstance(told.effect, SENT) else [told.effect]

    # --- membership --------------------------------------------------------------------------------------

    def _welcomed(self, tracker: Tracker, effect: mb.Welcomed, now: float) -> list[Any]:
        agent = self._agent
        agent.orders.ask(now)
        dialled = tracker.welcomed(effect, now)
        agent.follows.refresh(now, REFRESH_SPREAD_SECONDS)
        members = agent.members.welcomed(now)
        return [*dialled, *members, *tracker.of(tracker.lookups.refresh_all(now, REFRESH_SPREAD_SECONDS))]

    def _announced(self, _tracker: Tracker, effect: mb.Announced, now: float) -> list[Any]:
        agent, listed = self._agent, self._agent.trackers.list
        agent.shares.announced(effect.digests, now)
        asked = agent.quota.announced(
            [digest for digest in effect.digests if not agent.trackers.may_be_listed(digest, now)]
        )
        agent.follows.withdrawn([digest for digest in effect.digests if listed.get(digest) is None], now)
        return [*agent.shares.tick(now), *asked]

    def _dated(self, _tracker: Tracker, effect: mb.Dated, now: float) -> list[Any]:
        """Timestamps of this peer's own announcements, which the roster does not report to it."""
        wishes: list[Any] = [*self._agent.catalogue.announced(effect.names), *self._agent.trackers.tell(now)]
        for (digest, _, _), moment in effect.names.items():
            wishes += self._agent.follows.hinted(digest, moment, now)
        return wishes

    def _departed(self, tracker: Tracker, effect: mb.Departed, _now: float) -> list[Any]:
        self._unacknowledged |= not effect.acknowledged
        how = (
            "" if effect.acknowledged else "; it did not acknowledge that and will forget this peer when the lease ends"
        )
        left = Note("info", f"left the network of {tracker.endpoint}{how}")
        if not self._agent.trackers.has_left:
            return [left]
        acknowledged, self._unacknowledged = not self._unacknowledged, False
        self._agent.shares.forgotten()
        return [left, *self._api.departed(acknowledged)]

    # --- answers -----------------------------------------------------------------------------------------

    def _answered(self, tracker: Tracker, effect: lk.Found | lk.AskFailed, now: float) -> list[Any]:
        return list(self._agent.trackers.questions.answered(tracker, effect, now))

    def torrents_found(self, effect: lk.TorrentsFound, now: float) -> list[Any]:
        agent = self._agent
        kind, *rest = _tag(effect)
        if kind == "share":
            agent.shares.torrents_found(rest[0], effect.entries, now)
            return []
        sure = agent.trackers.joined and not effect.settling
        if kind == "follow":
            return list(agent.follows.found(rest[0], rest[1], effect.entries, sure, now))
        if kind == "get":
            unheard = agent.trackers.unheard(effect.without)
            return list(agent.gets.torrents_found(rest[0], effect.entries, sure, now, effect.since, unheard))
        if kind == "quota":
            return agent.quota.torrents_found(rest[0], effect.entries, not effect.settling, now)
        return self._api.torrents_found(rest[0], rest[1], effect, now)

    def peers_found(self, effect: lk.PeersFound, now: float) -> list[Any]:
        kind, *rest = _tag(effect)
        if kind == "members":
            return list(self._agent.members.found(effect.entries, effect.settling, now))
        return self._api.peers_found(rest[0], rest[1], effect)

    def orders_found(self, effect: lk.OrdersFound, now: float) -> list[Any]:
        kind, *rest = _tag(effect)
        if kind == "orders":
            return list(self._agent.orders.found(effect.entries, now))
        return self._api.orders_found(rest[0], rest[1], effect)

    def standings_found(self, effect: lk.StandingsFound, _now: float) -> list[Any]:
        _, route, number = _tag(effect)
        return self._api.standings_found(route, number, effect)

    def ask_failed(self, effect: lk.AskFailed, now: float) -> list[Any]:
        agent = self._agent
        kind, *rest = _tag(effect)
        if kind == "share":
            agent.shares.ask_failed(rest[0], now)
        elif kind == "get" and effect.code == "network":
            agent.gets.ask_failed(rest[0], now)
        elif kind == "get":
            agent.gets.failed(rest[0], effect.code, effect.detail, now)
        elif kind == "orders":
            agent.orders.ask_failed(now)
        elif kind == "members":
            agent.members.failed(now)
        elif kind == "follow":
            agent.follows.ask_failed(rest[0], rest[1], now)
        elif kind == "quota":
            return agent.quota.ask_failed(effect.detail, now)
        else:
            return self._api.ask_failed(rest[0], rest[1], effect)
        return []

    def _seeders_found(self, tracker: Tracker, effect: lk.SeedersFound, _now: float) -> list[Any]:
        return [ToDownloader(self._agent.trackers.seeders.found(tracker, effect))]

    # --- hints -------------------------------------------------------------------------------------------

    def _orders_news(self, _tracker: Tracker, _hint: ro.OrdersNews, now: float) -> list[Any]:
        self._agent.orders.ask(now)
        return []

    def _heard(self, _tracker: Tracker, hint: ro.Heard, now: float) -> list[Any]:
        return list(self._agent.follows.hinted(hint.digest, hint.announced, now))

    def _refresh_all(self, tracker: Tracker, _hint: ro.RefreshAll, now: float) -> list[Any]:
        self._agent.orders.ask(now)
        self._agent.follows.refresh(now, REFRESH_SPREAD_SECONDS)
        members = self._agent.members.missed(now, REFRESH_SPREAD_SECONDS)
        return [*members, *tracker.of(tracker.lookups.refresh_all(now, REFRESH_SPREAD_SECONDS))]

    def _member_up(self, _tracker: Tracker, hint: ro.MemberUp, _now: float) -> list[Any]:
        return list(self._agent.members.joined(hint.peer, hint.key))

    def _source_up(self, tracker: Tracker, hint: ro.SourceUp, _now: float) -> list[Any]:
        return [
            ToDownloader(Sources(hint.digest, [self._agent.trackers.seeders.up(tracker, hint.digest, hint.seeder)]))
        ]

    def _receiver(self, tracker: Tracker, hint: ro.Receiver, _now: float) -> list[Any]:
        if not self._agent.trackers.seeders.gives_cells(tracker):
            return []
        return [ToDownloader(Sources(hint.digest, [], None, hint.cell if hint.own else None, hint.cell + 1))]

    def _source_down(self, tracker: Tracker, hint: ro.SourceDown, now: float) -> list[Any]:
        agent = self._agent
        others = any(one is not tracker and not one.is_silent for one in agent.trackers.all)
        members: list[Any] = []
        if not hint.digest:  # it may be a member of another one still
            members = list(agent.members.missed(now, 0.0) if others else agent.members.left(hint.peer))
        lost = agent.trackers.seeders.down(tracker, hint.peer, hint.digest)
        fetched = agent.gets.digests or agent.mends.digests
        return [*members, *([ToDownloader(SourceLost(hint.peer, hint.digest))] if lost and fetched else [])]


def _tag(effect: lk.Found | lk.AskFailed) -> tuple[Any, ...]:
    assert isinstance(effect.tag, tuple)
    return effect.tag


_OF_ONE: dict[type, Callable[[TrackerNews, Tracker, Any, float], list[Any]]] = {
    mb.Welcomed: TrackerNews._welcomed,
    mb.Announced: TrackerNews._announced,
    mb.Dated: TrackerNews._dated,
    mb.Departed: TrackerNews._departed,
    lk.TorrentsFound: TrackerNews._answered,
    lk.PeersFound: TrackerNews._answered,
    lk.StandingsFound: TrackerNews._answered,
    lk.OrdersFound: TrackerNews._answered,
    lk.AskFailed: TrackerNews._answered,
    lk.SeedersFound: TrackerNews._seeders_found,
    ro.RefreshAll: TrackerNews._refresh_all,
    ro.MemberUp: TrackerNews._member_up,
    ro.OrdersNews: TrackerNews._orders_news,
    ro.Heard: TrackerNews._heard,
    ro.Receiver: TrackerNews._receiver,
    ro.SourceUp: TrackerNews._source_up,
    ro.SourceDown: TrackerNews._source_down,
}
"""What stays inside, of one tracker."""
OF_ALL: dict[type, Callable[[TrackerNews, Any, float], list[Any]]] = {
    lk.TorrentsFound: TrackerNews.torrents_found,
    lk.PeersFound: TrackerNews.peers_found,
    lk.StandingsFound: TrackerNews.standings_found,
    lk.OrdersFound: TrackerNews.orders_found,
    lk.AskFailed: TrackerNews.ask_failed,
}
"""Answers of all."""
