"""A simulated world: a tracker or several, peers, content, and people who want it. Pure.

Everything in it follows from ``seed`` and what is done to it. Owns who is there, and the people at the peers, who
type `get` again when it failed. Faults are `faults`', what must hold is `invariants`'.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from math import inf
from typing import NamedTuple

from cluster.simulated.clock import Clock
from cluster.simulated.content import ALGORITHM, SimulatedContent
from cluster.simulated.disk import SimulatedDisk
from cluster.simulated.host import PeerTerms
from cluster.simulated.links import Port
from cluster.simulated.network import Network
from cluster.simulated.peer import Peer
from cluster.simulated.process import TURN_SECONDS
from cluster.simulated.store import shared_item
from cluster.simulated.streams import Streams
from cluster.simulated.trace import Trace
from cluster.simulated.tracker import Tracker
from node.api_messages import ApiGet, ApiJoin, ApiLeave, ApiList, ApiPeers, ApiRemove, ApiShare, JobStatus
from protocol.manifest import Manifest

PERSON_SECONDS = 1.0
"""How often people look whether they have what they want."""
SHARED_DIR, GOT_DIR = "/shared", "/got"


class Machine(NamedTuple):
    """What a peer runs on: link rates and the disk's in bytes/s, ``delay`` its part of the one-way delay in seconds."""

    up: float = inf
    down: float = inf
    delay: float = 0.0005
    disk_rate: float = inf
    capacity: float = inf


class Wish:
    """Somebody at ``peer`` wants ``content`` since ``since``, and types ``target``; or has its ``seed`` at hand.
    ``sequential``: with its pieces in order."""

    def __init__(
        self, peer: Peer, content: SimulatedContent, since: float, target: str, seed: bytes, sequential: bool
    ) -> None:
        self.peer, self.content, self.since, self.target, self.seed = peer, content, since, target, seed
        self.sequential = sequential
        self.done_at: float | None = None
        self.is_right = False
        """Whether what was published is the content, whatever becomes of it later."""
        self.again_at = 0.0
        """They do not want it until then."""
        self.failures: list[str] = []

    @property
    def path(self) -> str:
        return f"{GOT_DIR}/{self.content.name}"

    def jobs(self) -> list[JobStatus]:
        """What the peer's agent knows of it, the newest last."""
        jobs = self.peer.agent.core.jobs.all() if self.peer.agent is not None else []
        named = (job for job in jobs if job.kind == "get")
        return [job for job in named if job.digest == self.content.digest or job.name == self.target]


class World:
    """``trace`` None keeps no record, for worlds too large for one."""

    def __init__(
        self,
        seed: int,
        traced: bool = True,
        lookups: int = 1,
        turn_seconds: float = TURN_SECONDS,
        trackers: int = 1,
    ) -> None:
        self.streams = Streams(seed)
        self.clock = Clock()
        self.trace = Trace() if traced else None
        self.turn_seconds = turn_seconds
        self.network = Network(self.clock, self._seen if traced else _unseen)
        self.trackers = [self._add_tracker(number, lookups) for number in range(trackers)]
        self.tracker = self.trackers[0]
        self.peers: dict[str, Peer] = {}
        self.contents: dict[str, SimulatedContent] = {}
        self.wishes: list[Wish] = []
        self.open_wishes = 0
        """How many are not done."""
        self._decoded: dict[bytes, Manifest] = {}
        self._requests = count(1)
        self._watched = False

    @property
    def now(self) -> float:
        return self.clock.now

    def note(self, who: str, what: object) -> None:
        if self.trace is not None:
            self.trace.note(self.clock.now, who, what)

    # --- who and what there is ---------------------------------------------------------------------------

    def add_content(self, content: SimulatedContent) -> None:
        if content.digest in self.contents:
            return
        self.contents[content.digest] = content
        self._decoded[content.seed] = content.manifest

    def is_right(self, digest: str, piece: int, data: bytes) -> bool:
        """Whether ``data`` is what stands for this piece."""
        true = self.contents[digest].stand_ins
        return piece < len(true) and true[piece] == data

    def add_peer(self, name: str, machine: Machine, terms: PeerTerms) -> Peer:
        """A machine whose peer does not run yet."""
        number = len(self.peers)
        address = f"10.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
        net = self.network.add_host(name, address, Port(machine.up, machine.down), machine.delay)
        disk = SimulatedDisk(self.streams.of("disk", name), self._decoded, machine.capacity, machine.disk_rate)
        rng = self.streams.of("peer", name)
        peer = Peer(
            self.network, net, disk, rng, [one.address for one in self.trackers], terms, self.note, self.turn_seconds
        )
        peer.machine_rates = (machine.up, machine.down)
        disk.published = lambda path: self._published(peer, path)
        disk.on_hashed = self.add_content
        self.peers[name] = peer
        return peer

    def give(self, peer: Peer, content: SimulatedContent) -> None:
        """Have ``peer`` share ``content`` from its start on."""
        path = f"{SHARED_DIR}/{content.name}"
        peer.disk.put_file(path, content.manifest, dict(enumerate(content.stand_ins)))
        peer.disk.items[path] = shared_item(peer.disk, path, "shared", content)

    def want(
        self,
        peer: Peer,
        content: SimulatedContent,
        by_link: bool = True,
        by_name: bool = False,
        sequential: bool = False,
    ) -> Wish:
        """Somebody at ``peer`` types `get` and its link, or its name, or has its seed; and again when it failed."""
        target = content.link if by_link and not by_name else content.name
        seed = b"" if by_link or by_name else content.seed
        wish = Wish(peer, content, self.clock.now, target, seed, sequential)
        self.wishes.append(wish)
        self.open_wishes += 1
        if not self._watched:
            self._watched = True
            self.clock.after(PERSON_SECONDS, self._people_look)
        self._ask(wish)
        return wish

    def tell_leave(self, peer: Peer) -> None:
        """Somebody types `leave`."""
        peer.ask(ApiLeave(next(self._requests)))

    def tell_join(self, peer: Peer) -> None:
        """Somebody types `join`, and goes on until the peer hears it."""
        if not peer.ask(ApiJoin(next(self._requests))):
            self.clock.after(PERSON_SECONDS, self.tell_join, peer)

    def tell_get(self, peer: Peer, target: str) -> None:
        """Somebody types `get`, once, and does not wait for it."""
        peer.ask(ApiGet(next(self._requests), target, GOT_DIR, b"", False, False))

    def tell_share(self, peer: Peer, content: SimulatedContent) -> None:
        """Somebody makes ``content`` at ``peer`` and types `share`, and again until it is shared."""
        path = f"{SHARED_DIR}/{content.name}"
        peer.disk.put_file(path, content.manifest, dict(enumerate(content.stand_ins)))
        self._share(peer, path)

    def tell_list(self, peer: Peer) -> None:
        """Somebody types `list`, and `peers`."""
        peer.ask(ApiList(next(self._requests), ""))
        peer.ask(ApiPeers(next(self._requests)))

    def tell_remove(self, peer: Peer, digest: str) -> None:
        """Somebody types `remove`."""
        peer.ask(ApiRemove(next(self._requests), digest))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass; see `Clock.run`."""
        return self.clock.run(until, stop)

    def joined(self) -> int:
        """How many peers the tracker knows."""
        return len(self.tracker.registrar.core.registry.members)

    def _add_tracker(self, number: int, lookups: int) -> Tracker:
        name = f"tracker{number or ''}"
        host = self.network.add_host(name, f"10.0.0.{1 + number}", Port(inf, inf), 0.0005)
        return Tracker(self.network, host, lookups, self.streams.of(name), self.note, number)

    # --- people ------------------------------------------------------------------------------------------

    def _people_look(self) -> None:
        for wish in self.wishes:
            if wish.done_at is None and self.clock.now >= wish.again_at:
                self._look(wish)
        self.clock.after(PERSON_SECONDS, self._people_look)

    def _share(self, peer: Peer, path: str) -> None:
        if path in peer.disk.items:
            return
        agent = peer.agent
        if agent is not None and not any(job.path == path for job in agent.core.jobs.active("share")):
            peer.ask(ApiShare(next(self._requests), path, ALGORITHM))
        self.clock.after(PERSON_SECONDS, self._share, peer, path)

    def _look(self, wish: Wish) -> None:
        agent = wish.peer.agent
        if agent is None or not agent.alive or not wish.peer.powered:
            return
        jobs = wish.jobs()
        if any(not job.over for job in jobs):
            return
        if jobs and jobs[-1].phase == "failed":
            wish.failures.append(f"{jobs[-1].code}: {jobs[-1].detail}")
            if jobs[-1].code == "usage":  # "get one of them by its link"
                wish.target = wish.content.link
        self._ask(wish)

    def _ask(self, wish: Wish) -> None:
        name, number = wish.content.name, next(self._requests)
        wish.peer.ask(ApiGet(number, wish.target, GOT_DIR, wish.seed, False, wish.sequential, name))

    def _published(self, peer: Peer, path: str) -> None:
        self.note(peer.name, f"published {path}")
        for wish in self.wishes:
            if wish.peer is peer and wish.path == path and wish.done_at is None:
                wish.done_at = self.clock.now
                wish.is_right = peer.disk.files[path].pieces == dict(enumerate(wish.content.stand_ins))
                self.open_wishes -= 1

    def _seen(self, source: str, target: str, message: object) -> None:
        self.note(f"{source}>{target}", message)


def _unseen(_source: str, _target: str, _message: object) -> None:
    """No record is kept."""
