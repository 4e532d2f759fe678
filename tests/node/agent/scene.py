"""A whole agent core with a tracker that is played here: answers at once, or not at all, on a clock that jumps."""

from __future__ import annotations

import posixpath
import random
from collections.abc import Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent.core import AgentCore, Effect
from node.agent.effects import (
    Downloaded,
    KeepOrders,
    MeasureRoom,
    PrepareOrder,
    ReplyApi,
    SaveDownload,
    SaveItem,
    ToDownloader,
    ToPieceServer,
)
from node.agent.library import KeptOrders, LibraryItem
from node.agent.state import AgentTerms
from node.agent.tracker import FromTracker
from node.api_messages import ApiGetStatus, ApiRequest, Following, JobStatus, StatusReport
from node.local_messages import Fetch, Hello
from node.rate_limit import UNLIMITED, RateLimits
from node.schedule import Override, Period
from protocol.digest import begins_digest
from protocol.limits import MIB
from protocol.messages import (
    Entry,
    FileList,
    GetOrderList,
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    Goodbye,
    Heartbeat,
    Join,
    Leave,
    ListRequest,
    LookupReply,
    LookupRequest,
    Ok,
    OrderEntry,
    OrderList,
    PeerList,
    RegistrarReply,
    RegistrarRequest,
    SeederEntry,
    SeederList,
    TorrentEntry,
    TorrentList,
    Transfer,
    Update,
    Welcome,
)

T = TypeVar("T")
EPOCH = 3
"""Of the tracker."""
WALL = 1_000_000.0
FOLDER = "/shared"


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def item(number: int, path: str = "", origin: Any = "shared") -> LibraryItem:
    path = path or f"/data/file {number}"
    name = path.rpartition("/")[2]
    stamps, fingerprint = b"stamps %d" % number, b"as hashed %d" % number
    return LibraryItem(
        path, origin, digest(number), digest(1_000 + number), name, 100, f"/seeds/{number}", stamps, fingerprint
    )


class Scene:
    """``reachable`` False: the tracker answers nothing. ``listed`` is what the registrar was told by this peer.
    ``full``: the library cannot be written. ``ordered`` is what others order, ``kept`` what the library has of orders,
    ``rollouts`` where they are carried out."""

    def __init__(
        self,
        items: Iterable[LibraryItem] = (),
        downloads: Iterable[Fetch] = (),
        away: bool = False,
        foreground: bool = False,
        asked: Iterable[str] = (),
        limits: RateLimits = UNLIMITED,
        rollouts: str = "",
        kept: KeptOrders | None = None,
        schedule: tuple[Period, ...] = (),
        override: Override | None = None,
        quota: int = 0,
        downloaded: Iterable[Downloaded] = (),
        follow: tuple[Following, ...] = (),
        signed_by: tuple[str, ...] = (),
    ) -> None:
        terms = AgentTerms(
            peer="me",
            name="one",
            tokens={"tcp://tracker:5550": b"t" * 32},
            advertise="tcp://*:0",
            algorithm="blake3",
            share=(FOLDER,),
            scan_seconds=2.0,
            instance=1,
            pid=10,
            foreground=foreground,
            asked=frozenset(asked),
            limits=limits,
            rollouts=rollouts,
            ignore=("*.tmp",),
            schedule=schedule,
            override=override,
            quota=quota,
            downloaded=tuple(downloaded),
            follow=follow,
            signed_by=signed_by,
        )
        self.core = AgentCore(terms, items, WALL, random.Random(1), away)
        self.now = 0.0
        self.reachable = True
        self.full = False
        self.settling = False
        self.seq = 0
        self.listed: dict[str, Entry] = {}
        self.transfers: list[tuple[str, str]] = []
        self.moments: dict[str, int] = {}
        """What the registrar says of when contents were announced, by digest."""
        self.others: list[TorrentEntry] = []
        self.seeders: list[SeederEntry] = []
        self.questions: list[LookupRequest] = []
        self.ordered: list[OrderEntry] = []
        self.kept = kept or KeptOrders()
        self.beats: list[Heartbeat] = []
        self.done: list[Effect] = []
        self.play(self.core.start(downloads, 0.0, self.kept))

    def play(self, effects: Iterable[Effect]) -> list[Effect]:
        """Have the tracker answer what was sent; returns what is left for the shell."""
        todo, outer = list(effects), list[Effect]()
        while todo:
            effect = todo.pop(0)
            sent = effect.effect if isinstance(effect, FromTracker) else None
            if isinstance(sent, mb.Send):
                if self.reachable:
                    todo += self.core.registrar_says(0, self._registrar(sent.message), self.now)
            elif isinstance(sent, lk.Dial):
                todo += self.core.lookup_connected(0, self.now)
            elif isinstance(sent, lk.Ask):
                if self.reachable:
                    self.questions.append(sent.message)
                    todo += self.core.lookup_says(0, self._lookup(sent.message), self.now)
            else:
                outer.append(effect)
                todo[:0] = self._save(effect)
        self.done += outer
        return outer

    def hello(self, role: str, instance: int = 5, port: int = 0) -> list[Effect]:
        return self.play(self.core.child_says(Hello(role, instance, 77, port), self.now))

    def up(self) -> Scene:
        """Both children are there, and the peer has joined."""
        self.hello("piece_server", port=9)
        self.hello("downloader")
        self.done.clear()
        return self

    def pass_time(self, seconds: float) -> list[Effect]:
        until, outer = self.now + seconds, []
        while (due := self.core.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            outer += self.play(self.core.tick(self.now))
        self.now = until
        return outer

    def ask(self, request: ApiRequest) -> list[Effect]:
        return self.play(self.core.api_says(b"cli", request, self.now))

    def took(self, kind: type[T]) -> list[T]:
        """Effects of ``kind`` since the last look at them."""
        found: list[Any] = [effect for effect in self.done if isinstance(effect, kind)]
        self.done = [effect for effect in self.done if not isinstance(effect, kind)]
        return found

    def told(self, to: type[ToDownloader | ToPieceServer], kind: type[T]) -> list[T]:
        """Messages of ``kind`` to a child since the last look at them."""
        messages: list[Any] = [effect.message for effect in self.done if isinstance(effect, to)]
        found = [message for message in messages if isinstance(message, kind)]
        self.done = [e for e in self.done if not (isinstance(e, to) and isinstance(e.message, kind))]
        return found

    def reply(self, kind: type[T]) -> T:
        """The one reply to the command line since the last look."""
        (effect,) = self.took(ReplyApi)
        assert effect.route == b"cli"
        assert isinstance(effect.reply, kind)
        return effect.reply

    def status(self, jobs: list[int] | None = None, first: int = 0) -> StatusReport:
        self.took(ReplyApi)
        self.ask(ApiGetStatus(1, jobs, first))
        return self.reply(StatusReport)

    def job(self) -> JobStatus:
        return self.status().jobs[-1]

    def _save(self, effect: Effect) -> list[Effect]:
        """What follows when ``effect`` is one for the library."""
        full = ("disk", "the disk is full", self.now)
        if isinstance(effect, SaveDownload):
            if self.full:
                return self.core.download_not_saved(effect.download, *full)
            return self.core.download_saved(effect.download, self.now)
        if isinstance(effect, SaveItem) and self.full:
            return self.core.item_not_saved(effect.item, *full)
        if isinstance(effect, KeepOrders):
            if self.full:
                return self.core.orders_not_kept(effect, *full)
            self.kept = effect.kept
            return self.core.orders_kept(effect, self.now)
        if isinstance(effect, PrepareOrder):
            if effect.order.directory == "bad":
                return self.core.order_refused(effect.order, "disk", "bad is a symbolic link", self.now)
            directory = posixpath.join(effect.base, effect.order.directory)
            return self.core.order_prepared(effect.order, directory, self.now)
        if isinstance(effect, MeasureRoom):
            return self.core.room_measured(1_000 * MIB + 5, self.now)
        return []

    def _registrar(self, message: RegistrarRequest) -> RegistrarReply:
        self.seq += 1
        if isinstance(message, Join):
            self.listed.clear()
            return ListRequest(message.id, 1)
        if isinstance(message, FileList):
            self.listed.update({entry.digest: entry for entry in message.entries})
            assert message.last
            lookups = ["tcp://*:2"]
            told = (15.0, 5.0, "tcp://10.0.0.1:9", "tcp://*:1", lookups)
            return Welcome(message.id, EPOCH, self.seq, *told, self._moments(message.entries))
        if isinstance(message, Leave):
            self.listed.clear()
            return Goodbye(message.id, EPOCH, self.seq)
        if isinstance(message, Update):
            for gone in message.removed:
                self.listed.pop(gone, None)
            self.listed.update({entry.digest: entry for entry in message.added})
            return Ok(message.id, EPOCH, self.seq, self._moments(message.added))
        if isinstance(message, Transfer):
            self.transfers.append((message.digest, message.state))
        elif isinstance(message, Heartbeat):
            self.beats.append(message)
        return Ok(message.id, EPOCH, self.seq)

    def _moments(self, entries: list[Entry]) -> list[int]:
        return [self.moments.get(entry.digest, 0) for entry in entries for _ in entry.names()]

    def _lookup(self, message: LookupRequest) -> LookupReply:
        if isinstance(message, GetSeederList):
            return SeederList(message.id, EPOCH, self.seq, self.settling, len(self.seeders), self.seeders)
        if isinstance(message, GetPeerList):
            return PeerList(message.id, EPOCH, self.seq, self.settling, [], "")
        if isinstance(message, GetOrderList):
            return OrderList(message.id, EPOCH, self.seq, self.settling, self.ordered, "")
        assert isinstance(message, GetTorrentList)
        own = [
            TorrentEntry(alias.name, e.length, e.digest, alias.manifest, 1, 0, 0, signature=alias.signature)
            for e in self.listed.values()
            for alias in e.names()
        ]
        found = [
            e
            for e in [*own, *self.others]
            if message.pattern in ("", e.name) or begins_digest(message.pattern, e.digest)
        ]
        return TorrentList(message.id, EPOCH, self.seq, self.settling, self._counted(found), "")

    def _counted(self, found: list[TorrentEntry]) -> list[TorrentEntry]:
        """As a tracker has it: the counts of each are those of all that have the same bytes, by whatever name."""
        have = {e.digest: int(e.digest in self.listed) for e in found}
        for entry in self.others:
            have[entry.digest] = have.get(entry.digest, 0) + entry.have
        return [*{(e.digest, e.name, e.manifest, e.signature): replace(e, have=have[e.digest]) for e in found}.values()]
