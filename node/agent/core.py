"""The agent without its sockets: takes every event, and returns what is to be done. Pure.

Joins the cores of `state`: `membership`, `roster` and `lookups` for the tracker, `catalogue`, `shares` and `gets` for
content. Carries out what they ask of each other; the rest is up to the shell (`process`). The command line's requests
go to `requests`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent import roster as ro
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
    Subscribe,
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
    SourceLost,
    Sources,
    UploadReport,
)
from protocol.endpoints import host_of, is_loopback, with_host, with_port
from protocol.limits import ENDPOINT_BYTES_MAX
from protocol.link import Link
from protocol.messages import LookupReply, Order, RegistrarReply, Roster

REFRESH_SPREAD_SECONDS = 1.0
"""Spreads the requests of peers that all missed the same event."""

Effect = Outer | mb.Send | lk.Dial | lk.Ask
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
            self.membership,
            self.lookups,
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
        self._changes_count = 0

    # --- the start ---------------------------------------------------------------------------------------

    def start(self, downloads: Iterable[Fetch], now: float, orders: KeptOrders | None = None) -> list[Effect]:
        """Begin with the contents of the library."""

        def goes_on(download: Fetch) -> bool:
            return not self.who.foreground and not self.follows.covers(download.dest)

        resumed = self.gets.resume(downloads, self.who.asked, goes_on, now)
        ordered = self.orders.start(orders or KeptOrders(), now)
        self.membership.orders = self.orders.given
        self.children.await_from(now)
        begun = [*self._watch.start(now), *self.catalogue.announcement(), *resumed, *ordered]
        return self.settle([*begun, *self.mends.start(now)], now)

    # --- the tracker -------------------------------------------------------------------------------------

    def registrar_says(self, reply: RegistrarReply, now: float) -> list[Effect]:
        return self.settle(self.membership.receive(reply, now), now)

    def registrar_connected(self, host: str, now: float) -> list[Effect]:
        """There is a connection to the registrar, reached at address ``host``."""
        return self.settle(self.membership.connected(host, now), now)

    def registrar_lost(self, why: str, now: float) -> list[Effect]:
        """The connection ended, or an attempt to make one failed, for a reason in words."""
        return self.settle(self.membership.disconnected(why, now), now)

    def lookup_says(self, reply: LookupReply, now: float) -> list[Effect]:
        return self.settle(self.lookups.receive(reply, now), now)

    def lookup_connected(self, now: float) -> list[Effect]:
        return self.settle(self.lookups.connected(now), now)

    def lookup_lost(self, why: str, now: float) -> list[Effect]:
        return self.settle(self.lookups.disconnected(why, now), now)

    def roster_says(self, roster: Roster, now: float) -> list[Effect]:
        self.members.heard(now)
        return self.settle(self.follower.handle(roster, {**self.gets.digests, **self.mends.digests}), now)

    # --- the other two processes -------------------------------------------------------------------------

    def child_says(self, message: ChildToAgent, now: float) -> list[Effect]:
        if isinstance(message, Hello):
            return self._hello(message, now)
        wishes: list[Any] = []
        if isinstance(message, UploadReport):
            self.uploads.report(message, self.membership.list.get)
            self.membership.load = self.uploads.sessions
            self.quota.served(message)
            wishes += self.catalogue.drop_earlier(lambda item: not self.is_fetched(item.digest))
        elif isinstance(message, ContentChanged):
            wishes += self.shares.doubted(message.root, message.digest, message.detail, now)
        elif isinstance(message, DownloadReport):
            self.membership.rate = self.last_rate.report(message, now) or self.membership.rate
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
            wishes += self.lookups.refresh(message.digest, now)
        elif isinstance(message, Collected):
            wishes += self._api.collected(message)
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
                wishes += self.membership.set_endpoint(with_port(self.who.advertise, message.port), now)
        elif message.role == "downloader":
            wishes.append(ToDownloader(answer))
            if fresh:
                wishes.append(ToDownloader(Limit(self.limits.now.download_rate)))
                wishes += [ToDownloader(Pause(not self.serving)), *self.gets.fetches(), *self.mends.orders()]
                wishes += self._api.collects()
                for digest in [*self.gets.digests, *self.mends.digests]:
                    wishes += self.lookups.refresh(digest, now)
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
        if self.membership.orders != self.orders.given:
            self.membership.orders = self.orders.given
            self.membership.hasten(now)
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
        if self.membership.free is None:
            self.membership.hasten(now)
        self.membership.free = self.orders.measured(free, now)
        return self.settle([], now)

    # --- people and time ---------------------------------------------------------------------------------

    def api_says(self, route: bytes, request: ApiRequest, now: float) -> list[Effect]:
        return self.settle(self._api.handle(route, request, now), now)

    def leave(self, now: float) -> list[Effect]:
        """Out of the network because the process ends; see `departed`."""
        return self.settle(self.membership.leave(now), now)

    @property
    def departed(self) -> bool:
        return self.membership.state is mb.State.LEFT

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
            inner = _INNER.get(type(effect))
            if inner is None:
                outer.append(effect)
            else:
                todo.extendleft(reversed(inner(self, effect, now)))
        if self.jobs.changes_count != self._changes_count:
            self._changes_count = self.jobs.changes_count
            self.membership.hasten(now)
        return outer

    def _announce(self, wish: Announce, now: float) -> list[Any]:
        if self.membership.list.get(wish.entry.digest) != wish.entry:
            self.shares.changing(wish.entry.digest)
        told = self.membership.set_entry(wish.entry, now)
        return [*self.catalogue.announced(self.membership.list.moments(wish.entry.digest)), *told]

    def _withdraw(self, wish: Withdraw, now: float) -> list[Any]:
        self.shares.changing(wish.digest)
        wanted = self.gets.entry(wish.digest) or self.mends.entry(wish.digest)
        if wanted is not None:
            return list(self.membership.set_entry(wanted, now))
        self.uploads.unlisted(wish.digest)
        return list(self.membership.remove_entry(wish.digest, now))

    def _report_transfer(self, wish: ReportTransfer, now: float) -> list[Any]:
        return list(self.membership.transfer(wish.digest, wish.state, now))

    def _find_torrents(self, wish: FindTorrents, now: float) -> list[Any]:
        after = max(wish.after, (self.follower.epoch, self.follower.seq))
        return list(self.lookups.torrents(wish.tag, wish.pattern, now, exact=wish.exact, after=after))

    def _find_orders(self, wish: FindOrders, now: float) -> list[Any]:
        return list(self.lookups.orders(("orders",), now, wish.after))

    def _want(self, wish: WantSources, now: float) -> list[Any]:
        return list(self.lookups.want(wish.digest, now, wish.own_too))

    def _unwant(self, wish: UnwantSources, _now: float) -> list[Any]:
        self.lookups.unwant(wish.digest)
        self.last_rate.over(wish.digest)
        return []

    def _room_made(self, wish: RoomMade, now: float) -> list[Any]:
        return self.gets.room_made(wish.job, wish.refusal, now)

    def _welcomed(self, effect: mb.Welcomed, now: float) -> list[Any]:
        welcome = effect.welcome
        self.follower.start(welcome.epoch, welcome.seq)
        self.orders.ask(now, (welcome.epoch, welcome.seq))
        dialled = self.lookups.set_endpoints(welcome.lookups, now)
        self.follows.refresh(now, REFRESH_SPREAD_SECONDS)
        members = self.members.welcomed((welcome.epoch, welcome.seq), now)
        return [Subscribe(welcome.roster), *dialled, *members, *self.lookups.refresh_all(now, REFRESH_SPREAD_SECONDS)]

    def _announced(self, effect: mb.Announced, now: float) -> list[Any]:
        self.shares.announced(effect.digests, effect.epoch, effect.seq, now)
        asked = self.quota.announced(effect.digests, effect.epoch, effect.seq)
        gone = [digest for digest in effect.digests if self.membership.list.get(digest) is None]
        self.follows.withdrawn(gone, now, (effect.epoch, effect.seq))
        return [*self.shares.tick(now), *asked]

    def _dated(self, effect: mb.Dated, now: float) -> list[Any]:
        """Timestamps of this peer's own announcements, which the roster does not report to it."""
        wishes: list[Any] = list(self.catalogue.announced(effect.names))
        after = (self.membership.epoch, self.membership.seq)
        for (digest, _, _), moment in effect.names.items():
            wishes += self.follows.hinted(digest, moment, now, after)
        return wishes

    def _departed(self, effect: mb.Departed, _now: float) -> list[Any]:
        self.shares.forgotten()
        how = (
            "" if effect.acknowledged else "; it did not acknowledge that and will forget this peer when the lease ends"
        )
        return [Note("info", f"left the network of {self.who.tracker}{how}"), *self._api.departed(effect.acknowledged)]

    def _torrents_found(self, effect: lk.TorrentsFound, now: float) -> list[Any]:
        kind, *rest = self._tag(effect.tag)
        if kind == "share":
            self.shares.torrents_found(rest[0], effect.entries, now)
            return []
        sure = self.membership.joined and not effect.settling
        if kind == "follow":
            return list(self.follows.found(rest[0], rest[1], effect.entries, sure, now))
        if kind == "get":
            return list(self.gets.torrents_found(rest[0], effect.entries, sure, now, effect.since))
        if kind == "quota":
            return self.quota.torrents_found(rest[0], effect.entries, not effect.settling, now)
        return self._api.torrents_found(rest[0], rest[1], effect, now)

    def _find_members(self, wish: FindMembers, now: float) -> list[Any]:
        return list(self.lookups.peers(("members",), now, after=wish.after))

    def _peers_found(self, effect: lk.PeersFound, now: float) -> list[Any]:
        kind, *rest = self._tag(effect.tag)
        if kind == "members":
            return list(self.members.found(effect.peers, effect.settling, now))
        route, number = rest
        host = self.membership.tracker_host
        peers = [replace(peer, endpoint=with_host(peer.endpoint, host)) for peer in effect.peers]
        return self._api.peers_found(route, number, replace(effect, peers=peers))

    def _orders_found(self, effect: lk.OrdersFound, now: float) -> list[Any]:
        kind, *rest = self._tag(effect.tag)
        if kind == "orders":
            return list(self.orders.found(effect.entries, now))
        return self._api.orders_found(rest[0], rest[1], effect)

    def _standings_found(self, effect: lk.StandingsFound, _now: float) -> list[Any]:
        _, route, number = self._tag(effect.tag)
        return self._api.standings_found(route, number, effect)

    def _ask_failed(self, effect: lk.AskFailed, now: float) -> list[Any]:
        kind, *rest = self._tag(effect.tag)
        if kind == "share":
            self.shares.ask_failed(rest[0], now)
            return []
        if kind == "get":
            if effect.code == "network":
                self.gets.ask_failed(rest[0], now)
            else:
                self.gets.failed(rest[0], effect.code, effect.detail, now)
            return []
        if kind == "orders":
            self.orders.ask_failed(now)
            return []
        if kind == "members":
            self.members.failed(now)
            return []
        if kind == "follow":
            self.follows.ask_failed(rest[0], rest[1], now)
            return []
        if kind == "quota":
            return self.quota.ask_failed(effect.detail, now)
        return self._api.ask_failed(rest[0], rest[1], effect)

    def _seeders_found(self, effect: lk.SeedersFound, _now: float) -> list[Any]:
        sure = self.membership.joined and not effect.settling
        total = effect.total if sure else None
        return self._sources(Sources(effect.digest, effect.seeders, total, effect.cell, effect.cells))

    def _orders_news(self, hint: ro.OrdersNews, now: float) -> list[Any]:
        self.orders.ask(now, (hint.epoch, hint.seq))
        return []

    def _heard(self, hint: ro.Heard, now: float) -> list[Any]:
        return list(self.follows.hinted(hint.digest, hint.announced, now))

    def _refresh_all(self, _hint: ro.RefreshAll, now: float) -> list[Any]:
        self.orders.ask(now, (0, 0))
        self.follows.refresh(now, REFRESH_SPREAD_SECONDS)
        members = self.members.missed(now, REFRESH_SPREAD_SECONDS)
        return [*members, *self.lookups.refresh_all(now, REFRESH_SPREAD_SECONDS)]

    def _member_up(self, hint: ro.MemberUp, _now: float) -> list[Any]:
        return list(self.members.joined(hint.peer, hint.key))

    def _source_up(self, hint: ro.SourceUp, _now: float) -> list[Any]:
        return self._sources(Sources(hint.digest, [hint.seeder]))

    def _sources(self, told: Sources) -> list[Any]:
        """Tell the downloader of sources, at addresses that this peer can dial."""
        host = self.membership.tracker_host
        found = [replace(seeder, endpoint=_dialled(seeder.endpoint, host)) for seeder in told.seeders]
        return [ToDownloader(replace(told, seeders=found))]

    def _receiver(self, hint: ro.Receiver, _now: float) -> list[Any]:
        return [ToDownloader(Sources(hint.digest, [], None, hint.cell if hint.own else None, hint.cell + 1))]

    def _source_down(self, hint: ro.SourceDown, _now: float) -> list[Any]:
        members = self.members.left(hint.peer) if not hint.digest else []
        fetched = self.gets.digests or self.mends.digests
        return [*members, *([ToDownloader(SourceLost(hint.peer, hint.digest))] if fetched else [])]

    @staticmethod
    def _tag(tag: Any) -> tuple[Any, ...]:
        assert isinstance(tag, tuple)
        return tag


def _dialled(endpoint: str, tracker_host: str) -> str:
    """The endpoint to dial for ``endpoint``, for a peer that reaches its tracker at ``tracker_host``. A loopback
    address of another machine is marked as such, so that nobody dials it."""
    endpoint = with_host(endpoint, tracker_host)
    if is_loopback(host_of(endpoint)) and not is_loopback(tracker_host):
        return f"{endpoint} of another machine"[:ENDPOINT_BYTES_MAX]
    return endpoint


_INNER: dict[type, Callable[[AgentCore, Any, float], list[Any]]] = {
    Announce: AgentCore._announce,
    Withdraw: AgentCore._withdraw,
    ReportTransfer: AgentCore._report_transfer,
    FindTorrents: AgentCore._find_torrents,
    FindOrders: AgentCore._find_orders,
    WantSources: AgentCore._want,
    UnwantSources: AgentCore._unwant,
    RoomMade: AgentCore._room_made,
    mb.Welcomed: AgentCore._welcomed,
    mb.Announced: AgentCore._announced,
    mb.Dated: AgentCore._dated,
    mb.Departed: AgentCore._departed,
    lk.TorrentsFound: AgentCore._torrents_found,
    lk.PeersFound: AgentCore._peers_found,
    lk.StandingsFound: AgentCore._standings_found,
    lk.OrdersFound: AgentCore._orders_found,
    lk.SeedersFound: AgentCore._seeders_found,
    lk.AskFailed: AgentCore._ask_failed,
    FindMembers: AgentCore._find_members,
    ro.RefreshAll: AgentCore._refresh_all,
    ro.MemberUp: AgentCore._member_up,
    ro.OrdersNews: AgentCore._orders_news,
    ro.Heard: AgentCore._heard,
    ro.Receiver: AgentCore._receiver,
    ro.SourceUp: AgentCore._source_up,
    ro.SourceDown: AgentCore._source_down,
}
"""What stays inside."""
