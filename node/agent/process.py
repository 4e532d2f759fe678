"""The agent process: member of the network, owner of the library, and server of the command line.

Shell around `node.agent.core`: connections, threads for the disk, the library's database. It decides nothing. The
peer's other two processes and the command line come to it; it dials the trackers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from random import Random
from typing import Any, Protocol

from node.agent import effects as fx
from node.agent.api_server import ApiServer
from node.agent.core import AgentCore
from node.agent.dialled import Dialled
from node.agent.disk_work import Cancelled, HashedItem, Progress, StoredSeed
from node.agent.library import KeptOrders, LibraryItem
from node.agent.share_scan import Scanned
from node.agent.tracker import FromTracker
from node.agent.tracker_lines import TrackerLines
from node.api_messages import ApiCollected, ApiDone, ApiError, ApiLimits, ApiRequest
from node.host import Host
from node.local_messages import AGENT_SOCKET, ChildToAgent, Fetch, Hello, Unused
from node.schedule import Override
from node.workers import END_SECONDS
from protocol.codec import Decoder
from protocol.errors import DiskError, NetworkError, ProtocolError, ZswarmError
from protocol.limits import LOCAL_BYTES_MAX
from protocol.messages import Message, Roster
from service.text import as_utf8
from transport.loop import Loop

CHECK_THREADS_COUNT = 8
"""Threads for items that people request again. A file system that hangs holds up the others only when it takes all of
them."""
LEAVE_SECONDS = 0.5
"""How long the process waits at its end for the tracker to acknowledge that the peer left."""


class AgentDisk(Protocol):
    """The library (see `node.agent.library.Library`), and work on the disk for threads (see `node.agent.disk_work`)."""

    def downloads(self) -> list[Fetch]: ...
    def put_item(self, item: LibraryItem) -> None: ...
    def remove_item(self, path: str) -> None: ...
    def put_download(self, download: Fetch) -> None: ...
    def remove_download(self, dest: str) -> None: ...
    def orders(self) -> KeptOrders: ...
    def keep_orders(self, orders: KeptOrders) -> None: ...
    def keep_away(self, away: bool) -> None: ...
    def keep_limits(self, override: Override | None) -> None: ...
    def hash_item(self, request: fx.HashPath, progress: Progress, cancelled: Cancelled) -> HashedItem: ...
    def keep_seed(self, request: fx.StoreSeed) -> StoredSeed: ...
    def item_problem(self, item: LibraryItem) -> str: ...
    def delete_item(self, item: LibraryItem, rest: bool) -> str: ...
    def keep_downloaded(self, items: list[fx.Downloaded]) -> None: ...
    def collect_seeds(self, used: Collection[str], dry_run: bool) -> list[Unused]: ...
    def look(self, request: fx.ScanShares) -> Scanned: ...
    def prepare_place(self, request: fx.PrepareOrder) -> str: ...
    def free_bytes(self, base: str) -> int: ...


class Agent:
    """One run of ``core`` on ``host``. ``stop`` ends the peer; ``minute`` is that of the local week, from Monday on;
    ``tracker_key`` as in `AgentSettings`. ``hears`` tells, for the number of a tracker, whether an event of its roster
    gets here: in a simulated world not all do."""

    def __init__(
        self,
        host: Host,
        core: AgentCore,
        disk: AgentDisk,
        rng: Random,
        stop: Callable[[], None],
        minute: Callable[[], int],
        tracker_key: str = "",
        hears: Callable[[int, Roster], bool] = lambda _number, _event: True,
    ) -> None:
        self.core, self._minute = core, minute
        self._host, self._kept, self._stop = host, disk, stop
        # Apart, so that what a person waits for is not behind what was found or looked at, nor a seed, which goes to
        # the data directory, behind content on another file system.
        self._disk = [host.workers(count) for count in (1, 1, 1, 1, 1, 1, CHECK_THREADS_COUNT)]
        self._hashers, self._background_hashers, self._auditors, *others = self._disk
        self._looks, self._seeds, self._deletions, self._checks = others
        self._checking: set[tuple[str, str]] = set()
        """Path and digest of items that are being checked."""
        self._names = host.workers(1)
        self._cancelled: dict[str, threading.Event] = {}
        self._progress: dict[str, tuple[int, int]] = {}
        self._children = host.listen_local(AGENT_SOCKET)
        self._children.hear(Decoder(ChildToAgent, LOCAL_BYTES_MAX), self._on_child, self._on_garbage)
        self._routes: dict[str, bytes] = {}
        """By role, the route of the child that last said hello."""
        self._api = ApiServer(host, self.asked)
        self._trackers = [
            TrackerLines(core, number, host, self._names, self._perform, rng, tracker_key, hears)
            for number in range(len(core.trackers.all))
        ]
        self._perform(core.start(disk.downloads(), host.now(), disk.orders()))

    def tick(self, now: float) -> float | None:
        """Called by the loop in every turn; returns when to be called at the latest."""
        self._perform(self.core.tick(now))
        due = self.core.limits.next_deadline()
        if due is not None and now >= due:
            self._perform(self.core.tell_time(self._minute(), now))
        for dialled in self._dialled():
            dialled.tick(now)
        moments = [self.core.next_deadline(), *(dialled.next_deadline() for dialled in self._dialled())]
        return min((moment for moment in moments if moment is not None), default=None)

    def leave(self, loop: Loop) -> None:
        """Leave the network at the end of the process, in further turns of its ``loop``. It does not wait long for the
        acknowledgement: what was sent goes out, and a tracker that heard nothing forgets the peer when its lease
        ends."""
        trackers, registrars = self.core.trackers, [lines.registrar for lines in self._trackers]
        if trackers.has_left or trackers.network == "unreachable":
            return
        loop.resume()
        give_up_at = loop.now() + LEAVE_SECONDS
        self._perform(self.core.leave(loop.now()))

        def tick(now: float) -> float | None:
            self._perform(self.core.settle(trackers.each(lambda one: one.membership.tick(now)), now))
            if trackers.has_left or now >= give_up_at:
                loop.stop()
            for registrar in registrars:
                registrar.tick(now)
            moments = [give_up_at, *(registrar.next_deadline() for registrar in registrars)]
            moments += [tracker.membership.next_deadline() for tracker in trackers.all]
            return min(moment for moment in moments if moment is not None)

        loop.run(tick)

    def close(self) -> None:
        for cancelled in self._cancelled.values():
            cancelled.set()
        for workers in self._disk:
            workers.close(END_SECONDS)
        for dialled in self._dialled():
            dialled.close()
        self._names.close(0.0)

    def _dialled(self) -> list[Dialled[Any]]:
        """The connections to the trackers."""
        return [dialled for lines in self._trackers for dialled in lines.dialled()]

    # --- what arrives ------------------------------------------------------------------------------------

    def _on_child(self, route: bytes, message: ChildToAgent, now: float) -> None:
        if isinstance(message, Hello):
            self._routes[message.role] = route
        self._perform(self.core.child_says(message, now))

    def _on_garbage(self, _route: bytes, _data: bytes, error: ProtocolError) -> None:
        what = "one of this peer's own processes sent a message that cannot be understood"
        self._host.note("error", f"{what}: {error}")

    def asked(self, route: bytes, request: ApiRequest, now: float) -> None:
        """The command line asks."""
        for path, (done, total) in list(self._progress.items()):
            self.core.hash_progress(path, done, total)
        self._perform(self.core.api_says(route, request, now))

    def _hashed(self, request: fx.HashPath, result: Any) -> None:
        del self._cancelled[request.path]
        self._progress.pop(request.path, None)
        now = self._host.now()
        if isinstance(result, ZswarmError):
            self._perform(self.core.hash_failed(request.path, result.code, as_utf8(str(result)), now))
        elif isinstance(result, BaseException):
            raise result
        else:
            self._perform(self.core.hashed(request.path, result.item, now, result.skipped, result.rotted))

    def _seed_stored(self, request: fx.StoreSeed, result: Any) -> None:
        now = self._host.now()
        if isinstance(result, ZswarmError):
            self.core.seed_refused(request.job, result.code, as_utf8(str(result)), now)
        elif isinstance(result, BaseException):
            raise result
        else:
            self._perform(self.core.seed_stored(request.job, result.link, result.path, now))

    def _checked(self, item: LibraryItem, problem: Any) -> None:
        self._checking.remove((item.path, item.digest))
        if isinstance(problem, BaseException):
            raise problem
        self._perform(self.core.item_checked(item, problem, self._host.now()))

    def _item_deleted(self, item: LibraryItem, problem: Any) -> None:
        if isinstance(problem, BaseException):
            raise problem
        self._perform(self.core.item_deleted(item, problem, self._host.now()))

    def _looked(self, found: Any) -> None:
        if isinstance(found, BaseException):
            raise found
        self._perform(self.core.scanned(found.listing, found.began, self._host.now()))

    def _prepared(self, request: fx.PrepareOrder, result: Any) -> None:
        now = self._host.now()
        if isinstance(result, ZswarmError):
            self._perform(self.core.order_refused(request.order, result.code, as_utf8(str(result)), now))
        elif isinstance(result, BaseException):
            raise result
        else:
            self._perform(self.core.order_prepared(request.order, result, now))

    def _measured(self, free: Any) -> None:
        if isinstance(free, BaseException):
            raise free
        self._perform(self.core.room_measured(free, self._host.now()))

    # --- what is to be done ------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Any]) -> None:
        refusal: DiskError | None = None
        for effect in effects:
            try:
                if refusal is not None and isinstance(effect, fx.ReplyApi) and isinstance(effect.reply, _DONE):
                    # It was done, and a restart would not know.
                    self._api.reply(effect.route, ApiError(effect.reply.id, refusal.code, as_utf8(str(refusal))))
                else:
                    _PERFORM[type(effect)](self, effect)
            except DiskError as error:
                refusal = error
                self._host.note("error", str(error))
            except NetworkError as error:
                # An address from the tracker that is none: what works goes on.
                self._host.note("error", str(error))

    def _tell(self, role: str, message: Message) -> None:
        """Tell the child of ``role``, if it is there; a new run of it is told everything anyway."""
        route = self._routes.get(role)
        if route is not None:
            self._children.send(route, message)

    def _save_item(self, effect: fx.SaveItem) -> None:
        try:
            self._kept.put_item(effect.item)
        except DiskError as error:
            detail = as_utf8(str(error))
            self._perform(self.core.item_not_saved(effect.item, error.code, detail, self._host.now()))

    def _save_download(self, effect: fx.SaveDownload) -> None:
        try:
            self._kept.put_download(effect.download)
        except DiskError as error:
            detail = as_utf8(str(error))
            self._perform(self.core.download_not_saved(effect.download, error.code, detail, self._host.now()))
        else:
            self._perform(self.core.download_saved(effect.download, self._host.now()))

    def _collect_seeds(self, effect: fx.CollectSeeds) -> None:
        try:
            seeds = self._kept.collect_seeds(effect.used, effect.request.dry_run)
        except DiskError as error:
            self._api.reply(effect.route, ApiError(effect.request.id, error.code, as_utf8(str(error))))
        else:
            reply = ApiCollected(effect.request.id, [*effect.removed, *seeds], effect.left)
            self._api.reply(effect.route, reply)

    def _hash(self, request: fx.HashPath) -> None:
        cancelled = self._cancelled[request.path] = threading.Event()

        def progress(done: int, total: int) -> None:
            self._progress[request.path] = (done, total)

        hashers = self._background_hashers if request.background else self._hashers
        if request.background and request.rate is not None:
            hashers = self._auditors
        hashers.submit(
            partial(self._hashed, request), lambda: self._kept.hash_item(request, progress, cancelled.is_set)
        )

    def _cancel_hash(self, effect: fx.CancelHash) -> None:
        self._cancelled[effect.path].set()

    def _store_seed(self, request: fx.StoreSeed) -> None:
        self._seeds.submit(partial(self._seed_stored, request), lambda: self._kept.keep_seed(request))

    def _check(self, request: fx.CheckItem) -> None:
        key = request.item.path, request.item.digest
        if key not in self._checking:  # the result is for all who ask
            self._checking.add(key)
            self._checks.submit(partial(self._checked, request.item), lambda: self._kept.item_problem(request.item))

    def _keep_orders(self, effect: fx.KeepOrders) -> None:
        try:
            self._kept.keep_orders(effect.kept)
        except DiskError as error:
            detail = as_utf8(str(error))
            self._perform(self.core.orders_not_kept(effect, error.code, detail, self._host.now()))
        else:
            self._perform(self.core.orders_kept(effect, self._host.now()))

    def _prepare_order(self, request: fx.PrepareOrder) -> None:
        self._checks.submit(partial(self._prepared, request), lambda: self._kept.prepare_place(request))

    def _measure(self, request: fx.MeasureRoom) -> None:
        self._looks.submit(self._measured, lambda: self._kept.free_bytes(request.base))

    def _delete_item(self, effect: fx.DeleteItem) -> None:
        item, kept = effect.item, effect.kept
        try:
            if kept is not None:
                self._kept.keep_downloaded(kept)
        except DiskError as error:  # what is new could not be remembered either
            self._item_deleted(item, as_utf8(str(error)))
        else:
            self._deletions.submit(
                partial(self._item_deleted, item), lambda: self._kept.delete_item(item, kept is None)
            )

    def _scan(self, request: fx.ScanShares) -> None:
        self._looks.submit(self._looked, lambda: self._kept.look(request))


_DONE = ApiDone, ApiLimits
"""Replies that confirm a change."""

_PERFORM: dict[type, Callable[[Agent, Any], None]] = {
    fx.Note: lambda agent, effect: agent._host.note(effect.level, effect.text),
    FromTracker: lambda agent, effect: agent._trackers[effect.tracker].perform(effect.effect),
    fx.ToPieceServer: lambda agent, effect: agent._tell("piece_server", effect.message),
    fx.ToDownloader: lambda agent, effect: agent._tell("downloader", effect.message),
    fx.SaveItem: Agent._save_item,
    fx.ForgetItem: lambda agent, effect: agent._kept.remove_item(effect.path),
    fx.SaveDownload: Agent._save_download,
    fx.ForgetDownload: lambda agent, effect: agent._kept.remove_download(effect.dest),
    fx.StoreSeed: Agent._store_seed,
    fx.HashPath: Agent._hash,
    fx.CancelHash: Agent._cancel_hash,
    fx.CheckItem: Agent._check,
    fx.ScanShares: Agent._scan,
    fx.KeepOrders: Agent._keep_orders,
    fx.PrepareOrder: Agent._prepare_order,
    fx.MeasureRoom: Agent._measure,
    fx.KeepAway: lambda agent, effect: agent._kept.keep_away(effect.away),
    fx.KeepLimits: lambda agent, effect: agent._kept.keep_limits(effect.override),
    fx.ReplyApi: lambda agent, effect: agent._api.reply(effect.route, effect.reply),
    fx.DeleteItem: Agent._delete_item,
    fx.KeepDownloaded: lambda agent, effect: agent._kept.keep_downloaded(effect.items),
    fx.CollectSeeds: Agent._collect_seeds,
    fx.Stop: lambda agent, _: agent._stop(),
}
