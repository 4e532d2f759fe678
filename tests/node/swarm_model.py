"""A small swarm of the real pure cores under virtual time: hosts with one uplink each, messages with a delay.

For tests of `uploads` and `download` together. Connections are in order and whole; a host that dies breaks its
connections, and what was in them is lost. A host can be made to lie, to claim what it has not, to freeze, to
lose its mind about sessions, or to withdraw everything; each by a method or attribute named for it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from random import Random

from node.downloader.download import Completed, Download, Gained, Write
from node.downloader.source import Banned, Connect, Disconnect, Send
from node.piece_server.effects import Reply, SendPiece
from node.piece_server.uploads import Uploads
from node.rate_limit import Budget
from protocol.bitfield import Bitfield
from protocol.limits import UNDER_WAY_BYTES_MAX
from protocol.messages import GetManifest, Piece, PieceServerRequest, Refuse, SeederEntry, Status, Want
from tests.node.shared_links import Port, SharedLinks

DIGEST = "blake3:" + "ab" * 32
PIECE_BYTES = 1_000
"""Small on purpose: with a rate of 1,000 bytes a second a piece takes a second."""
STUCK_TURNS = 100
"""Turns of the loop at one moment after which somebody is taken to be busy for nothing."""


class Host:
    """One peer: its uploads, and its download unless it started with everything. ``lies`` are pieces it sends
    garbled, ``claims_all`` makes it tell everybody that it is complete."""

    def __init__(self, world: World, name: str, whole: bool, slots: int) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.inbox: list[Callable[[], None]] = []
        self.touched = True
        """Something has happened to it since its last tick."""
        self.due = world.now
        self.port = Port(world.piece_seconds, world.down_seconds)
        self.lies: set[int] = set()
        self.claims_all = False
        self.sent_pieces = 0
        self.completed_at: float | None = None
        self.uploads = Uploads(slots, 0, world.now)
        self.routes: dict[bytes, tuple[Host, int]] = {}
        self.links: dict[int, Host] = {}
        have = Bitfield.full_of(world.pieces) if whole else Bitfield(world.pieces)
        self.uploads.serve(DIGEST, have.copy(), world.length, PIECE_BYTES)
        self.download: Download | None = None
        if not whole:
            budget = Budget(UNDER_WAY_BYTES_MAX, 0, world.now)
            rng = Random(world.rng.random())
            self.download = Download(DIGEST, world.length, PIECE_BYTES, have, budget, count(1), rng)

    def entry(self) -> SeederEntry:
        return SeederEntry(self.name, self.name, f"tcp://{self.name}:1", False)

    def route_of(self, session: int) -> bytes:
        return f"{self.name}/{session}".encode()

    @property
    def frozen(self) -> bool:
        return self.frozen_until > self.world.now

    def thaw(self) -> None:
        """Take in what came meanwhile, in order."""
        if not self.frozen:
            waiting, self.inbox = self.inbox, []
            for call in waiting:
                call()

    @property
    def done(self) -> bool:
        return self.download is None or self.completed_at is not None

    def tick(self) -> None:
        now = self.world.now
        self.perform_uploads(self.uploads.tick(now))
        due = [self.uploads.next_deadline(now)]
        if self.download is not None:
            self.perform_download(self.download.tick(now))
            due.append(self.download.next_deadline(now))
        self.due = min((moment for moment in due if moment is not None), default=float("inf"))
        self.touched = False

    # --- effects -----------------------------------------------------------------------------------------

    def perform_download(self, effects: Sequence[object]) -> None:
        world = self.world
        self.touched = True
        for effect in effects:
            if isinstance(effect, Connect):
                self.connect(effect.session, effect.endpoint.split("/")[2].split(":")[0])
            elif isinstance(effect, Disconnect):
                self.links.pop(effect.session, None)
            elif isinstance(effect, Send):
                other = self.links.get(effect.session)
                if other is not None:
                    world.count(effect.message)
                    world.later(world.delay, self.deliver_request, other, effect)
            elif isinstance(effect, Gained):
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
        if self.frozen:
            self.inbox.append(partial(self.connected, session))
        elif self.alive:
            self.perform_download(self.download.connected(session, self.world.now))

    def lost(self, session: int) -> None:
        assert self.download is not None
        if self.frozen:
            self.inbox.append(partial(self.lost, session))
        elif self.alive:
            self.links.pop(session, None)
            self.perform_download(self.download.disconnected(session, self.world.now))

    def deliver_request(self, other: Host, effect: Send) -> None:
        if not other.alive:
            return
        if other.frozen:
            other.inbox.append(partial(self.deliver_request, other, effect))
            return
        message: PieceServerRequest = effect.message
        assert not isinstance(message, GetManifest)
        other.perform_uploads(other.uploads.handle(self.route_of(effect.session), message, self.world.now))

    def perform_uploads(self, effects: Sequence[object]) -> None:
        world = self.world
        self.touched = True
        for effect in effects:
            if isinstance(effect, Reply):
                message = effect.message
                world.count(message)
                if isinstance(message, Status) and self.claims_all and message.state == "partial":
                    message = Status(message.session, "complete", b"", 0)
                self.send(effect.route, 0.0, partial(self.deliver_reply, effect.route, message))
            elif isinstance(effect, SendPiece):
                self.sent_pieces += 1
                self.send(effect.route, 1.0, partial(self.deliver_piece, effect))

    def send(self, route: bytes, pieces: float, deliver: Callable[[], None]) -> None:
        """``deliver`` when it has passed both links, a delay later."""
        world = self.world
        receiver = self.routes[route][0]
        world.links.send(route, self.port, receiver.port, pieces, partial(world.later, world.delay, deliver))

    def receiver_of(self, route: bytes) -> tuple[Download, Host, int] | None:
        """Who listens at the other end of ``route``, if anybody does still."""
        host, session = self.routes[route]
        if not (self.alive and host.alive) or session not in host.links or host.download is None:
            return None
        return host.download, host, session

    def deliver_reply(self, route: bytes, message: object) -> None:
        found = self.receiver_of(route)
        if found is None:
            return
        download, host, session = found
        if host.frozen:
            host.inbox.append(partial(self.deliver_reply, route, message))
            return
        host.perform_download(download.handle(session, message, self.world.now))  # type: ignore[arg-type]

    def deliver_piece(self, effect: SendPiece) -> None:
        found = self.receiver_of(effect.route)
        if found is None:
            return
        download, host, session = found
        world = self.world
        if host.frozen:
            host.inbox.append(partial(self.deliver_piece, effect))
            return
        header = Piece(session, effect.offer, effect.piece)
        effects = download.piece(session, header, world.size(effect.piece), world.now)
        host.perform_download([effect for effect in effects if not isinstance(effect, Write)])
        if any(isinstance(effect, Write) for effect in effects):
            good = effect.piece not in self.lies and effect.piece in self.true_bits()
            host.perform_download(download.written(effect.piece, good, world.now))
            assert good == (effect.piece in download.have), "what was written is what was verified"

    def true_bits(self) -> Bitfield:
        return self.download.have if self.download is not None else Bitfield.full_of(self.world.pieces)


class World:
    """Virtual time, and hosts named ``seed0``.. and ``peer0``..; ``delay`` is one way, in seconds, and a piece takes
    ``piece_seconds`` on an uplink and ``down_seconds`` on a downlink that it has for itself."""

    def __init__(
        self,
        seeders: int,
        receivers: int,
        pieces: int,
        seed: int = 1,
        delay: float = 0.005,
        slots: int = 4,
        piece_seconds: float = 1.0,
        down_seconds: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.delay = delay
        self.slots = slots
        self.pieces = pieces
        self.length = pieces * PIECE_BYTES - PIECE_BYTES // 3 if pieces else 0
        self.piece_seconds, self.down_seconds = piece_seconds, down_seconds
        self.links = SharedLinks(self)
        self.rng = Random(seed)
        self.heard: list[tuple[str, object]] = []
        self.messages: Counter[str] = Counter()
        self.order = count()
        self.checked = 0
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

    def count(self, message: object) -> None:
        """Note a message by its type; refusals by their reason, the pieces named in Wants too."""
        self.messages[type(message).__name__] += 1
        if isinstance(message, Refuse):
            self.messages[f"Refuse {message.reason}"] += 1
        if isinstance(message, Want):
            self.messages["wanted"] += len(message.pieces)

    # --- what happens ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Every receiver learns of every other host."""
        for host in self.receivers():
            self.start_host(host)

    def start_host(self, host: Host) -> None:
        assert host.download is not None
        others = [other.entry() for other in self.hosts.values() if other is not host]
        host.perform_download(host.download.start(self.now))
        host.perform_download(host.download.found(others, self.now))

    def join(self, name: str, whole: bool = False) -> Host:
        """A newcomer: it learns of everybody, and everybody of it."""
        self.hosts[name] = newcomer = Host(self, name, whole, self.slots)
        for host in self.receivers():
            if host.alive and host is not newcomer and not host.done:
                assert host.download is not None
                host.perform_download(host.download.found([newcomer.entry()], self.now))
        if not whole:
            self.start_host(newcomer)
        return newcomer

    def kill(self, name: str) -> None:
        """The host is gone; whoever was connected to it notices after a delay."""
        dead = self.hosts[name]
        dead.alive = False
        for host in self.receivers():
            for session, other in list(host.links.items()):
                if other is dead and host.alive:
                    self.later(self.delay, host.lost, session)

    def freeze(self, name: str, seconds: float) -> None:
        """The host does nothing for so long; what arrives waits."""
        host = self.hosts[name]
        host.frozen_until = max(host.frozen_until, self.now + seconds)
        host.due = max(host.due, host.frozen_until)
        self.later(seconds, host.thaw)

    def break_connection(self, name: str, other: str) -> None:
        """What is under way between a receiver and its source is lost; the receiver hears of it."""
        host = self.hosts[name]
        for session, source in list(host.links.items()):
            if source.name == other:
                del host.links[session]
                self.later(self.delay, host.lost, session)

    def restart_piece_server(self, name: str) -> None:
        """The piece server of the host is restarted: its connections are gone and it knows nobody any more."""
        host = self.hosts[name]
        for receiver in self.receivers():
            self.break_connection(receiver.name, name)
        host.uploads.withdraw(DIGEST)
        host.uploads.serve(DIGEST, host.true_bits().copy(), self.length, PIECE_BYTES)
        host.touched = True

    def leave(self, name: str) -> None:
        """The roster tells that the host left: nobody goes back to it. It answers nobody either."""
        gone = self.hosts[name]
        gone.perform_uploads(gone.uploads.set_serving(False))
        gone.alive = False
        for host in self.receivers():
            if host.alive and host is not gone and host.download is not None:
                host.perform_download(host.download.peer_lost(name, self.now))

    # --- time --------------------------------------------------------------------------------------------

    def run(self, until: float, check: bool = True, all_done: bool = True) -> None:
        """Let time pass to ``until``, or with ``all_done`` to the moment every living receiver is done."""
        turns = 0
        while self.now < until and not (all_done and self.everybody_done()):
            due = min([self.heap[0][0] if self.heap else until, self.next_deadline(), until])
            turns = 0 if due > self.now else turns + 1
            assert turns < STUCK_TURNS, f"time stands still at {self.now}"
            self.now = max(self.now, due)
            while self.heap and self.heap[0][0] <= self.now:
                _, _, call, args = heapq.heappop(self.heap)
                call(*args)
            self.tick()
            if check:
                self.check_invariants()

    def everybody_done(self) -> bool:
        return all(host.done for host in self.receivers() if host.alive)

    def receivers(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.download is not None]

    def living(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.alive and not host.frozen]

    def next_deadline(self) -> float:
        return min((host.due for host in self.hosts.values() if host.alive), default=float("inf"))

    def tick(self) -> None:
        """Tick who is due or was called, as a shell does after every turn of its loop."""
        for host in self.living():
            if host.touched or host.due <= self.now:
                host.tick()

    # --- figures -----------------------------------------------------------------------------------------

    def last(self) -> float:
        """When the last living receiver was done; infinite when one is not."""
        times = [float("inf") if h.completed_at is None else h.completed_at for h in self.receivers() if h.alive]
        return max(times, default=0.0)

    def received_ratio(self) -> float:
        """Bytes of pieces that living receivers got, as a multiple of what they needed."""
        receivers = [host.download for host in self.receivers() if host.alive and host.download is not None]
        return sum(download.received_bytes for download in receivers) / (len(receivers) * self.length)

    def banned(self) -> list[tuple[str, str]]:
        """(who banned, who was banned)"""
        return [(name, effect.peer) for name, effect in self.heard if isinstance(effect, Banned)]

    def check_invariants(self) -> None:
        """Check the books of one host, the next one each time."""
        names = list(self.hosts)
        self.checked += 1
        host = self.hosts[names[self.checked % len(names)]]
        if host.alive:
            host.uploads.check_invariants()
            if host.download is not None:
                host.download.check_invariants()
