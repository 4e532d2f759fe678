"""Swarms in a simulated world, for tests that tell what befalls them."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, inf, log2

from cluster.simulated.agreement import Agreement
from cluster.simulated.content import make_content
from cluster.simulated.host import PeerTerms
from cluster.simulated.invariants import Invariants
from cluster.simulated.peer import Peer
from cluster.simulated.world import Machine, Wish, World
from node.downloader.download import Download
from node.local_messages import DownloadReport
from protocol.limits import PIECE_BYTES_MIN

NO_TERMS = PeerTerms()


class Swarm:
    """``seed0``.. have the content, ``peer0``.. get it. A piece takes ``piece_seconds`` on an uplink and
    ``down_seconds`` on a downlink that it has for itself; 0: no time. ``delay`` is one way, in seconds. ``liars``
    are not watched, and nobody unless ``watched``: to look at the books in every turn takes longer than the turns."""

    def __init__(
        self,
        seeders: int,
        receivers: int,
        pieces: int,
        *,
        seed: int = 1,
        piece_seconds: float = 1.0,
        down_seconds: float = 0.0,
        delay: float = 0.005,
        liars: tuple[str, ...] = (),
        watched: bool = True,
    ) -> None:
        self.world = World(seed)
        self.delay = delay
        self.piece_seconds, self.down_seconds = piece_seconds, down_seconds
        self.content = make_content("data.bin", max(0, pieces * PIECE_BYTES_MIN - (100_000 if pieces else 0)))
        self.world.add_content(self.content)
        self.began = 0.0
        self.wishes: dict[str, Wish] = {}
        for number in range(seeders):
            self.world.give(self.add(f"seed{number}"), self.content)
        for number in range(receivers):
            self.add(f"peer{number}")
        if watched:
            invariants = Invariants(self.world, liars)
            invariants.watch()
            Agreement(self.world, liars, invariants.relays).start()

    def add(
        self, name: str, piece_seconds: float | None = None, disk_rate: float = inf, terms: PeerTerms = NO_TERMS
    ) -> Peer:
        """One more machine; its peer does not run yet."""
        up = PIECE_BYTES_MIN / (self.piece_seconds if piece_seconds is None else piece_seconds)
        down = PIECE_BYTES_MIN / self.down_seconds if self.down_seconds else inf
        return self.world.add_peer(name, Machine(up, down, self.delay / 2, disk_rate=disk_rate), terms)

    def peer(self, name: str) -> Peer:
        return self.world.peers[name]

    # --- what happens ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Everybody joins; then all that have nothing want it at the same moment."""
        for peer in self.world.peers.values():
            peer.start()
        everybody = len(self.world.peers)
        assert self.world.run(30.0, lambda: self.world.joined() == everybody)
        self.began = self.world.now
        for peer in self.world.peers.values():
            if not peer.disk.files:
                self.want(peer)

    def want(self, peer: Peer) -> None:
        self.wishes[peer.name] = self.world.want(peer, self.content)

    def join(self, name: str) -> Peer:
        """A newcomer, who wants it too."""
        peer = self.add(name)
        peer.start()
        self.want(peer)
        return peer

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        return self.world.run(self.world.now + seconds, stop)

    def run_until_done(self, seconds: float) -> None:
        """Everybody whose machine is on gets it within so long."""
        assert self.run(seconds, self.done), f"not done: {[name for name in self.wishes if not self.has(name)]}"

    def break_connection(self, name: str, other: str) -> None:
        """What is under way from ``other`` to ``name`` is lost; both notice."""
        for connection in list(self.world.network.connections()):
            if (connection.client.name, connection.server.name) == (name, other):
                self.world.network.break_up(connection)

    # --- figures -----------------------------------------------------------------------------------------

    @property
    def pieces(self) -> int:
        return self.content.manifest.piece_count

    @property
    def bound(self) -> float:
        """Seconds below which no schedule of one seeder gets the content to all receivers (Mundinger, Weber and Weiss,
        2008): each piece must leave the seeder, and the last one must double its way to everybody."""
        return (self.pieces + floor(log2(max(1, len(self.wishes))))) * self.piece_seconds

    def has(self, name: str) -> bool:
        return self.wishes[name].done_at is not None

    def done(self) -> bool:
        return all(wish.done_at is not None or not wish.peer.powered for wish in self.wishes.values())

    def last(self) -> float:
        """Seconds until the last one whose machine is on was done."""
        return max((wish.done_at or inf for wish in self.wishes.values() if wish.peer.powered), default=0) - self.began

    def report(self, name: str) -> DownloadReport:
        """What its downloader said last of its download."""
        agent = self.peer(name).agent
        assert agent is not None
        job = [job for job in agent.core.jobs.all() if job.kind == "get"][-1]
        assert job.download is not None
        return job.download

    def download(self, name: str) -> Download:
        """Its download, which is under way."""
        downloader = self.peer(name).downloader
        assert downloader is not None
        download = downloader.core.jobs[self.content.digest].download
        assert download is not None
        return download

    def received_ratio(self) -> float:
        """Bytes of pieces that came, as a multiple of what was needed, of all whose machine is on."""
        names = [name for name, wish in self.wishes.items() if wish.peer.powered]
        length = self.content.manifest.length
        return sum(self.report(name).received_bytes for name in names) / (len(names) * length)

    def sent_ratio(self, name: str) -> float:
        """Bytes of pieces it sent, as a multiple of the content's."""
        return self.peer(name).net.sent_bytes / self.content.manifest.length

    def banned(self) -> dict[str, list[str]]:
        """By name, whom it banned."""
        names = {peer.identity: peer.name for peer in self.world.peers.values()}
        sources = {name: self.report(name).sources for name in self.wishes if self.has(name)}
        found = {
            name: [names[source.peer] for source in some if source.state == "banned"] for name, some in sources.items()
        }
        return {name: banned for name, banned in found.items() if banned}
