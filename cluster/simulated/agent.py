"""The agent of a simulated peer: the real core over the simulated network and disk. Pure.

Here stands what the shell `node.agent.process` does with sockets, threads and the library's database.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec

from cluster.simulated.content import described
from cluster.simulated.host import PeerMachine, SimulatedHost
from cluster.simulated.process import Process
from cluster.simulated.redialler import Redialler
from cluster.simulated.store import seed_path, store_seed
from node.agent import effects as fx
from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent.core import AgentCore, AgentTerms
from node.agent.folders import Listing
from node.agent.library import LibraryItem
from node.local_messages import AGENT_SOCKET, ApiReply, ApiRequest, Hello, Sources
from protocol.endpoints import host_of
from protocol.errors import ZswarmError
from protocol.link import Link
from protocol.manifest import manifest_digest
from protocol.messages import SourceAdded, SourceRemoved

LOOK_SECONDS = 1e-3
"""What a short look at the disk takes."""
SCAN_SECONDS = 2.0
LOST = "connection lost"


class AgentProcess(Process):
    """``instance`` names this run; ``rng`` is its own. What it answers the command line goes to ``replies``."""

    def __init__(self, peer: PeerMachine, instance: int, rng: Random) -> None:
        super().__init__(peer.network.clock, f"{peer.name} agent", peer.turn_seconds)
        self.peer = peer
        self.replies: list[ApiReply] = []
        self._siblings = SimulatedHost(peer, self).listen_local(AGENT_SOCKET, None, self.child_says)
        self._children: dict[str, bytes] = {}
        self._cancelled: dict[str, None] = {}
        terms = AgentTerms(
            peer=peer.identity,
            token=peer.token,
            name=peer.name,
            tracker=peer.tracker,
            advertise="tcp://*:0",
            algorithm="blake3",
            share=(),
            scan_seconds=SCAN_SECONDS,
            instance=instance,
            pid=1,
        )
        disk = peer.disk
        self.core = AgentCore(terms, list(disk.items.values()), 0.0, rng, peer.away)
        self._lookup: Redialler | None = None
        self._roster: Redialler | None = None
        self._registrar = Redialler(
            peer.network, peer.net, self, peer.tracker, self._on_registrar, self._on_registrar_connected
        )
        self._perform(self.core.start(list(disk.downloads.values()), self.clock.now))
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        self._perform(self.core.tick(now))
        return self.core.next_deadline()

    def child_says(self, route: bytes, message: Any) -> None:
        """A process of the peer says something; answers go to the run that said hello last."""
        if isinstance(message, Hello):
            self._children[message.role] = route
        self._perform(self.core.child_says(message, self.clock.now))

    def asked(self, request: ApiRequest) -> None:
        """The command line asks."""
        self._perform(self.core.api_says(b"person", request, self.clock.now))

    # --- what arrives ------------------------------------------------------------------------------------

    def _on_registrar(self, reply: Any) -> None:
        self._perform(self.core.registrar_says(reply, self.clock.now))

    def _on_registrar_connected(self, connected: bool) -> None:
        if connected:
            self._perform(self.core.registrar_connected(host_of(self.peer.tracker), self.clock.now))
        else:
            self._perform(self.core.registrar_lost(LOST, self.clock.now))

    def _on_lookup(self, reply: Any) -> None:
        self._perform(self.core.lookup_says(reply, self.clock.now))

    def _on_lookup_connected(self, connected: bool) -> None:
        if connected:
            self._perform(self.core.lookup_connected(self.clock.now))
        else:
            self._perform(self.core.lookup_lost(LOST, self.clock.now))

    def _on_roster(self, roster: Any) -> None:
        follower, event = self.core.follower, roster.event
        if (
            isinstance(event, SourceAdded | SourceRemoved)
            and (roster.epoch, roster.seq) == (follower.epoch, follower.seq + 1)
            and not self.peer.hears_of(event.peer)
        ):
            follower.seq = roster.seq  # as if it had been lost where nobody minds
        else:
            self._perform(self.core.roster_says(roster, self.clock.now))

    def _on_subscribed(self, connected: bool) -> None:
        """A subscriber is told nothing of its connection."""

    # --- what is to be done ------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _dial(self, effect: lk.Dial) -> None:
        if self._lookup is not None:
            self._lookup.close()
        peer = self.peer
        self._lookup = Redialler(
            peer.network, peer.net, self, effect.endpoint, self._on_lookup, self._on_lookup_connected
        )

    def _ask(self, effect: lk.Ask) -> None:
        assert self._lookup is not None
        self._lookup.send(effect.message)

    def _subscribe(self, effect: fx.Subscribe) -> None:
        if self._roster is not None:
            if self._roster.endpoint == effect.endpoint:
                return
            self._roster.close()
        peer = self.peer
        self._roster = Redialler(peer.network, peer.net, self, effect.endpoint, self._on_roster, self._on_subscribed)

    def _to_piece_server(self, effect: fx.ToPieceServer) -> None:
        child = self._children.get("piece_server")
        if child is not None:
            self._siblings.send(child, effect.message)

    def _to_downloader(self, effect: fx.ToDownloader) -> None:
        child, message = self._children.get("downloader"), effect.message
        if child is None:
            return
        if isinstance(message, Sources):
            message = Sources(message.digest, [one for one in message.seeders if self.peer.hears_of(one.peer)])
        self._siblings.send(child, message)

    def _later(self, call: Callable[..., None], *args: object) -> None:
        """A thread does it, and what it found comes back a moment later."""
        self.clock.after(LOOK_SECONDS, self.receive, call, *args)

    def _hash(self, request: fx.HashPath) -> None:
        file = self.peer.disk.files.get(request.path)
        if file is not None and (request.known is None or self._item_problem(request.known)):
            self.peer.disk.busy(file.manifest.length)
        self.clock.after(LOOK_SECONDS + self.peer.disk.take_seconds(), self.receive, self._hashed, request)

    def _hashed(self, request: fx.HashPath) -> None:
        disk, path, now = self.peer.disk, request.path, self.clock.now
        file = disk.files.get(path)
        if file is None or self._cancelled.pop(path, 0) is None:
            code = "not_found" if file is None else "cancelled"
            self._perform(self.core.hash_failed(path, code, f"{path}: {code}", now))
            return
        if request.known is not None and self._item_problem(request.known) == "":
            known = msgspec.structs.replace(request.known, fingerprint=file.stamps)
            self._perform(self.core.hashed(path, known, now))
            return
        was = file.manifest
        pieces = tuple(file.pieces[piece] for piece in range(was.piece_count))
        content = described(posixpath.basename(path), was.length, was.piece_length, pieces)
        disk.seeds[seed_path(content.manifest_digest)] = content.seed
        item = LibraryItem(
            path=path,
            origin=request.origin,
            digest=content.digest,
            manifest=content.manifest_digest,
            name=content.name,
            length=was.length,
            seed_path=seed_path(content.manifest_digest),
            stamps=file.stamps,
            fingerprint=file.stamps,
        )
        self._perform(self.core.hashed(path, item, now))

    def _store_seed(self, request: fx.StoreSeed) -> None:
        self._later(self._seed_stored, request)

    def _seed_stored(self, request: fx.StoreSeed) -> None:
        now = self.clock.now
        try:
            path = store_seed(self.peer.disk, request.seed)
        except ZswarmError as error:
            self.core.seed_refused(request.job, error.code, str(error), now)
            return
        manifest = self.peer.disk.decode(request.seed)
        digest = manifest_digest(request.seed, manifest.algorithm)
        link = Link(manifest.digest, digest, request.name, manifest.length)
        self._perform(self.core.seed_stored(request.job, link, path, now))

    def _check(self, request: fx.CheckItem) -> None:
        self._later(self._checked, request.item)

    def _checked(self, item: LibraryItem) -> None:
        self._perform(self.core.item_checked(item, self._item_problem(item), self.clock.now))

    def _item_problem(self, item: LibraryItem) -> str:
        """As `node.agent.disk_work.item_problem`."""
        file = self.peer.disk.files.get(item.path)
        if file is None:
            return "it was deleted"
        return "" if file.stamps == item.stamps else "it changed"

    def _scan(self, request: fx.ScanShares) -> None:
        self._later(self._scanned, request, self.clock.now)

    def _scanned(self, request: fx.ScanShares, began: float) -> None:
        files = self.peer.disk.files
        entries = {path: files[path].stamps for path in request.paths if path in files}
        self._perform(self.core.scanned(Listing(entries), began, self.clock.now))

    def _keep_away(self, effect: fx.KeepAway) -> None:
        self.peer.away = effect.away

    def _note(self, effect: fx.Note) -> None:
        self.peer.note(self.name, effect.text)

    def _send(self, effect: mb.Send) -> None:
        self._registrar.send(effect.message)

    def _save_item(self, effect: fx.SaveItem) -> None:
        self.peer.disk.save_item(effect.item, self.clock.now)

    def _forget_item(self, effect: fx.ForgetItem) -> None:
        self.peer.disk.forget_item(effect.path, self.clock.now)

    def _save_download(self, effect: fx.SaveDownload) -> None:
        self.peer.disk.save_download(effect.download, self.clock.now)
        self._perform(self.core.download_saved(effect.download, self.clock.now))

    def _forget_download(self, effect: fx.ForgetDownload) -> None:
        self.peer.disk.forget_download(effect.dest, self.clock.now)

    def _cancel_hash(self, effect: fx.CancelHash) -> None:
        self._cancelled[effect.path] = None

    def _reply(self, effect: fx.ReplyApi) -> None:
        self.replies.append(effect.reply)

    def _stop(self, _effect: fx.Stop) -> None:
        self.peer.stopped()


_PERFORM: dict[type, Callable[[AgentProcess, Any], None]] = {
    fx.Note: AgentProcess._note,
    mb.Send: AgentProcess._send,
    lk.Dial: AgentProcess._dial,
    lk.Ask: AgentProcess._ask,
    fx.Subscribe: AgentProcess._subscribe,
    fx.ToPieceServer: AgentProcess._to_piece_server,
    fx.ToDownloader: AgentProcess._to_downloader,
    fx.SaveItem: AgentProcess._save_item,
    fx.ForgetItem: AgentProcess._forget_item,
    fx.SaveDownload: AgentProcess._save_download,
    fx.ForgetDownload: AgentProcess._forget_download,
    fx.StoreSeed: AgentProcess._store_seed,
    fx.HashPath: AgentProcess._hash,
    fx.CancelHash: AgentProcess._cancel_hash,
    fx.CheckItem: AgentProcess._check,
    fx.ScanShares: AgentProcess._scan,
    fx.KeepAway: AgentProcess._keep_away,
    fx.ReplyApi: AgentProcess._reply,
    fx.Stop: AgentProcess._stop,
}
