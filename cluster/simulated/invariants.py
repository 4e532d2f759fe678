"""What must hold in a simulated world at every step, whatever goes wrong in it. Pure.

`watch` looks at everything that is served, written, noted and published, and at the books of each process after each
of its turns. What is said between machines is `eavesdropper`'s; what holds a moment later `agreement`'s, what holds at
rest `settled`'s. Liars are not watched: what they do must hurt nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from broker.registry import Registry
from cluster.simulated.agent import AgentProcess
from cluster.simulated.downloader import DownloaderProcess
from cluster.simulated.eavesdropper import Eavesdropper
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.peer import Peer
from cluster.simulated.piece_server import PieceServerProcess
from cluster.simulated.process import Process
from cluster.simulated.relays import Relays
from cluster.simulated.store import staged
from cluster.simulated.tracker import LookupProcess, RegistrarProcess
from cluster.simulated.world import World
from node.disk.store import NOT_LOOKED_AT, JournalEntry
from node.downloader.download import Download
from protocol.bitfield import Bitfield
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX
from protocol.messages import Piece


class Invariants:
    """Of ``world``; peers named in ``liars`` are not watched."""

    def __init__(self, world: World, liars: Collection[str] = ()) -> None:
        self._world = world
        self._liars = liars
        self._bannable: dict[str, None] = {}
        """Identities of those who sent what was wrong, by their own fault or their disk's."""
        self._seats: dict[str, _Seats] = {}
        """By tracker."""
        self._reached: dict[LookupProcess, tuple[int, int]] = {}
        self.heard = Eavesdropper(world, liars)
        self.relays = Relays(world)

    def watch(self) -> None:
        """Look at everything from now on. Call it before peers start."""
        world = self._world
        honest = dict.fromkeys(peer.identity for peer in world.peers.values() if peer.name not in self._liars)
        liars = (peer.identity for peer in world.peers.values() if peer.name in self._liars)
        self._bannable = dict.fromkeys(identity for identity in liars if identity not in honest)
        for peer in world.peers.values():
            peer.on_served = self._on_served
            if peer.name not in self._liars:
                self._watch_peer(peer)
        self.heard.listen()
        self.relays.listen()
        for tracker in world.trackers:
            tracker.after_turn = self._after_turn
            for process in tracker.processes:
                process.after_turn = self._after_turn

    def check_published(self) -> None:
        """Nothing stands under its final name with another digest."""
        for peer in self._world.peers.values():
            if peer.name not in self._liars:
                for path in peer.disk.files:
                    self._check_file(peer, path)

    # --- what happens to the disk, and what leaves it ----------------------------------------------------

    def _watch_peer(self, peer: Peer) -> None:
        peer.after_turn = self._after_turn
        disk = peer.disk
        disk.on_write = lambda root, piece, data: self._on_write(peer, root, piece, data)
        disk.journal = _Journal(disk.journal, lambda entry: self._on_note(peer, entry))
        told = disk.published

        def published(path: str) -> None:
            self._check_file(peer, path, just_published=True)
            told(path)

        disk.published = published

    def _on_served(self, peer: Peer, route: bytes, header: Piece, data: bytes) -> None:
        """Nothing is served that is not in the books, and no byte that was not verified, but by liars; a bit that was
        flipped since then is the receiver's to notice. Whoever sends wrong bytes may be banned by the identity it goes
        by, be it another's."""
        said, piece, honest = bytes(memoryview(data)), header.piece, peer.name not in self._liars
        assert peer.piece_server is not None
        session = peer.piece_server.core.uploads._sessions.get((route, header.session))  # books open to this alone
        if session is not None:
            self.relays.sent(peer.piece_server, session, header)
        if session is not None and honest and (piece not in session.swarm.have or not session.on_way):
            raise BrokenInvariantError(f"{peer.name} sends piece {piece}, and does not hold or count it")
        if session is not None and self._world.is_right(session.swarm.digest, piece, said):
            return
        if honest and said not in peer.disk.flipped.values():
            raise BrokenInvariantError(f"{peer.name} served piece {piece} unverified: {said!r}")
        self._bannable[peer.identity] = None

    def _on_write(self, peer: Peer, root: str, piece: int, data: bytes) -> None:
        """What is written was verified, and is not there already, noted as durable and good, or right where it is to be
        mended."""
        if (file := peer.disk.files.get(root)) is not None and file.pieces[piece] == data:
            raise BrokenInvariantError(f"{peer.name} fetched piece {piece} again, though it was not wrong")
        partial, mended = peer.disk.partials.get(root), peer.disk.files.get(root)
        claim = partial.claim if partial is not None else mended.manifest.digest if mended is not None else ""
        if claim and not self._world.is_right(claim, piece, data):
            raise BrokenInvariantError(f"{peer.name} wrote piece {piece} unverified: {data!r}")
        if partial is None or partial.durable.get(piece) != data:
            return
        entry = peer.disk.journal.get(partial.claim)
        if entry is not None and piece in Bitfield.from_bytes(entry.bits, self._pieces(partial.claim)):
            raise BrokenInvariantError(f"{peer.name} fetched piece {piece} again, though it was durable and noted")

    def _on_note(self, peer: Peer, entry: JournalEntry) -> None:
        """What the journal names is durable, and was good when it was noted."""
        if entry.bits == NOT_LOOKED_AT:
            return
        root = staged(entry.dest)
        partial = peer.disk.partials.get(root)
        durable = partial.durable if partial is not None and partial.claim == entry.digest else {}
        true = self._world.contents[entry.digest].stand_ins
        for piece in Bitfield.from_bytes(entry.bits, len(true)).indices():
            found = durable.get(piece)
            if found is None or (found != true[piece] and found != peer.disk.flipped.get((root, piece))):
                raise BrokenInvariantError(f"{peer.name} noted piece {piece} as durable, which is {found!r}")

    def _check_file(self, peer: Peer, path: str, just_published: bool = False) -> None:
        """Bits that were flipped since are nobody's fault, and what people write over it is theirs."""
        file = peer.disk.files[path]
        content = self._world.contents[file.manifest.digest]
        if file.rewritten:
            return
        for piece, true in enumerate(content.stand_ins):
            found = file.pieces.get(piece)
            if found != true and (just_published or peer.disk.flipped.get((path, piece)) != found):
                raise BrokenInvariantError(f"{peer.name} has {path} with piece {piece} wrong: {found!r}")

    def _pieces(self, digest: str) -> int:
        return self._world.contents[digest].manifest.piece_count

    # --- after each turn of a process --------------------------------------------------------------------

    def _after_turn(self, process: Process) -> None:
        if not process.alive:
            return
        if isinstance(process, PieceServerProcess):
            self._check_uploads(process)
        elif isinstance(process, DownloaderProcess):
            process.core.check_invariants()
            self._check_bounds(process)
            self._check_bans(process)
            self._check_order(process)
        elif isinstance(process, AgentProcess):
            self._check_library(process)
        elif isinstance(process, LookupProcess):
            self._check_replica(process)
        elif isinstance(process, RegistrarProcess):
            process.core.check_invariants()
            self._check_seats(process)

    def _check_uploads(self, process: PieceServerProcess) -> None:
        uploads = process.core.uploads
        uploads.check_invariants()
        process.core.requests.check_invariants()
        for swarm in uploads._swarms.values():
            assigned = Counter(piece for session in swarm.sessions.values() for piece in session.assigned)
            twice = [piece for piece, count in assigned.items() if count > 1 or piece in swarm.in_stock]
            if twice:
                raise BrokenInvariantError(f"{process.name} has pieces {twice} relayed by more than one, or to assign")
        if not uploads.serving and uploads.next_deadline(process.clock.now) is not None:
            raise BrokenInvariantError(f"{process.name} has sessions, though it is to serve nobody")

    def _check_bounds(self, process: DownloaderProcess) -> None:
        budget, jobs = process.budget, process.core.jobs
        downloads = [job.download for job in jobs.values() if job.download is not None]
        under_way = sum(_under_way_bytes(download) for download in downloads)
        if budget.under_way != under_way:
            raise BrokenInvariantError(f"{process.name} counts {budget.under_way} bytes under way, not {under_way}")
        if under_way > 2 * budget.bytes_max + sum(map(_allowed_bytes, downloads)):
            raise BrokenInvariantError(f"{process.name} has {under_way} bytes under way, beside {budget.bytes_max}")
        for job in jobs.values():
            if job.download is not None and len(job.download.sources) > SOURCES_PER_DOWNLOAD_COUNT_MAX:
                raise BrokenInvariantError(f"{process.name} has {len(job.download.sources)} sources")

    def _check_bans(self, process: DownloaderProcess) -> None:
        """Who sent nothing wrong is banned by nobody, and who is banned is not asked again."""
        for job in process.core.jobs.values():
            banned = job.download.pool.banned if job.download is not None else None
            if job.download is None or not banned:
                continue
            for peer, reason in banned.items():
                if peer not in self._bannable:
                    raise BrokenInvariantError(f"{process.name} banned {peer}, who is honest: {reason}")
            for source in job.download.sources:
                if source.entry.peer in banned:
                    raise BrokenInvariantError(f"{process.name} uses {source.entry.name}, whom it banned")

    def _check_order(self, process: DownloaderProcess) -> None:
        """Who wants the pieces in order asks each source for the first that nobody is to send, and has none assigned,
        as those come in any order. A source that let a piece wait is asked for what only it has."""
        for job in process.core.jobs.values():
            download = job.download
            if download is None or not job.fetch.sequential:
                continue
            for source in download.sources:
                asked = max((piece for piece, at in source.gets.items() if at == process.clock.now), default=-1)
                first = next(download.pieces.open.both(source.bits).indices(), asked)
                if source.asked or (first < asked and not source.snubs):
                    what = f"piece {asked}, and not {first}," if first < asked else "any piece"
                    raise BrokenInvariantError(f"{process.name} asks {source.entry.name} for {what} out of order")

    def _check_library(self, process: AgentProcess) -> None:
        """What the agent knows is on disk, or a restart would lose it."""
        disk, core = process.peer.disk, process.core
        known = {download.dest: download for download in core.gets.digests.values()} | core.gets.interrupted
        if known != disk.downloads:
            what = f"{list(known)} under way or interrupted, and {list(disk.downloads)} in its library"
            raise BrokenInvariantError(f"{process.name} has {what}")
        items = {item.path: item for item in core.catalogue.items()}
        if items != disk.items:
            raise BrokenInvariantError(
                f"{process.name} shares {list(items)}, and has {list(disk.items)} in its library"
            )
        for item in items.values():
            file = disk.files.get(item.path)
            spoilt = file is None or file.rewritten or any(path == item.path for path, _ in disk.flipped)
            if file is not None and not spoilt and file.manifest.digest != item.digest:
                raise BrokenInvariantError(f"{process.name} takes {item.path} for {item.digest}")

    def _check_replica(self, process: LookupProcess) -> None:
        """A replica equals the registrar at the same place in the sequence, and does not go back in it."""
        registrar, replica = process.tracker.registrar, process.core.replica
        before, reached = self._reached.get(process, (0, 0)), (replica.epoch, replica.seq)
        self._reached[process] = reached
        if reached < before:
            raise BrokenInvariantError(f"{process.name} went back from {before} to {reached}")
        if not registrar.alive or replica.registry is None:
            return
        if reached == (registrar.epoch, registrar.core.seq):
            difference = registry_difference(registrar.core.registry, replica.registry)
            if difference:
                raise BrokenInvariantError(f"{process.name} differs from the registrar at {replica.seq}: {difference}")

    def _check_seats(self, process: RegistrarProcess) -> None:
        """A member's place is taken by nobody who has not its token, and by each run of a peer but once."""
        registry, name = process.core.registry, process.tracker.host.name
        seats = self._seats.get(name)
        if seats is None or process.epoch != seats.epoch:
            seats = self._seats[name] = _Seats(process.epoch)
        left_and_joined = registry.membership_changes - seats.changes > 1
        seats.changes = registry.membership_changes
        before, seats.endpoints = seats.endpoints, {one.peer: one.endpoint for one in registry.members.values()}
        for peer in before:
            if left_and_joined or peer not in seats.endpoints:
                seats.takeovers.pop(peer, None)
            elif before[peer] != seats.endpoints[peer]:
                self._check_takeover(seats, peer, before[peer], seats.endpoints[peer])

    def _check_takeover(self, seats: _Seats, identity: str, before: str, after: str) -> None:
        tokens = {peer.endpoint: peer.token for peer in self._world.peers.values()}
        if tokens.get(before) != tokens.get(after):
            raise BrokenInvariantError(f"{after} took the place of {before} as {identity}, without its token")
        count = seats.takeovers[identity] = seats.takeovers.get(identity, 0) + 1
        if count >= self.heard.runs(identity):
            raise BrokenInvariantError(
                f"{identity} changed places {count} times, with {self.heard.runs(identity)} runs"
            )


class _Seats:
    """Of one run of a registrar: ``endpoints`` of the members, by identity."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.changes = epoch, 0
        self.endpoints: dict[str, str] = {}
        self.takeovers: dict[str, int] = {}


def _under_way_bytes(download: Download) -> int:
    """What sources may send it, and what is being written; the books of a core are open to this alone."""
    return download.pieces.piece_length * (len(_senders(download)) + sum(source.credit for source in download.sources))


def _allowed_bytes(download: Download) -> int:
    """What it may have under way whatever others have: a piece of each source, and of each whose is being written."""
    peers = [source.entry.peer for source in download.sources]
    peers += _senders(download)
    return download.pieces.piece_length * len(dict.fromkeys(peers))


def _senders(download: Download) -> list[str]:
    """Of the pieces that are being written."""
    return [one.sender.peer for one in download.pieces.writing.values() if one.sender is not None]


class _Journal(dict[str, JournalEntry]):
    """Rows that are looked at before they are written."""

    def __init__(self, rows: dict[str, JournalEntry], look: Callable[[JournalEntry], None]) -> None:
        super().__init__(rows)
        self._look = look

    def __setitem__(self, digest: str, entry: JournalEntry) -> None:
        self._look(entry)
        super().__setitem__(digest, entry)


def registry_difference(registry: Registry, replica: Registry) -> str:
    """What a replica has else; empty when it is the same. Loads are told now and then only."""
    ours, theirs = {**_members(registry), **_entries(registry)}, {**_members(replica), **_entries(replica)}
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key) != theirs.get(key):
            return f"{key}: {ours.get(key)} here, {theirs.get(key)} there"
    return ""


def _members(registry: Registry) -> dict[object, object]:
    return {m.peer: (m.name, m.endpoint, m.whole, m.partial, m.requesting) for m in registry.members.values()}


def _entries(registry: Registry) -> dict[object, object]:
    return {
        (peer, digest): (registry.holding(peer, digest), registry.entry_event(peer, digest))
        for peer, member in registry.members.items()
        for digest in member.listings
    }
