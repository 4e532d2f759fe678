"""What must hold in a simulated world at every step, whatever goes wrong in it. Pure.

`watch` looks at everything that is served, written and published, and at the books of each process after each of its
turns. `check_settled` is for a world that has come to rest. Liars are not watched: what they do must hurt nobody else.
"""

from __future__ import annotations

from broker.registry import Registry
from cluster.simulated.agent import AgentProcess
from cluster.simulated.downloader import DownloaderProcess
from cluster.simulated.peer import Peer
from cluster.simulated.piece_server import PieceServerProcess
from cluster.simulated.process import Process
from cluster.simulated.tracker import LookupProcess, RegistrarProcess
from cluster.simulated.world import World
from protocol.bitfield import Bitfield
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX, UNDER_WAY_BYTES_MAX
from protocol.messages import Piece


class BrokenInvariantError(AssertionError):
    """Something happened that must never happen."""


class Invariants:
    """Of ``world``; peers named in ``liars`` are not watched."""

    def __init__(self, world: World, liars: tuple[str, ...] = ()) -> None:
        self._world = world
        self._liars = liars
        self._peers: dict[Process, Peer] = {}

    def watch(self) -> None:
        """Look at everything from now on. Call it before peers start."""
        world = self._world
        for peer in world.peers.values():
            if peer.name not in self._liars:
                self._watch_peer(peer)
        world.tracker.after_turn = self._after_turn
        for process in (world.tracker.registrar, *world.tracker.lookups):
            process.after_turn = self._after_turn

    def check_published(self) -> None:
        """Nothing stands under its final name with another digest."""
        for peer in self._world.peers.values():
            if peer.name not in self._liars:
                for path in peer.disk.files:
                    self._check_file(peer, path)

    # --- at every step -----------------------------------------------------------------------------------

    def _watch_peer(self, peer: Peer) -> None:
        peer.after_turn = self._after_turn
        peer.on_served = self._on_served
        peer.disk.on_write = lambda root, piece, data: self._on_write(peer, root, piece, data)
        told = peer.disk.published

        def published(path: str) -> None:
            self._check_file(peer, path)
            told(path)

        peer.disk.published = published

    def _on_served(self, peer: Peer, header: Piece, data: bytes) -> None:
        """No byte is served that was not verified; a bit that was flipped since then is the receiver's to notice."""
        if self._world.true_pieces.get(bytes(memoryview(data))) == header.piece:
            return
        if bytes(memoryview(data)) in peer.disk.flipped.values():
            return
        raise BrokenInvariantError(f"{peer.name} served piece {header.piece} unverified: {bytes(memoryview(data))!r}")

    def _on_write(self, peer: Peer, root: str, piece: int, data: bytes) -> None:
        """What is written was verified, and is not there already, noted as durable and good."""
        if self._world.true_pieces.get(data) != piece:
            raise BrokenInvariantError(f"{peer.name} wrote piece {piece} unverified: {data!r}")
        partial = peer.disk.partials.get(root)
        if partial is None or partial.durable.get(piece) != data:
            return
        entry = peer.disk.journal.get(partial.claim)
        if entry is not None and piece in Bitfield.from_bytes(entry.bits, self._pieces(partial.claim)):
            raise BrokenInvariantError(f"{peer.name} fetched piece {piece} again, though it was durable and noted")

    def _check_file(self, peer: Peer, path: str) -> None:
        file = peer.disk.files[path]
        content = self._world.contents[file.manifest.digest]
        if file.rewritten:
            return
        for piece, true in enumerate(content.stand_ins):
            found = file.pieces.get(piece)
            if found != true and peer.disk.flipped.get((path, piece)) != found:
                raise BrokenInvariantError(f"{peer.name} has {path} with piece {piece} wrong: {found!r}")

    def _pieces(self, digest: str) -> int:
        return self._world.contents[digest].manifest.piece_count

    def _after_turn(self, process: Process) -> None:
        if isinstance(process, PieceServerProcess):
            process.core.uploads.check_invariants()
        elif isinstance(process, DownloaderProcess):
            process.core.check_invariants()
            self._check_bounds(process)
        elif isinstance(process, LookupProcess):
            self._check_replica(process)
        elif isinstance(process, RegistrarProcess):
            process.core.check_invariants()

    def _check_bounds(self, process: DownloaderProcess) -> None:
        if process.budget.under_way > UNDER_WAY_BYTES_MAX:
            raise BrokenInvariantError(f"{process.name} has {process.budget.under_way} bytes under way")
        for job in process.core.jobs.values():
            if job.download is not None and len(job.download.sources) > SOURCES_PER_DOWNLOAD_COUNT_MAX:
                raise BrokenInvariantError(f"{process.name} has {len(job.download.sources)} sources")

    def _check_replica(self, process: LookupProcess) -> None:
        """A replica equals the registrar at the same place in the sequence."""
        registrar, replica = self._world.tracker.registrar, process.core.replica
        if not registrar.alive or replica.registry is None:
            return
        if (replica.epoch, replica.seq) == (registrar.epoch, registrar.core.seq):
            difference = _difference(registrar.core.registry, replica.registry)
            if difference:
                raise BrokenInvariantError(f"{process.name} differs from the registrar at {replica.seq}: {difference}")

    # --- at rest -----------------------------------------------------------------------------------------

    def check_settled(self) -> None:
        """Nothing has gone wrong for a while: the tracker knows what the peers would say, and nothing else."""
        world = self._world
        registry = world.tracker.registrar.core.registry
        joined = {}
        for peer in world.peers.values():
            agent = peer.agent
            if peer.powered and isinstance(agent, AgentProcess) and agent.core.membership.joined:
                joined[peer.identity] = peer
        strangers = [member for member in registry.members if member not in joined]
        if strangers and not self._liars:
            raise BrokenInvariantError(f"the registrar knows {strangers}, who are not in the network")
        for identity, peer in joined.items():
            if peer.name not in self._liars:
                self._check_member(registry, identity, peer)
        for lookup in world.tracker.lookups:
            replica = lookup.core.replica.registry
            difference = "it has no state" if replica is None else _difference(registry, replica)
            if difference:
                raise BrokenInvariantError(f"{lookup.name} differs from the registrar: {difference}")

    def _check_member(self, registry: Registry, identity: str, peer: Peer) -> None:
        assert peer.agent is not None
        member = registry.members.get(identity)
        if member is None:
            raise BrokenInvariantError(f"{peer.name} has joined, and the registrar does not know it")
        says = {entry.digest: entry.holding for entry in peer.agent.core.membership.list.entries()}
        known = {digest: registry.holding(identity, digest) for digest in member.listings}
        if says != known:
            raise BrokenInvariantError(f"{peer.name} would say {says}, and the registrar has {known}")


def _difference(registry: Registry, replica: Registry) -> str:
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
        (peer, digest): (registry.holding(peer, digest), listing.manifest, listing.name, listing.length)
        for peer, member in registry.members.items()
        for digest, listing in member.listings.items()
    }
