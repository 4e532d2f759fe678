"""What the agent does for the command line: handles each request, and sends replies that come later. Pure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from node.agent.effects import CollectSeeds, KeepAway, KeepLimits, Note, ReplyApi, Stop, ToDownloader, ToPieceServer
from node.agent.lookups import AskFailed, OrdersFound, PeersFound, StandingsFound, TorrentsFound
from node.agent.state import AgentState
from node.agent.status import status_report
from node.agent.traces import Traces
from node.api_messages import (
    ApiAccepted,
    ApiAudit,
    ApiCancelRollout,
    ApiCollect,
    ApiCollected,
    ApiDone,
    ApiError,
    ApiFollow,
    ApiFollowed,
    ApiGet,
    ApiGetStatus,
    ApiJoin,
    ApiLeave,
    ApiLimit,
    ApiLimits,
    ApiList,
    ApiListReply,
    ApiOrders,
    ApiOrdersReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiRequest,
    ApiRollout,
    ApiShare,
    ApiStandings,
    ApiStandingsReply,
    ApiStop,
    ApiTrace,
)
from node.local_messages import Collect, Collected, Limit, Pause, Serving
from node.schedule import limits_text
from protocol.digest import advice_on, split_digest
from protocol.errors import NotFoundError, UsageError
from service.units import counted

PATIENCE_SECONDS = 6.0
"""How long a list may take; a person's command waits somewhat longer."""
UNREACHABLE_PATIENCE_SECONDS = 1.0
"""The same while the tracker is known not to answer; one of its lookups still may."""
UNACKNOWLEDGED = "left the network; the tracker did not acknowledge it and will forget this peer when the lease ends"
OVERTAKEN = "joining again before the tracker acknowledged that the peer left"
CANCELLED = "cancelled the download of {name}; what was fetched is being deleted"
WATCHED = "removed {name}; it is in a shared folder and will be shared again when it changes or the peer restarts"
LEFT = "{path} is not in use; it is already being deleted, or cannot be: the peer's log says why"
BUSY = "seeds: content that may need one of them is being hashed or looked up; try again later"
Effects = list[Any]


class AgentApi:
    """Uses the cores of ``agent``. Remembers which requests wait for the end of a leave."""

    def __init__(self, agent: AgentState) -> None:
        self._agent = agent
        self._leaving: list[tuple[bytes, ApiLeave | ApiStop]] = []
        self._collecting: dict[int, tuple[bytes, ApiCollect]] = {}
        """Requests that wait for the downloader, by the tag of the message to it."""
        self.traces = Traces(agent.jobs)
        self._last_tag = 0

    def handle(self, route: bytes, request: ApiRequest, now: float) -> Effects:
        """What a request causes; its reply is among it, or follows."""
        return _HANDLERS[type(request)](self, route, request, now)

    # --- what comes later --------------------------------------------------------------------------------

    def torrents_found(self, route: bytes, number: int, effect: TorrentsFound, now: float) -> Effects:
        wall = now + self._agent.wall_offset
        silent = self._agent.trackers.unheard(effect.without)
        return [ReplyApi(route, ApiListReply(number, effect.settling, effect.entries, wall, effect.since, silent))]

    def peers_found(self, route: bytes, number: int, effect: PeersFound) -> Effects:
        trackers = self._agent.trackers.all
        seen_by = {peer: [trackers[one].endpoint for one in numbers] for peer, numbers in effect.seen_by.items()}
        silent = self._agent.trackers.unheard(effect.without)
        return [ReplyApi(route, ApiPeersReply(number, effect.settling, effect.entries, silent, seen_by))]

    def orders_found(self, route: bytes, number: int, effect: OrdersFound) -> Effects:
        silent = self._agent.trackers.unheard(effect.without)
        return [ReplyApi(route, ApiOrdersReply(number, effect.settling, effect.entries, silent))]

    def standings_found(self, route: bytes, number: int, effect: StandingsFound) -> Effects:
        silent = self._agent.trackers.unheard(effect.without)
        return [ReplyApi(route, ApiStandingsReply(number, effect.settling, effect.entries, silent))]

    def ask_failed(self, route: bytes, number: int, effect: AskFailed) -> Effects:
        detail = effect.detail
        if effect.code == "network":
            detail = self._agent.trackers.unreached or f"{detail}; the peer keeps trying"
        return [ReplyApi(route, ApiError(number, effect.code, detail))]

    def departed(self, acknowledged: bool) -> Effects:
        """The peer has left the network: answer the requests for that, and continue a stop."""
        effects: Effects = []
        for route, request in self._leaving:
            effects.append(ReplyApi(route, ApiDone(request.id, "" if acknowledged else UNACKNOWLEDGED)))
        if any(isinstance(request, ApiStop) for _, request in self._leaving):
            effects.append(Stop())
        self._leaving.clear()
        return effects

    def collects(self) -> Effects:
        """What a new downloader is to find or to delete."""
        known = [*self._agent.gets.digests.values(), *self._agent.gets.interrupted.values()]
        used = [(download.digest, download.dest) for download in known]
        waiting = self._collecting.items()
        return [ToDownloader(Collect(tag, used, request.dry_run)) for tag, (_, request) in waiting]

    def collected(self, message: Collected) -> Effects:
        """The downloader has done its part; the seeds are this process's. In one turn with the question what is in
        use: nothing begins to use a seed meanwhile."""
        route, request = self._collecting.pop(message.tag, (b"", None))
        if request is None:
            return []
        if message.code:
            return [ReplyApi(route, ApiError(request.id, message.code, message.detail))]
        left = [LEFT.format(path=unused.path) for unused in message.left]
        agent = self._agent
        if agent.shares.busy or agent.gets.resolving:
            return [ReplyApi(route, ApiCollected(request.id, message.removed, [*left, BUSY]))]
        items = [*agent.catalogue.known_items(), *agent.catalogue.earlier()]
        used = {
            split_digest(digest)[1].hex() for digest in [*(item.manifest for item in items), *agent.gets.manifests()]
        }
        used.update(PurePosixPath(path).stem for path in message.seeds)
        mended = [*agent.mends.digests, *(item.digest for item in items if item.state)]  # or a killed mend was of them
        used.update(split_digest(digest)[1].hex() for digest in mended)
        return [CollectSeeds(route, request, frozenset(used), message.removed, left)]

    # --- requests ----------------------------------------------------------------------------------------

    def _share(self, route: bytes, request: ApiShare, now: float) -> Effects:
        job, wishes = self._agent.shares.request(
            request.path, request.algorithm, now, request.options, request.signature
        )
        claimed = self._agent.quota.claimed(request.path)
        return [ReplyApi(route, ApiAccepted(request.id, job.job)), *wishes, *claimed]

    def _get(self, route: bytes, request: ApiGet, now: float) -> Effects:
        job, wishes = self._agent.gets.request(request, now, route)
        return [ReplyApi(route, ApiAccepted(request.id, job.job)), *wishes]

    def _follow(self, route: bytes, request: ApiFollow, now: float) -> Effects:
        jobs, wishes = self._agent.follows.request(request.what, now)
        return [*wishes, ReplyApi(route, ApiFollowed(request.id, jobs))]

    def _list(self, route: bytes, request: ApiList, now: float) -> Effects:
        tag, questions = ("list", route, request.id), self._agent.trackers.questions
        patience = self._patience()
        return list(questions.torrents(tag, request.pattern, now, exact=request.exact, patience=patience))

    def _peers(self, route: bytes, request: ApiPeers, now: float) -> Effects:
        return list(self._agent.trackers.questions.peers(("peers", route, request.id), now, self._patience()))

    def _standings(self, route: bytes, request: ApiStandings, now: float) -> Effects:
        tag = ("standings", route, request.id)
        return list(self._agent.trackers.questions.standings(tag, request.digest, now, self._patience()))

    def _rollout(self, route: bytes, request: ApiRollout, _now: float) -> Effects:
        try:
            return list(self._agent.orders.give(request, route))
        except UsageError as error:
            return [ReplyApi(route, ApiError(request.id, error.code, str(error)))]

    def _cancel_rollout(self, route: bytes, request: ApiCancelRollout, _now: float) -> Effects:
        try:
            return list(self._agent.orders.cancel(request.name, route, request.id))
        except NotFoundError as error:
            return [ReplyApi(route, ApiError(request.id, error.code, str(error)))]

    def _orders(self, route: bytes, request: ApiOrders, now: float) -> Effects:
        tag = ("rollouts", route, request.id)
        return list(self._agent.trackers.questions.orders(tag, now, self._patience()))

    def _remove(self, route: bytes, request: ApiRemove, now: float) -> Effects:
        agent = self._agent
        cancelled = agent.gets.cancel(request.name, now)
        if cancelled is not None:
            return [*cancelled, ReplyApi(route, ApiDone(request.id, CANCELLED.format(name=request.name)))]
        paths = agent.shares.called(request.name, request.path)
        if not paths:
            what = f"this peer neither shares nor downloads {request.name}{advice_on(request.name)}"
            return [ReplyApi(route, ApiError(request.id, "not_found", what))]
        items = {path: agent.catalogue.known(path) for path in paths}
        if len({path if item is None else item.digest for path, item in items.items()}) > 1:
            shown = "; ".join(path if item is None else f"{item.digest} {path}" for path, item in items.items())
            what = f"{len(paths)} items are called {request.name}; remove one by its digest or path: {shown}"
            return [ReplyApi(route, ApiError(request.id, "usage", what))]
        wishes = [wish for path in paths for wish in agent.shares.gone(path, "removed on request", now)]
        watched = any(item is not None and item.origin == "folder" for item in items.values())
        detail = WATCHED.format(name=request.name) if watched else ""
        return [*wishes, ReplyApi(route, ApiDone(request.id, detail))]

    def _collect(self, route: bytes, request: ApiCollect, _now: float) -> Effects:
        self._last_tag += 1
        self._collecting[self._last_tag] = (route, request)
        return self.collects()[-1:]

    def _trace(self, route: bytes, request: ApiTrace, _now: float) -> Effects:
        return [self.traces.request(route, request)]

    def _audit(self, route: bytes, request: ApiAudit, now: float) -> Effects:
        if request.stop:
            count, wishes = self._agent.audits.stop(now)
            what = f"stopped {counted(count, 'audit')}" if count else "no audit was under way"
            return [*wishes, ReplyApi(route, ApiDone(request.id, what))]
        job, wishes = self._agent.audits.request(request, now)
        if job is None:
            what = f"this peer does not share {request.name}{advice_on(request.name)}"
            return [ReplyApi(route, ApiError(request.id, "not_found", what))]
        return [*wishes, ReplyApi(route, ApiAccepted(request.id, job.job))]

    def _leave(self, route: bytes, request: ApiLeave | ApiStop, now: float) -> Effects:
        self._leaving.append((route, request))
        self._agent.serving = False
        quiet = [KeepAway(isinstance(request, ApiLeave)), ToPieceServer(Serving(False)), ToDownloader(Pause(True))]
        return [*quiet, *self._agent.trackers.each(lambda one: one.membership.leave(now))]

    def _join(self, route: bytes, request: ApiJoin, now: float) -> Effects:
        if any(isinstance(waiting, ApiStop) for _, waiting in self._leaving):
            return [ReplyApi(route, ApiError(request.id, "usage", "the peer is stopping"))]
        overtaken = [ReplyApi(waiter, ApiDone(waiting.id, OVERTAKEN)) for waiter, waiting in self._leaving]
        self._leaving.clear()
        self._agent.serving = True
        awake = [*overtaken, KeepAway(False), ToPieceServer(Serving(True)), ToDownloader(Pause(False))]
        joined = self._agent.trackers.each(lambda one: one.membership.join(now))
        return [*awake, *joined, ReplyApi(route, ApiDone(request.id))]

    def _limit(self, route: bytes, request: ApiLimit, _now: float) -> Effects:
        limits, effects = self._agent.limits, list[Any]()
        if (request.upload_rate, request.download_rate) != (None, None):
            limits.set(request.upload_rate, request.download_rate)
            effects = [KeepLimits(limits.override), *self._limits_told()]
        return [*effects, ReplyApi(route, ApiLimits(request.id, limits.now, limits.why))]

    def told_time(self, minute: int, now: float) -> Effects:
        """It is ``minute`` of the local week."""
        limits = self._agent.limits
        override = limits.override
        changed = limits.tell_time(minute, now)
        kept = [KeepLimits(None)] if limits.override is not override else []
        if not changed:
            return kept
        return [*kept, Note("info", f"limits: {limits_text(limits.now, limits.why)}"), *self._limits_told()]

    def _limits_told(self) -> Effects:
        limits = self._agent.limits.now
        return [ToPieceServer(Limit(limits.upload_rate)), ToDownloader(Limit(limits.download_rate))]

    def _status(self, route: bytes, request: ApiGetStatus, now: float) -> Effects:
        self._agent.shares.say_who_waits()
        return [ReplyApi(route, status_report(self._agent, request, now))]

    def _patience(self) -> float:
        silent = self._agent.trackers.network in ("unreachable", "refused")
        return UNREACHABLE_PATIENCE_SECONDS if silent else PATIENCE_SECONDS


_HANDLERS: dict[type, Callable[[AgentApi, bytes, Any, float], Effects]] = {
    ApiShare: AgentApi._share,
    ApiGet: AgentApi._get,
    ApiFollow: AgentApi._follow,
    ApiList: AgentApi._list,
    ApiPeers: AgentApi._peers,
    ApiStandings: AgentApi._standings,
    ApiRollout: AgentApi._rollout,
    ApiCancelRollout: AgentApi._cancel_rollout,
    ApiOrders: AgentApi._orders,
    ApiRemove: AgentApi._remove,
    ApiCollect: AgentApi._collect,
    ApiAudit: AgentApi._audit,
    ApiLeave: AgentApi._leave,
    ApiStop: AgentApi._leave,
    ApiJoin: AgentApi._join,
    ApiLimit: AgentApi._limit,
    ApiTrace: AgentApi._trace,
    ApiGetStatus: AgentApi._status,
}
