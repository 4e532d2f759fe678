"""What the processes of a simulated world must agree on, a moment after it changed. Pure.

Between the three processes of a peer: what is shared and fetched is served, announced and worked on, and nothing else.
Between a receiver and a source, where no message was lost: what one waits for the other is to send, and as many pieces
may come as may be sent. A difference is nothing, as it takes a message to settle it; one that stays, though nothing
disturbs anybody, is a bug.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from broker import queries
from broker.effects import Reply
from cluster.simulated.disk import SimulatedDisk
from cluster.simulated.downloader import DownloaderProcess
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.peer import Peer
from cluster.simulated.piece_server import PieceServerProcess
from cluster.simulated.relays import Relays
from cluster.simulated.store import staged
from cluster.simulated.tracker import LookupProcess
from cluster.simulated.world import World
from node.agent.core import AgentCore
from node.downloader.download import Download
from node.downloader.source import Source, SourceState
from node.local_messages import Fetch, Mend
from node.piece_server.shelf import Shelf
from node.piece_server.swarm import Session
from node.piece_server.uploads import Uploads
from protocol.messages import (
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    LookupRequest,
    PeerList,
    SeederList,
    TorrentList,
)

LOOK_SECONDS = 0.25
LOCAL_SECONDS = 1.25
"""How long processes of one machine may differ: a hello a second finds out who was started again."""
SYNC_SECONDS = 5.0
"""How long what was written may not be durable: a sync every 2 s, after what the disk is at."""
DISTANT_SECONDS = 0.75
"""How long the two ends of a session may differ while nothing is queued between them: news are told at once."""
BUDGET_SECONDS = 15.0
"""How long a source may have no credit where the rate is not limited: the disk may be behind."""
STALLED_SECONDS = 65.0
"""How long what is owed may not come, where the rate is not limited."""
PROMISED_SECONDS = 65.0
"""How long a receiver may wait for what one source has promised and another one, which is idle, has, while its own link
has room."""
IDLE_SECONDS = 1.0
"""Who has nothing to send for so long has told everybody what it has."""


class Agreement:
    """In ``world``, looked at from `start` on. Peers named in ``liars`` agree with nobody."""

    def __init__(self, world: World, liars: Collection[str], relays: Relays) -> None:
        self._world, self._liars, self._relays = world, liars, relays
        self._since: dict[str, float] = {}
        self._runs: dict[str, tuple[int, ...]] = {}
        self._undisturbed: dict[str, None] = {}
        self._unreachable: dict[tuple[PieceServerProcess, bytes], float] = {}

    def start(self) -> None:
        self._world.clock.after(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self._world.now
        for tracker in self._world.trackers:
            for lookup in tracker.lookups:
                check_answers(lookup, self._world)
        peers = [peer for peer in self._world.peers.values() if peer.name not in self._liars]
        self._undisturbed = dict.fromkeys(peer.name for peer in peers if self._is_undisturbed(peer))
        since: dict[str, float] = {}
        for what, seconds in self._differences():
            began = since[what] = self._since.get(what, now)
            if now - began > seconds:
                raise BrokenInvariantError(f"for {now - began:.1f} s, {what}")
        self._since = since
        self._world.clock.after(LOOK_SECONDS, self._look)

    def _differences(self) -> Iterator[tuple[str, float]]:
        """What differs, and for how long it may."""
        for name in self._undisturbed:
            peer = self._world.peers[name]
            assert peer.downloader is not None
            for what in _within(peer):
                yield f"{name} {what}", LOCAL_SECONDS
            for what in _unsynced(peer):
                yield f"{name} {what}", SYNC_SECONDS
            for what, seconds in self._with_sources(peer.downloader):
                yield f"{name} {what}", seconds
            assert peer.piece_server is not None
            for what, seconds in self._relays.differences(peer.piece_server):
                yield f"{name} {what}", seconds
            self._check_unreachable(peer.piece_server)

    def _is_undisturbed(self, peer: Peer) -> bool:
        """Whether the same three processes are at work as at the last look, and nothing slows its links."""
        processes = peer.processes()
        runs = tuple(id(process) for process in processes if not process.paused)
        before, self._runs[peer.name] = self._runs.get(peer.name), runs
        port = peer.net.port
        return len(runs) == 3 and runs == before and (port.up.capacity, port.down.capacity) == peer.machine_rates

    # --- the two ends of a session -----------------------------------------------------------------------

    def _with_sources(self, process: DownloaderProcess) -> Iterator[tuple[str, float]]:
        for job in process.core.jobs.values():
            if job.download is None:
                continue
            idle: list[Source] = []
            for source in job.download.sources:
                end = self._other_end(process, source)
                if end is None or source.state is not SourceState.READY:
                    continue
                if source.idle and not source.snubs and not source.gets:
                    idle.append(source)
                yield from _differences_with(*end, source, job.download)
                credit = _credit_difference(*end, source)
                if credit and not self._is_in_flight(process, source):
                    where = f"{end[0].name} (session {source.session})"
                    yield f"has given {where} credit, which counts {credit:+} pieces", DISTANT_SECONDS
                if not source.credit and not process.budget.bucket.rate:
                    yield f"gives {source.entry.name} (session {source.session}) no credit", BUDGET_SECONDS
            down = process.peer.net.port.down
            has_room = not process.budget.bucket.rate and down.load < down.capacity / 2
            for piece, source in job.download.pieces.promised.items() if has_room else ():
                if any(one is not source and piece in one.bits for one in idle):
                    yield (
                        f"waits for piece {piece} that {source.entry.name} promised, and others have",
                        PROMISED_SECONDS,
                    )

    def _other_end(self, process: DownloaderProcess, source: Source) -> tuple[PieceServerProcess, bytes] | None:
        """Who is at the other end, and the route there; None when that is nobody honest, something was lost, or there
        is a queue of what is said and sent."""
        connection = process.links.connection(source.session)
        if connection is None or connection.listener is None or self._world.network.is_half_open(connection):
            return None
        if any(lane.refused or lane.holds or len(lane) for lane in (connection.to_server, connection.to_client)):
            return None
        server = connection.listener.process
        known = connection.listener.routes.get(connection.route) is connection
        if not known or not isinstance(server, PieceServerProcess) or server.peer.name not in self._undisturbed:
            return None
        return server, connection.route

    def _is_in_flight(self, process: DownloaderProcess, source: Source) -> bool:
        """Whether something is on its way to the source: credit that is given back a little after its piece was
        acknowledged may be so at each look."""
        connection = process.links.connection(source.session)
        return connection is not None and connection.to_server.arrives_at >= self._world.now

    def _check_unreachable(self, server: PieceServerProcess) -> None:
        """Who was sent something when it was not to be reached any more has no session."""
        now, routes = self._world.now, server.listener.routes
        sessions = server.core.uploads._sessions  # the books of a core are open to this alone
        for route in dict.fromkeys(route for route, _ in sessions):
            if route in routes:
                continue
            since = self._unreachable.setdefault((server, route), now)
            for (other, _), session in sessions.items():
                if other == route and session.on_way and session.on_way[-1].at > since:
                    raise BrokenInvariantError(f"{server.name} sends pieces to nobody")


def _differences_with(
    server: PieceServerProcess, route: bytes, source: Source, download: Download
) -> Iterator[tuple[str, float]]:
    """Between a receiver and the piece server at the other end of ``route``, and for how long each may last."""
    session = server.core.uploads._sessions.get((route, source.session))
    where = f"{server.name} (session {source.session})"
    if session is None:
        yield f"takes {where} for a source, which does not know it", DISTANT_SECONDS
        return
    owed = _owed(session)
    for piece in [*source.gets, *source.promised]:
        if piece not in owed and not (piece in session.sent and session.on_way):
            yield f"waits for piece {piece} of {where}, which is not to send it", DISTANT_SECONDS
    asked = source.asked - session.asked
    if asked > 0 and len(session.on_way) == source.arrived:
        yield f"waits for {where} to assign pieces, which counts {asked} less", DISTANT_SECONDS
    spare = server.core.uploads._uplink.spare
    gives_way = session in spare.waiting and spare.taken >= spare.least  # to pieces that others relay
    if session.credit and owed and not gives_way:
        turn = _turn_seconds(server.core.uploads, session.swarm.piece_length)
        yield f"is owed piece {owed[0]} by {where}, which has credit", STALLED_SECONDS + turn
    yield from _of_status(server, session, source, download)


def _turn_seconds(uploads: Uploads, piece_length: int) -> float:
    """How long a limited rate takes for a piece to each session."""
    rate = uploads._uplink.bucket.rate
    return len(uploads._sessions) * piece_length / rate if rate else 0.0


def _credit_difference(server: PieceServerProcess, route: bytes, source: Source) -> int:
    """How many pieces more the source counts that it may send, or has sent, than the receiver expects."""
    session = server.core.uploads._sessions.get((route, source.session))
    if session is None:
        return 0
    return session.credit + len(session.on_way) - source.arrived - source.credit


def _of_status(
    server: PieceServerProcess, session: Session, source: Source, download: Download
) -> Iterator[tuple[str, float]]:
    """Between what the source said last in a `Status` and what it would say."""
    uploads, where = server.core.uploads, f"{server.name} (session {source.session})"
    if source.alone and len(session.swarm.sessions) > 1:
        yield f"takes itself for the only receiver of {where}", DISTANT_SECONDS
    if session.swarm.has_stock_for(session) and not source.stock:
        yield f"does not know that {where} has pieces to assign", STALLED_SECONDS
    if uploads._sending.idle_since is not None and server.clock.now - uploads._sending.idle_since > IDLE_SECONDS:
        if not source.idle:
            yield f"does not know that {where} has nothing to send", DISTANT_SECONDS
        for piece in session.swarm.have.without(source.bits).without(download.have).indices():
            yield f"does not know that {where} has piece {piece}", DISTANT_SECONDS


def _owed(session: Session) -> list[int]:
    """Pieces that it is to be sent, in order."""
    pushed = session.swarm.relayed[session.position :] if session.follows else []
    return [*session.wanted, *(piece for piece in pushed if piece not in session.skip)]


# --- the processes of a peer -----------------------------------------------------------------------------


def _unsynced(peer: Peer) -> Iterator[str]:
    """What is written and not durable, of downloads that are going on."""
    assert peer.downloader is not None
    assert peer.agent is not None
    for job in peer.agent.core.jobs.active("get"):
        partial = peer.disk.partials.get(staged(job.path))
        if job.phase == "downloading" and partial is not None and job.digest in peer.downloader.core.jobs:
            for piece in partial.dirty:
                yield f"has not synced piece {piece} of {job.name}"


def _within(peer: Peer) -> Iterator[str]:
    """Differences between the processes of ``peer``, which all live."""
    assert peer.agent is not None
    assert peer.piece_server is not None
    assert peer.downloader is not None
    agent, shelf = peer.agent.core, peer.piece_server.shelf
    if agent.serving != peer.piece_server.core.uploads.serving:
        yield f"is to serve: {agent.serving}, and does: {not agent.serving}"
    yield from _of_shared(agent, shelf)
    yield from _of_relayed(peer.downloader, peer.piece_server)
    yield from _of_fetched(agent, peer.downloader, shelf, peer.disk)
    jobs, partials, whole = peer.downloader.core.jobs, shelf.partials(), shelf.items()
    for entry in agent.trackers.list.entries():
        if entry.holding == "whole" and entry.digest not in whole:
            yield f"announces {entry.name} and does not serve it"
        elif entry.holding == "partial" and entry.digest not in [*partials, *whole]:
            fetch = jobs.get(entry.digest)
            if fetch is not None and fetch.download is not None:  # otherwise it is looking what there is
                yield f"announces some of {entry.name} and does not serve it"


def _of_shared(agent: AgentCore, shelf: Shelf) -> Iterator[str]:
    served = shelf.items()
    kept = [item for item in agent.catalogue.items() if not item.state]
    shared = {item.digest: item.name for item in [*kept, *agent.catalogue.earlier()]}
    for digest, name in shared.items():
        if digest not in served:
            yield f"shares {name} and does not serve it"
    for digest in served:
        if digest not in shared:
            yield f"serves {digest}, which it does not share"


def _of_relayed(process: DownloaderProcess, server: PieceServerProcess) -> Iterator[str]:
    """How many pieces the downloader may have assigned, and how many it was."""
    for digest, job in process.core.jobs.items():
        swarm, download = server.core.uploads._swarms.get(digest), job.download
        if swarm is None or download is None or job.ended or digest in server.shelf.items():
            continue
        if swarm.room != download._assignments.room:
            yield f"has room for {swarm.room} pieces of {job.fetch.name} to relay, not for {download._assignments.room}"
        told = len(swarm.relayed) - swarm.relayed_before
        relays = download._assignments.relays - sum(one.relay for one in download.pieces.writing.values())
        if relays != told:
            yield f"relays {told} pieces of {job.fetch.name}, and its downloader counts {relays}"


def _of_fetched(agent: AgentCore, process: DownloaderProcess, shelf: Shelf, disk: SimulatedDisk) -> Iterator[str]:
    jobs, whole = process.core.jobs, shelf.items()
    wanted: dict[str, Fetch | Mend] = {**agent.gets.digests, **agent.mends.digests}
    for digest, download in wanted.items():
        if digest not in jobs:
            yield f"is to get {download.name} and does not"
    for digest, job in jobs.items():
        if digest not in wanted and not job.ended:
            yield f"gets {job.fetch.name} for nobody"
    for digest in shelf.partials():
        if digest not in jobs and digest not in whole:
            yield f"serves some of {digest}, and gets it no more"
    yield from _of_growing(agent, process, shelf, disk)


def _of_growing(agent: AgentCore, process: DownloaderProcess, shelf: Shelf, disk: SimulatedDisk) -> Iterator[str]:
    """Between what downloads have and what of it is served."""
    jobs, whole = process.core.jobs, shelf.items()
    for known in agent.jobs.active("get"):
        running = jobs.get(known.digest)
        if running is None or running.download is None or known.digest in whole or known.phase != "downloading":
            continue
        book = shelf._books.get(known.digest)  # to ask for it would open it
        if book is None:
            continue
        root, have = staged(running.fetch.dest), running.download.have
        unserved = have.without(book.bits).indices()  # a bit that was flipped may have been found by a receiver
        if book.bits.without(have).count_set:
            yield f"serves what it has not of {known.name}"
        for piece in unserved:
            if (root, piece) not in disk.flipped:
                yield f"does not serve piece {piece} of {known.name}"


# --- what lookups say ------------------------------------------------------------------------------------


def check_answers(lookup: LookupProcess, world: World) -> None:
    """Who has what, and who is there, is answered as the lookup's replica knows it."""
    registry = lookup.core.replica.registry
    if registry is None or not lookup.alive:
        return
    for content in world.contents.values():
        swarm = registry.swarms.get(content.digest)
        sources = list(swarm.sources) if swarm is not None else []
        answer = _ask(lookup, GetSeederList(1, content.digest), world.now)
        assert isinstance(answer, SeederList)
        named = [seeder.peer for seeder in answer.seeders]
        right = set(named) <= set(sources) and len(named) == min(len(sources), vars(queries)["SEEDERS_COUNT_MAX"])
        if answer.total != len(sources) or not right:
            raise BrokenInvariantError(f"{lookup.name} names {named} for {content.name}, not {sources}")
        whole = swarm.whole if swarm is not None else 0
        listed = _pages(lookup, GetTorrentList(1, content.digest), world.now)
        assert all(isinstance(page, TorrentList) for page in listed)
        counts = [entry.have for page in listed if isinstance(page, TorrentList) for entry in page.entries]
        if counts != [whole] * len(counts) or bool(counts) != (swarm is not None):
            raise BrokenInvariantError(f"{lookup.name} counts {counts} seeders of {content.name}, not {whole}")
    pages = _pages(lookup, GetPeerList(1), world.now)
    peers = [entry.peer for page in pages if isinstance(page, PeerList) for entry in page.peers]
    if peers != sorted(registry.members):
        raise BrokenInvariantError(f"{lookup.name} lists {peers}, and there are {sorted(registry.members)}")


def _pages(lookup: LookupProcess, request: GetTorrentList | GetPeerList, now: float) -> list[TorrentList | PeerList]:
    """The whole answer."""
    found: list[TorrentList | PeerList] = []
    while not found or found[-1].next:
        after = found[-1].next if found else ""
        page = _ask(lookup, msgspec.structs.replace(request, after=after), now)
        assert isinstance(page, TorrentList | PeerList)
        found.append(page)
    return found


def _ask(lookup: LookupProcess, request: LookupRequest, now: float) -> object:
    effects = lookup.core.handle(b"somebody", request, now)
    assert len(effects) == 1
    assert isinstance(effects[0], Reply)
    return effects[0].message
