"""The agent without its sockets: takes every event, and returns what is to be done. Pure.

Joins the cores of `state`: `trackers`, and `catalogue`, `shares` and `gets` for content. Carries out what they ask of
each other; the rest is up to the shell (`process`). What trackers say goes to `tracker_news`, the command line's
requests to `requests`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from node.agent.effects import (
    Announce,
    FindOrders,
    FindTorrents,
    KeepOrders,
    Note,
    Outer,
    ReplyApi,
    ReportTransfer,
    RoomMade,
    ToDownloader,
    ToPieceServer,
    UnwantSources,
    WantSources,
    Withdraw,
)
from node.agent.folders import Listing
from node.agent.gets import Gets
from node.agent.library import KeptOrders, LibraryItem
from node.agent.members import FindMembers
from node.agent.mends import Mends
from node.agent.requests import AgentApi
from node.agent.shares_watch import SharesWatch
from node.agent.state import AgentState, AgentTerms
from node.agent.tracker import FromTracker
from node.agent.tracker_news import OF_ALL, TrackerNews
from node.api_messages import ApiError, ApiRequest
from node.disk.share_options import NOTHING, Skipped
from node.local_messages import (
    ChildToAgent,
    Collected,
    ContentChanged,
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Fetch,
    Hello,
    Limit,
    NeedSources,
    Pause,
    Traced,
    UploadReport,
)
from protocol.endpoints import with_port
from protocol.link import Link
from protocol.messages import LookupReply, Order, RegistrarReply, Roster

Effect = Outer | FromTracker
"""What the shell has to do."""


class _Timed(Protocol):
    """A core that does something by itself."""

    def tick(self, now: float) -> Sequence[object]: ...
    def next_deadline(self) -> float | None: ...


class AgentCore(AgentState):
    """For the arguments see `AgentState`."""

    def __init__(
        self, who: AgentTerms, items: Iterable[LibraryItem], wall_offset: float, rng: random.Random, away: bool = False
    ) -> None:
        super().__init__(who, items, wall_offset, rng, away)
        shared = (who.share, who.ignore, who.scan_seconds, who.algorithm, who.options)
        self._watch = SharesWatch(*shared, self.catalogue, self.shares, self.is_followed, self.mends.covers)
        self._timed: Sequence[_Timed] = (
            self.trackers,
            self.members,
            self.shares,
            self.gets,
            self.mends,
            self.orders,
            self.follows,
            self._watch,
            self.quota,
        )
        self._api = AgentApi(self)
        self._news = TrackerNews(self, self._api)
        self._changes_count = 0

    # --- the start ---------------------------------------------------------------------------------------

    def start(self, downloads: Iterable[Fetch], now: float, orders: KeptOrders | None = None) -> list[Effect]:
        """Begin with the contents of the library."""

        def goes_on(download: Fetch) -> bool:
            return not self.who.foreground and not self.follows.covers(download.dest)

        resumed = self.gets.resume(downloads, self.who.asked, goes_on, now)
        ordered = self.orders.start(orders or KeptOrders(), now)
        self.figures.orders = self.orders.given
        self.children.await_from(now)
        begun = [*self._watch.start(now), *self.catalogue.announcement(), *resumed, *ordered]
        return self.settle([*begun, *self.mends.start(now)], now)

    # --- tracker number `number` --------------------------------------------------------------------------

    def registrar_says(self, number: int, reply: RegistrarReply, now: float) -> list[Effect]:
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.membership.receive(reply, now)), now)

    def registrar_connected(self, number: int, host: str, now: float) -> list[Effect]:
        """There is a connection to the registrar, reached at address ``host``."""
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.membership.connected(host, now)), now)

    def registrar_lost(self, number: int, why: str, denied: bool, now: float) -> list[Effect]:
        """As `Membership.disconnected`."""
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.membership.disconnected(why, now, denied)), now)

    def lookup_says(self, number: int, reply: LookupReply, now: float) -> list[Effect]:
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.lookups.receive(reply, now)), now)

    def lookup_connected(self, number: int, now: float) -> list[Effect]:
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.lookups.connected(now)), now)

    def lookup_lost(self, number: int, why: str, now: float) -> list[Effect]:
        tracker = self.trackers.all[number]
        return self.settle(tracker.of(tracker.lookups.disconnected(why, now)), now)

    def roster_says(self, number: int, roster: Roster, now: float) -> list[Effect]:
        self.members.heard(now)
        tracker = self.trackers.all[number]
        return self.settle(
            tracker.of(tracker.follower.handle(roster, {**self.gets.digests, **self.mends.digests})), now
        )

    # --- the other two processes -------------------------------------------------------------------------

    def child_says(self, message: ChildToAgent, now: float) -> list[Effect]:
        if isinstance(message, Hello):
            return self._hello(message, now)
        wishes: list[Any] = []
        if isinstance(message, UploadReport):
            self.uploads.report(message, self.trackers.list.get)
            self.figures.load = self.uploads.sessions
            self.quota.served(message)
            wishes += self.catalogue.drop_earlier(lambda item: not self.is_fetched(item.digest))
        elif isinstance(message, ContentChanged):
            wishes += self.shares.doubted(message.root, message.digest, message.detail, now)
        elif isinstance(message, DownloadReport):
            self.figures.rate = self.last_rate.report(message, now) or self.figures.rate
            wishes += self._owner(message.digest).report(message)
        elif isinstance(message, DownloadStarted):
            wishes += self._owner(message.digest).started(message)
        elif isinstance(message, DownloadFinished):
            is_mended = message.digest in self.mends.digests
            wishes += self._owner(message.digest).finished(message, now)
            wishes += self.quota.mended(message.path) if is_mended else self.quota.finished(message)
            if self.catalogue.at(message.path) is not None:
                self.shares.replaced(message.path, now)
        elif isinstance(message, DownloadFailed):
            wishes += self._owner(message.digest).download_failed(message, now)
        elif isinstance(message, NeedSources):
            wishes += self.trackers.refresh(message.digest, now)
        elif isinstance(message, Collected):
            wishes += self._api.collected(message)
        elif isinstance(message, Traced):
            wishes += self._api.traces.answered(message)
        return self.settle(wishes, now)

    def _owner(self, digest: str) -> Gets | Mends:
        """Whose work the downloader reports on."""
        return self.mends if digest in self.mends.digests else self.gets

    def _hello(self, message: Hello, now: float) -> list[Effect]:
        """Answer a sign of life; a new run is told everything."""
        fresh = self.children.hello(message, now)
        answer = Hello("agent", self.who.instance, self.who.pid)
        wishes: list[Any] = []
        if message.role == "piece_server":
            wishes.append(ToPieceServer(answer))
            if fresh:
                self.uploads.new_run()
                wishes.append(ToPieceServer(Limit(self.limits.now.upload_rate)))
                wishes += self.members.told()
                wishes += self.catalogue.share_state(self.who.instance, self.who.peer, self.serving)
            if message.port:
                endpoint = with_port(self.who.advertise, message.port)
                wishes += self.trackers.each(lambda one: one.membership.set_endpoint(endpoint, now))
        elif message.role == "downloader":
            wishes.append(ToDownloader(answer))
            if fresh:
                self.downloaded.new_run()
                wishes.append(ToDownloader(Limit(self.limits.now.download_rate)))
                wishes += [ToDownloader(Pause(not self.serving)), *self.gets.fetches(), *self.mends.orders()]
                wishes += [*self._api.collects(), *self._api.traces.lost()]
                for digest in [*self.gets.digests, *self.mends.digests]:
                    wishes += self.trackers.refresh(digest, now)
            if message.totals is not None:
                self.downloaded.report(message.totals)
        return self.settle(wishes, now)

    # --- the disk ----------------------------------------------------------------------------------------

    def hash_progress(self, path: str, done: int, total: int) -> None:
        self.shares.progress(path, done, total)
        self.audits.progress(path, done)

    def hashed(
        self, path: str, item: LibraryItem, now: float, skipped: Skipped = NOTHING, rotted: str = ""
    ) -> list[Effect]:
        """``item`` is at ``path``, ``skipped`` is left out of it, and it has ``rotted``, in words, if it has."""
        wishes = [*self.shares.hashed(path, item, now, skipped, rotted), *self.shares.tick(now)]
        wishes += self.mends.found(path, now)
        return self.settle([*wishes, *self.audits.hash_ended(path, "", now)], now)

    def hash_failed(self, path: str, code: str, detail: str, now: float) -> list[Effect]:
        if code != "cancelled":
            self._watch.failed(path, now)
        wishes = self.shares.hash_failed(path, code, detail, now)
        return self.settle([*wishes, *self.audits.hash_ended(path, detail, now)], now)

    def item_checked(self, item: LibraryItem, problem: str, now: float) -> list[Effect]:
        """``problem`` is empty when ``item`` is on disk as it was hashed."""
        wishes = self.gets.item_checked(item, not problem, now)
        return self.settle([*wishes, *self.follows.item_checked(item, problem, now)], now)

    def item_deleted(self, item: LibraryItem, problem: str, now: float) -> list[Effect]:
        """``problem`` is the reason why ``item`` was not deleted; empty if it was."""
        return self.settle(self.quota.deleted(item, problem, now), now)

    def scanned(self, listing: Listing, began: float, now: float) -> list[Effect]:
        """The result of one scan of everything shared."""
        return self.settle(self._watch.scanned(listing, began, now), now)

    def seed_stored(self, job: int, link: Link, seed_path: str, now: float) -> list[Effect]:
        return self.settle(self.gets.seed_stored(job, link, seed_path, now), now)

    def seed_refused(self, job: int, code: str, detail: str, now: float) -> None:
        self.gets.failed(job, code, detail, now)

    # --- the library -------------------------------------------------------------------------------------

    def item_not_saved(self, item: LibraryItem, code: str, detail: str, now: float) -> list[Effect]:
        return self.settle(self.shares.not_saved(item, code, detail, now), now)

    def download_saved(self, download: Fetch, now: float) -> list[Effect]:
        return self.settle([*self.mends.give_way(download.digest, now), *self.gets.saved(download)], now)

    def download_not_saved(self, download: Fetch, code: str, detail: str, now: float) -> list[Effect]:
        return self.settle(self.gets.not_saved(download, code, detail, now), now)

    def orders_kept(self, effect: KeepOrders, now: float) -> list[Effect]:
        self.orders.kept(effect.kept)
        if self.figures.orders != self.orders.given:
            self.figures.orders = self.orders.given
            self.trackers.hasten(now)
        return self.settle([] if effect.reply is None else [ReplyApi(*effect.reply)], now)

    def orders_not_kept(self, effect: KeepOrders, code: str, detail: str, now: float) -> list[Effect]:
        if effect.reply is None:
            return self.settle([Note("error", detail)], now)
        route, reply = effect.reply
        return self.settle([ReplyApi(route, ApiError(reply.id, code, detail))], now)

    # --- orders of others --------------------------------------------------------------------------------

    def order_prepared(self, order: Order, directory: str, now: float) -> list[Effect]:
        return self.settle(self.orders.prepared(order, directory, now), now)

    def order_refused(self, order: Order, code: str, detail: str, now: float) -> list[Effect]:
        return self.settle(self.orders.refused(order, code, detail, now), now)

    def room_measured(self, free: int, now: float) -> list[Effect]:
        """``free`` bytes are left in the directory for orders."""
        if self.figures.free is None:
            self.trackers.hasten(now)
        self.figures.free = self.orders.measured(free, now)
        return self.settle([], now)

    # --- people and time ---------------------------------------------------------------------------------

    def api_says(self, route: bytes, request: ApiRequest, now: float) -> list[Effect]:
        return self.settle(self._api.handle(route, request, now), now)

    def leave(self, now: float) -> list[Effect]:
        """Out of the network because the process ends."""
        return self.settle(self.trackers.each(lambda one: one.membership.leave(now)), now)

    def tick(self, now: float) -> list[Effect]:
        return self.settle([effect for core in self._timed for effect in core.tick(now)], now)

    def tell_time(self, minute: int, now: float) -> list[Effect]:
        """It is ``minute`` of the local week, which the schedule of the limits goes by."""
        return self.settle(self._api.told_time(minute, now), now)

    def next_deadline(self) -> float | None:
        deadlines = [*(core.next_deadline() for core in self._timed), self.limits.next_deadline()]
        moments = [moment for moment in deadlines if moment is not None]
        return min(moments, default=None)

    # --- from one core to another ------------------------------------------------------------------------

    def settle(self, effects: Iterable[Any], now: float) -> list[Effect]:
        """Carry out what the cores ask of each other, in order; return the effects for the shell."""
        todo = deque(effects)
        outer: list[Effect] = []
        while todo:
            effect = todo.popleft()
            inner = self._carry_out(effect, now)
            if inner is None:
                outer.append(effect)
            else:
                todo.extendleft(reversed(inner))
        if self.jobs.changes_count != self._changes_count:
            self._changes_count = self.jobs.changes_count
            self.trackers.hasten(now)
        return outer

    def _carry_out(self, effect: Any, now: float) -> list[Any] | None:
        """What follows from ``effect``; None: the shell carries it out."""
        if isinstance(effect, FromTracker):
            return self._news.of_one(effect, now)
        if type(effect) in OF_ALL:
            return OF_ALL[type(effect)](self._news, effect, now)
        inner = _INNER.get(type(effect))
        return None if inner is None else inner(self, effect, now)

    def _announce(self, wish: Announce, now: float) -> list[Any]:
        if self.trackers.list.get(wish.entry.digest) != wish.entry:
            self.shares.changing(wish.entry.digest)
        told = self.trackers.set_entry(wish.entry, now)
        return [*self.catalogue.announced(self.trackers.list.moments(wish.entry.digest)), *told]

    def _withdraw(self, wish: Withdraw, now: float) -> list[Any]:
        self.shares.changing(wish.digest)
        wanted = self.gets.entry(wish.digest) or self.mends.entry(wish.digest)
        if wanted is not None:
            return list(self.trackers.set_entry(wanted, now))
        self.uploads.unlisted(wish.digest)
        return list(self.trackers.remove_entry(wish.digest, now))

    def _report_transfer(self, wish: ReportTransfer, now: float) -> list[Any]:
        return list(self.trackers.transfer(wish.digest, wish.state, now))

    def _find_torrents(self, wish: FindTorrents, now: float) -> list[Any]:
        return list(self.trackers.questions.torrents(wish.tag, wish.pattern, now, exact=wish.exact))

    def _find_orders(self, _wish: FindOrders, now: float) -> list[Any]:
        return list(self.trackers.questions.orders(("orders",), now))

    def _find_members(self, _wish: FindMembers, now: float) -> list[Any]:
        return list(self.trackers.questions.peers(("members",), now))

    def _want(self, wish: WantSources, now: float) -> list[Any]:
        return list(self.trackers.want(wish.digest, now, wish.own_too))

    def _unwant(self, wish: UnwantSources, _now: float) -> list[Any]:
        self.trackers.unwant(wish.digest)
        self.last_rate.over(wish.digest)
        return []

    def _room_made(self, wish: RoomMade, now: float) -> list[Any]:
        return self.gets.room_made(wish.job, wish.refusal, now)


_INNER: dict[type, Callable[[AgentCore, Any, float], list[Any]]] = {
    Announce: AgentCore._announce,
    Withdraw: AgentCore._withdraw,
    ReportTransfer: AgentCore._report_transfer,
    FindTorrents: AgentCore._find_torrents,
    FindOrders: AgentCore._find_orders,
    WantSources: AgentCore._want,
    UnwantSources: AgentCore._unwant,
    RoomMade: AgentCore._room_made,
    FindMembers: AgentCore._find_members,
}
"""What stays inside."""
