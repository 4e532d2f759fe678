"""A small swarm of the real pure cores under virtual time: hosts with one uplink each, messages with a delay.

For tests of `node.uploads` and `node.download` together. Connections are in order and whole; a host that dies breaks
its connections, and what was in them is lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from node.download import Completed, Download, Gained, Write
from node.rate_limit import Budget
from node.source import Connect, Disconnect, Send
from node.uploads import Reply, SendPiece, Uploads
from protocol.bitfield import Bitfield
from protocol.limits import UNDER_WAY_BYTES_MAX
from protocol.messages import GetManifest, Piece, SeederEntry

DIGEST = "blake3:" + "ab" * 32
PIECE_BYTES = 1_000
"""Small on purpose: with a rate of 1,000 bytes a second a piece takes a second."""


class Host:
    """One peer: its uploads, and its download unless it started with everything."""

    def __init__(self, world: World, name: str, whole: bool, slots: int) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.uplink_free_at = 0.0
        self.lies: set[int] = set()
        self.sent_pieces = 0
        self.completed_at: float | None = None
        self.uploads = Uploads(slots, 0, 0.0)
        self.routes: dict[bytes, tuple[Host, int]] = {}
        self.links: dict[int, Host] = {}
        have = Bitfield.full_of(world.pieces) if whole else Bitfield(world.pieces)
        self.uploads.serve(DIGEST, have.copy(), world.length, PIECE_BYTES)
        self.download: Download | None = None
        if not whole:
            budget = Budget(UNDER_WAY_BYTES_MAX, 0, 0.0)
            rng = Random(world.rng.random())
            self.download = Download(DIGEST, world.length, PIECE_BYTES, have, budget, count(1), rng)

    def entry(self) -> SeederEntry:
        return SeederEntry(self.name, self.name, f"tcp://{self.name}:1", False)

    def route_of(self, session: int) -> bytes:
        return f"{self.name}/{session}".encode()

    # --- effects -----------------------------------------------------------------------------------------

    def perform_download(self, effects: Sequence[object]) -> None:
        world = self.world
        for effect in effects:
            if isinstance(effect, Connect):
                self.connect(effect.session, effect.endpoint.split("/")[2].split(":")[0])
            elif isinstance(effect, Disconnect):
                self.links.pop(effect.session, None)
            elif isinstance(effect, Send):
                other = self.links.get(effect.session)
                if other is not None:
                    world.later(world.delay, self.deliver_request, other, effect)
            elif isinstance(effect, Gained):
                assert effect.piece not in self.lies
                self.perform_uploads(self.uploads.held(DIGEST, [effect.piece], world.now))
            elif isinstance(effect, Completed):
                self.completed_at = world.now
            else:
                world.heard.append((self.name, effect))

    def connect(self, session: int, name: str) -> None:
        other = self.world.hosts[name]
        if not other.alive:
            self.world.later(self.world.delay, self.lost, session)
            return
        self.links[session] = other
        other.routes[self.route_of(session)] = (self, session)
        self.world.later(2 * self.world.delay, self.connected, session)

    def connected(self, session: int) -> None:
        assert self.download is not None
        self.perform_download(self.download.connected(session, self.world.now))

    def lost(self, session: int) -> None:
        assert self.download is not None
        self.links.pop(session, None)
        self.perform_download(self.download.disconnected(session, self.world.now))

    def deliver_request(self, other: Host, effect: Send) -> None:
        if other.alive:
            assert not isinstance(effect.message, GetManifest)
            other.perform_uploads(other.uploads.handle(self.route_of(effect.session), effect.message, self.world.now))

    def perform_uploads(self, effects: Sequence[object]) -> None:
        world = self.world
        for effect in effects:
            if isinstance(effect, Reply):
                world.later(world.delay, self.deliver_reply, effect.route, effect.message)
            elif isinstance(effect, SendPiece):
                self.sent_pieces += 1
                self.uplink_free_at = max(self.uplink_free_at, world.now) + world.piece_seconds
                arrives = self.uplink_free_at - world.now + world.delay
                world.later(arrives, self.deliver_piece, effect)

    def deliver_reply(self, route: bytes, message: object) -> None:
        host, session = self.routes[route]
        if self.alive and host.alive and session in host.links and host.download is not None:
            host.perform_download(host.download.handle(session, message, self.world.now))  # type: ignore[arg-type]

    def deliver_piece(self, effect: SendPiece) -> None:
        host, session = self.routes[effect.route]
        if not (self.alive and host.alive) or session not in host.links or host.download is None:
            return
        header = Piece(session, effect.offer, effect.piece)
        size = self.world.size(effect.piece)
        effects = host.download.piece(session, header, size, self.world.now)
        host.perform_download([effect for effect in effects if not isinstance(effect, Write)])
        if any(isinstance(effect, Write) for effect in effects):
            good = effect.piece not in self.lies
            host.perform_download(host.download.written(effect.piece, good, self.world.now))


class World:
    """Virtual time, and hosts named ``seed0``.. and ``peer0``..; ``delay`` is one way, in seconds."""

    def __init__(
        self, seeders: int, receivers: int, pieces: int, seed: int = 1, delay: float = 0.005, slots: int = 4
    ) -> None:
        self.now = 0.0
        self.delay = delay
        self.pieces = pieces
        self.length = pieces * PIECE_BYTES - PIECE_BYTES // 3 if pieces else 0
        self.piece_seconds = 1.0
        self.rng = Random(seed)
        self.heard: list[tuple[str, object]] = []
        self.order = count()
        self.heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self.hosts: dict[str, Host] = {}
        for number in range(seeders):
            self.hosts[f"seed{number}"] = Host(self, f"seed{number}", True, slots)
        for number in range(receivers):
            self.hosts[f"peer{number}"] = Host(self, f"peer{number}", False, slots)

    def size(self, piece: int) -> int:
        return min(PIECE_BYTES, self.length - piece * PIECE_BYTES)

    def later(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        heapq.heappush(self.heap, (self.now + seconds, next(self.order), call, args))

    def start(self) -> None:
        """Every receiver learns of every other host."""
        entries = [host.entry() for host in self.hosts.values()]
        for host in self.receivers():
            assert host.download is not None
            host.perform_download(host.download.start(self.now))
            others = [entry for entry in entries if entry.peer != host.name]
            host.perform_download(host.download.found(others, self.now))

    def receivers(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.download is not None]

    def kill(self, name: str) -> None:
        """The host is gone; whoever was connected to it notices after a delay."""
        dead = self.hosts[name]
        dead.alive = False
        for host in self.receivers():
            for session, other in list(host.links.items()):
                if other is dead and host.alive:
                    self.later(self.delay, host.lost, session)

    def run(self, until: float, check: bool = True) -> None:
        """Let time pass to ``until`` or to the moment every living receiver is done."""
        while self.now < until and any(h.alive and h.completed_at is None for h in self.receivers()):
            due = min([self.heap[0][0] if self.heap else until, self.next_deadline(), until])
            self.now = max(self.now, due)
            while self.heap and self.heap[0][0] <= self.now:
                _, _, call, args = heapq.heappop(self.heap)
                call(*args)
            self.tick()
            if check:
                self.check_invariants()

    def next_deadline(self) -> float:
        deadlines = [float("inf")]
        for host in self.hosts.values():
            if host.alive:
                deadlines.append(host.uploads.next_deadline(self.now) or float("inf"))
                if host.download is not None:
                    deadlines.append(host.download.next_deadline(self.now) or float("inf"))
        return min(deadlines)

    def tick(self) -> None:
        for host in self.hosts.values():
            if host.alive:
                host.perform_uploads(host.uploads.tick(self.now))
                if host.download is not None:
                    host.perform_download(host.download.tick(self.now))

    def check_invariants(self) -> None:
        for host in self.hosts.values():
            if host.alive:
                host.uploads.check_invariants()
                if host.download is not None:
                    host.download.check_invariants()
