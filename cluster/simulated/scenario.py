"""One world with faults, from one seed: a safety phase, in which anything may happen, then all is healed and everybody
who lives must get what it wants. Pure.
"""

from __future__ import annotations

import traceback
from math import exp, log
from random import Random

from msgspec import Struct

from cluster.simulated.content import SimulatedContent, make_content
from cluster.simulated.faults import FaultPlan, Faults, Level, draw_plan
from cluster.simulated.invariants import Invariants
from cluster.simulated.liars import KINDS, Flooder, Kind, fetch_lies, server_lies
from cluster.simulated.peer import Peer, PeerTerms
from cluster.simulated.world import Machine, Wish, World
from protocol.bitfield import Bitfield
from protocol.limits import PIECE_BYTES_MIN

START_SECONDS = 10.0
"""Peers start, and people want things, within so long."""
PATIENCE_SECONDS = 240.0
"""The timeouts that may have to pass one after another once all is healed: a connection that died without a word
(30 s, before it was given up), a session that stalled (60 s), a tracker that refuses (60 s, jittered), a source that
was set aside (up to 160 s, side by side with the others)."""
BOUND_FACTOR = 2.0
SETTLE_SECONDS = 60.0
"""A connection that died without a word, then a lease and a heartbeat, and what follows from them."""


class LivenessError(AssertionError):
    """Somebody who could have got it did not, in time."""


class Outcome(Struct, frozen=True):
    """``error`` is empty when all went as it must. ``last`` are the last events before it."""

    seed: int
    level: Level
    setting: str
    plan: str
    digest: str
    events: int
    seconds: float
    error: str
    last: list[str]


class Scenario:
    """The world of ``seed`` with faults of ``level``."""

    def __init__(self, seed: int, level: Level) -> None:
        self.seed, self.level = seed, level
        self.world = World(seed, lookups=1 + seed % 2)
        streams = self.world.streams
        self._rng = streams.of("scenario")
        self.plan: FaultPlan = draw_plan(level, streams.of("plan"))
        self.contents = [self._make_content(number) for number in range(self._rng.choice((1, 1, 2)))]
        self.seeders: list[Peer] = []
        self.receivers: list[Peer] = []
        self.liars: dict[str, Kind] = {}
        self.setting = self._populate()
        spared = (self.seeders[0].name,) if self._rng.random() < 0.7 else ()
        self.faults = Faults(self.world, self.plan, spared)
        self.invariants = Invariants(self.world, tuple(self.liars))
        self._flooders: list[Flooder] = []

    def run(self) -> Outcome:
        """All of it. Whatever breaks is the outcome's ``error``."""
        error = ""
        try:
            self._safety()
            self._liveness()
        except Exception as broken:  # noqa: BLE001 - whatever a core raises is what this is looking for
            where = traceback.extract_tb(broken.__traceback__)[-1]
            error = f"{type(broken).__name__}: {broken} ({where.filename.rpartition('/')[2]}:{where.lineno})"
        trace = self.world.trace
        assert trace is not None
        return Outcome(
            seed=self.seed,
            level=self.level,
            setting=self.setting,
            plan=str(self.plan),
            digest=trace.digest(),
            events=trace.count,
            seconds=self.world.now,
            error=error,
            last=list(trace.last()) if error else [],
        )

    # --- who there is ------------------------------------------------------------------------------------

    def _make_content(self, number: int) -> SimulatedContent:
        pieces = self._rng.choice([0, 1, 2, 3, *range(4, 41, 4)])
        length = pieces * PIECE_BYTES_MIN - (self._rng.randrange(PIECE_BYTES_MIN) if pieces else 0)
        content = make_content(f"data-{number}.bin", length)
        self.world.add_content(content)
        return content

    def _populate(self) -> str:
        rng = self._rng
        seeders, receivers, slots = rng.randint(1, 2), rng.randint(1, 7), rng.randint(1, 4)
        rate = PIECE_BYTES_MIN / _log_uniform(rng, 0.02, 2.0)
        delay = _log_uniform(rng, 2.5e-5, 1.25e-2)
        for number in range(seeders + receivers):
            whole = number < seeders
            factor = rng.choice((1.0, 1.0, 1.0, 0.5, 4.0))
            machine = Machine(rate * factor, rate * factor, delay, disk_rate=_log_uniform(rng, 2e7, 2e9))
            name = f"seed-{number}" if whole else f"peer-{number - seeders}"
            peer = self.world.add_peer(name, machine, PeerTerms(upload_slots=slots))
            (self.seeders if whole else self.receivers).append(peer)
            for content in self.contents if whole else ():
                self.world.give(peer, content)
        for peer in self.receivers[: self.plan.liars]:
            kind = rng.choice(KINDS)
            self.liars[peer.name] = kind
            self._make_liar(peer, kind)
        lies = ", ".join(f"{name} is {kind}" for name, kind in self.liars.items())
        pieces = " and ".join(str(content.manifest.piece_count) for content in self.contents)
        return (
            f"{seeders} seeders, {receivers} receivers, {pieces} pieces, {slots} slots, "
            f"{rate / 1e6:.2f} MB/s, {4e3 * delay:.2f} ms round trip{', ' + lies if lies else ''}"
        )

    def _make_liar(self, peer: Peer, kind: Kind) -> None:
        rng = self.world.streams.of("liar", peer.name)
        peer.tamper = server_lies(kind, self.contents[0].manifest.piece_count, rng)
        peer.tamper_fetch = fetch_lies(kind)
        if kind == "impostor":
            peer.identity = rng.choice([*self.seeders, *self.receivers]).identity

    # --- phases ------------------------------------------------------------------------------------------

    def _safety(self) -> None:
        world, rng = self.world, self._rng
        self.invariants.watch()
        for peer in [*self.seeders, *self.receivers]:
            if self.liars.get(peer.name) == "flooder":
                world.clock.after(rng.uniform(0, START_SECONDS), self._flood, peer)
                continue
            starts = rng.choice((0.0, rng.uniform(0, START_SECONDS)))
            world.clock.after(starts, peer.start)
        for peer in self.receivers:
            if self.liars.get(peer.name) != "flooder":
                for content in self.contents:
                    world.clock.after(rng.uniform(0, START_SECONDS), self._wish, peer, content, rng.random() < 0.7)
        self.faults.start()
        world.run(START_SECONDS + rng.uniform(0, 30))
        self.invariants.check_published()

    def _wish(self, peer: Peer, content: SimulatedContent, by_link: bool) -> None:
        self.world.want(peer, content, by_link)

    def _flood(self, peer: Peer) -> None:
        world = self.world
        endpoints = [other.endpoint for other in world.peers.values() if other is not peer]
        rng = world.streams.of("flooder", peer.name)
        flooder = Flooder(world.network, peer.net, endpoints, world.tracker.address, list(world.contents), rng)
        self._flooders.append(flooder)

    def _liveness(self) -> None:
        world = self.world
        self.faults.heal()
        for flooder in self._flooders:
            flooder.stop()
        for name, kind in self.liars.items():
            if kind in ("impostor", "flooder"):
                world.peers[name].power_off()
        if not self._run_until_done():
            self._rescue()
        world.run(world.now + SETTLE_SECONDS)
        self.invariants.check_published()
        self.invariants.check_settled()

    def _run_until_done(self) -> bool:
        world = self.world
        allowed = BOUND_FACTOR * self._bound() + PATIENCE_SECONDS
        world.note("scenario", f"{allowed:.1f} s for {len(self._open_wishes())}")
        return world.run(world.now + allowed, lambda: not self._open_wishes())

    def _open_wishes(self) -> list[Wish]:
        return [wish for wish in self.world.wishes if wish.done_at is None and wish.peer.name not in self.liars]

    def _rescue(self) -> None:
        """Not everybody is done. Who could be is a failure; the others have to say what is missing, and to be done when
        somebody comes who has it."""
        for wish in self._open_wishes():
            self._check_excuse(wish)
        peer = self.world.add_peer("rescuer", Machine(*self.seeders[0].machine_rates), PeerTerms())
        for content in self.contents:
            self.world.give(peer, content)
        peer.start()
        if not self._run_until_done():
            raise LivenessError("; ".join(self._state(wish) for wish in self._open_wishes()))

    def _check_excuse(self, wish: Wish) -> None:
        banned = self._banned_by(wish)
        had = Bitfield(wish.content.manifest.piece_count)
        for peer in self.world.peers.values():
            if peer.powered and peer.identity not in banned and peer.name not in self.liars:
                for piece in _good_pieces(peer, wish.content):
                    had.set(piece)
        if had.full:
            raise LivenessError(f"all pieces are there, but {self._state(wish)}")
        detail = self._detail(wish)
        if not detail.startswith(("nobody has", "no source", "asking", "nobody in")):
            missing = list(had.missing())
            raise LivenessError(f"{wish.peer.name} lacks {missing}, which nobody has, and says {detail!r}")

    def _banned_by(self, wish: Wish) -> list[str]:
        if wish.peer.downloader is None:
            return []
        job = wish.peer.downloader.core.jobs.get(wish.content.digest)
        return [] if job is None or job.download is None else list(job.download.banned)

    def _detail(self, wish: Wish) -> str:
        assert wish.peer.agent is not None
        jobs = [job for job in wish.peer.agent.core.jobs.all() if job.digest == wish.content.digest]
        if not jobs:
            return "it knows of no such download"
        job = jobs[-1]
        return job.download.detail if job.download is not None else job.detail or job.phase

    def _state(self, wish: Wish) -> str:
        peer = wish.peer
        jobs = peer.downloader.core.jobs.values() if peer.downloader is not None else ()
        pieces = [
            f"{job.download.have.count_set} of {job.download.have.size}" for job in jobs if job.download is not None
        ]
        failures = f", failed {len(wish.failures)} times, last {wish.failures[-1]}" if wish.failures else ""
        network = peer.agent.core.membership.network if peer.agent is not None else "no agent"
        return f"{peer.name} ({network}) has {pieces or 'nothing'}, says {self._detail(wish)!r}{failures}"

    def _bound(self) -> float:
        """Seconds below which no schedule brings everybody what it lacks; of the machines as they are when healed."""
        wishes = self._open_wishes()
        length = sum(content.manifest.length for content in self.contents)
        if not wishes or not length:
            return 0.0
        open_peers = [wish.peer for wish in wishes]
        owed = sum(wish.content.manifest.length for wish in wishes)
        honest = [peer for peer in self.world.peers.values() if peer.name not in self.liars and peer.powered]
        ups = sum(peer.machine_rates[0] for peer in honest)
        slowest = min(peer.machine_rates[1] for peer in open_peers)
        seeder = max((peer.machine_rates[0] for peer in self.seeders), default=slowest)
        return max(length / slowest, length / seeder, owed / ups)


def _good_pieces(peer: Peer, content: SimulatedContent) -> list[int]:
    """What the peer can give of ``content`` that is right."""
    disk, true = peer.disk, content.stand_ins
    held: dict[int, bytes] = {}
    for item in disk.items.values():
        if item.digest == content.digest and item.path in disk.files:
            held |= disk.files[item.path].pieces
    for partial in disk.partials.values():
        if partial.claim == content.digest:
            held |= partial.pieces
    return [piece for piece, data in held.items() if piece < len(true) and data == true[piece]]


def _log_uniform(rng: Random, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
