"""The agent of a simulated peer: the real one over the simulated machine. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from pathlib import PurePosixPath
from random import Random
from typing import Any

import msgspec

from cluster.simulated.content import described
from cluster.simulated.host import PeerMachine, SimulatedHost
from cluster.simulated.process import Process
from cluster.simulated.store import shared_item, store_seed
from node.agent.core import AgentCore
from node.agent.disk_work import Cancelled, HashedItem, Progress, StoredSeed
from node.agent.effects import DELETED, Downloaded, HashPath, PrepareOrder, ScanShares, StoreSeed
from node.agent.folders import Listing
from node.agent.library import KeptOrders, LibraryItem
from node.agent.process import Agent
from node.agent.share_scan import Scanned
from node.agent.state import AgentTerms
from node.api_messages import ApiRequest
from node.disk.errors import StoppedError
from node.disk.share_options import NOTHING
from node.local_messages import Fetch, Sources, Unused
from node.schedule import Override
from protocol.errors import NotFoundError
from protocol.limits import CONTENT_BYTES_MAX
from protocol.link import Link
from protocol.manifest import manifest_digest
from protocol.messages import Roster, SourceAdded, SourceRemoved

SCAN_SECONDS = 2.0


class AgentProcess(Process):
    """``instance`` names this run; ``rng`` is its own."""

    def __init__(self, peer: PeerMachine, instance: int, rng: Random) -> None:
        super().__init__(peer.network.clock, f"{peer.name} agent", peer.turn_seconds)
        self.peer = peer
        terms = AgentTerms(
            peer=peer.identity,
            name=peer.name,
            tokens=dict.fromkeys(peer.trackers, peer.token),
            advertise="tcp://*:0",
            algorithm="blake3",
            share=(),
            scan_seconds=SCAN_SECONDS,
            instance=instance,
            pid=1,
            limits=peer.terms.limits,
            override=peer.override,
            downloaded=tuple(peer.disk.downloaded),
            rollouts=peer.terms.rollouts,
        )
        self.core = AgentCore(terms, list(peer.disk.items.values()), 0.0, rng, peer.away)
        self._agent = _HardOfHearing(peer, self, rng)
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        return self._agent.tick(now)

    def asked(self, request: ApiRequest) -> None:
        """The command line asks."""
        self._agent.asked(b"person", request, self.clock.now)


class _HardOfHearing(Agent):
    """It hears of the sources that its machine hears of."""

    def __init__(self, peer: PeerMachine, process: AgentProcess, rng: Random) -> None:
        self._peer = peer
        host, disk = SimulatedHost(peer, process), SimulatedAgentDisk(peer)
        rng = Random(rng.getrandbits(64))
        super().__init__(host, process.core, disk, rng, peer.stopped, lambda: 0, hears=self._hears)

    def _hears(self, number: int, event: Roster) -> bool:
        follower, change = self.core.trackers.all[number].follower, event.event
        if (
            isinstance(change, SourceAdded | SourceRemoved)
            and (event.epoch, event.seq) == (follower.epoch, follower.seq + 1)
            and not self._peer.hears_of(change.peer)
        ):
            follower.seq = event.seq  # as if it had been lost where nobody minds
            return False
        return True

    def _tell(self, role: str, message: Any) -> None:
        if isinstance(message, Sources):
            heard = [one for one in message.seeders if self._peer.hears_of(one.peer)]
            is_grid = self._peer.terms.hears_of >= 1  # with a few of a row and a column there is none
            grid = (message.cell, message.cells) if is_grid else (None, 0)
            message = Sources(message.digest, heard, None, *grid)
        super()._tell(role, message)


class SimulatedAgentDisk:
    """`node.agent.process.AgentDisk` of ``peer``."""

    def __init__(self, peer: PeerMachine) -> None:
        self._peer, self._disk, self._clock = peer, peer.disk, peer.network.clock

    def downloads(self) -> list[Fetch]:
        return list(self._disk.downloads.values())

    def put_item(self, item: LibraryItem) -> None:
        self._disk.save_item(item, self._clock.now)

    def remove_item(self, path: str) -> None:
        self._disk.forget_item(path, self._clock.now)

    def put_download(self, download: Fetch) -> None:
        self._disk.save_download(download, self._clock.now)

    def remove_download(self, dest: str) -> None:
        self._disk.forget_download(dest, self._clock.now)

    def orders(self) -> KeptOrders:
        return self._peer.orders

    def keep_orders(self, orders: KeptOrders) -> None:
        self._peer.orders = orders

    def keep_away(self, away: bool) -> None:
        self._peer.away = away

    def keep_limits(self, override: Override | None) -> None:
        self._peer.override = override

    def hash_item(self, request: HashPath, progress: Progress, cancelled: Cancelled) -> HashedItem:
        del progress
        disk, path, known = self._disk, request.path, request.known
        file = disk.files.get(path)
        if file is None:
            raise NotFoundError(f"{path} is gone")
        if cancelled():
            raise StoppedError(f"{path}: cancelled")
        if known is not None and self.item_problem(known) == "":
            return HashedItem(msgspec.structs.replace(known, fingerprint=file.stamps), NOTHING, "")
        was = file.manifest
        disk.busy(was.length)
        pieces = tuple(file.pieces[piece] for piece in range(was.piece_count))
        content = described(posixpath.basename(path), was.length, was.piece_length, pieces)
        disk.on_hashed(content)
        before = request.before
        same = before is None or before.digest == content.digest or before.stamps != file.stamps
        return HashedItem(shared_item(disk, path, request.origin, content), NOTHING, "" if same else "some of it")

    def keep_seed(self, request: StoreSeed) -> StoredSeed:
        manifest = self._disk.decode(request.seed)
        digest = manifest_digest(request.seed, manifest.algorithm)
        link = Link(manifest.digest, digest, request.name, manifest.length)
        return StoredSeed(link, store_seed(self._disk, request.seed))

    def delete_item(self, item: LibraryItem, rest: bool) -> str:
        problem = self.item_problem(item)
        if rest:
            return "" if problem == DELETED else "it is there"
        if not problem:
            del self._disk.files[item.path]
        return problem

    def keep_downloaded(self, items: list[Downloaded]) -> None:
        self._disk.downloaded = items

    def collect_seeds(self, used: Collection[str], dry_run: bool) -> list[Unused]:
        seeds = self._disk.seeds
        found = [
            Unused("seed", path, len(data)) for path, data in seeds.items() if PurePosixPath(path).stem not in used
        ]
        for unused in [] if dry_run else found:
            del seeds[unused.path]
        return found

    def item_problem(self, item: LibraryItem) -> str:
        file = self._disk.files.get(item.path)
        if file is None:
            return DELETED
        return "" if file.stamps == item.stamps else "it changed"

    def look(self, request: ScanShares) -> Scanned:
        files = self._disk.files
        entries = {path: files[path].stamps for path in request.paths if path in files}
        return Scanned(Listing(entries), self._clock.now)

    def prepare_place(self, request: PrepareOrder) -> str:
        return posixpath.join(request.base, request.order.directory)

    def free_bytes(self, base: str) -> int:
        del base
        return int(min(self._disk.free(), CONTENT_BYTES_MAX))
