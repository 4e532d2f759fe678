"""A rollout predicted: a swarm in virtual time in place of the processes of `cluster.run`, and the same report.

Owns the order of things and what is said about it. What happens is `world`'s, what is counted `traffic`'s, how content
with too many pieces is scaled `scale`'s. Not pure: it shows progress.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from cluster.content import RANDOM_NAME
from cluster.links import Links
from cluster.progress import Screen
from cluster.report import Outcome, PeerResult, Prediction, Report, build_report, peer_names
from cluster.simulated import heap
from cluster.simulated.content import make_content
from cluster.simulated.faults import Faults, Level, draw_plan
from cluster.simulated.host import PeerTerms
from cluster.simulated.peer import Peer
from cluster.simulated.process import TURN_SECONDS
from cluster.simulated.scale import scale_of
from cluster.simulated.traffic import Traffic
from cluster.simulated.world import Machine, Wish, World
from protocol.errors import NetworkError
from protocol.limits import LEASE_SECONDS
from service.units import format_bytes, format_seconds

WORK_COUNT_MAX = 200_000
"""Pieces that arrive at receivers: about two minutes of one core."""
LARGE_COUNT = 100
"""Peers of a world that is not tidied away, see `heap.left_alone`."""
TURN_PART = 0.02
"""Between two turns of a process, of the time a piece takes: what comes meanwhile is handled at once. With less the
outcome was the same; with a tenth it took longer..."""
TURN_SECONDS_MAX = 0.05
"""...and no more than this, however slow the links are: handshakes and leases take as long as ever."""
JOIN_SECONDS = 10 * LEASE_SECONDS
PATIENCE_FACTOR, PATIENCE_SECONDS = 20.0, 600.0
"""Without a time limit: given up after so many times the bound, and so long more."""
STUCK_FACTOR, STUCK_SECONDS = 20.0, 120.0
"""After the seeders died with pieces that nobody else has: given up when nothing has come for so many piece times, and
so long more."""
STEPS_COUNT, JOIN_STEPS_COUNT = 20_000, 100
"""Calls of the clock between two looks at how it goes: a fraction of a second."""


class RolloutPlan(Struct, frozen=True, kw_only=True):
    """What to predict. ``links`` of the machines; ``delay`` of a round trip in seconds; ``timeout`` in seconds of
    virtual time, None for one that suits the bound. ``seeder_dies_at``: all seeders lose their power for good once they
    have sent this part of one copy; None for never."""

    peers: int
    seeders: int
    size: int
    links: Links
    delay: float
    seed: int = 1
    faults: Level = "none"
    seeder_dies_at: float | None = None
    timeout: float | None = None


def run_rollout(plan: RolloutPlan, screen: Screen) -> Report:
    """Do it. Raises a `ZswarmError` when the peers could not even join; whoever did not get it is in the report."""
    with heap.left_alone(for_good=plan.peers > LARGE_COUNT):
        return _Rollout(plan, screen).run()


class _Rollout:
    def __init__(self, plan: RolloutPlan, screen: Screen) -> None:
        self._plan, self._screen = plan, screen
        self._phases: dict[str, float] = {}
        self._since = time.monotonic()
        receivers = plan.peers - plan.seeders
        self._bound = plan.links.bound(plan.size, plan.seeders, receivers)
        timed = plan.faults != "none" or plan.seeder_dies_at is not None
        self._scale = scale = scale_of(plan.size, receivers, plan.peers, plan.links.rate, WORK_COUNT_MAX, timed)
        faster = scale.lapse / scale.factor
        rate = plan.links.rate * faster
        self._piece_seconds = scale.piece_length / rate
        turn_seconds = max(TURN_SECONDS, min(TURN_SECONDS_MAX, TURN_PART * self._piece_seconds))
        self._world = world = World(plan.seed, traced=False, turn_seconds=turn_seconds)
        self._content = make_content(RANDOM_NAME, scale.length, scale.piece_length)
        world.add_content(self._content)
        terms = PeerTerms(hears_of=scale.sources / (plan.peers - 1) if scale.sources else 1)
        ups = [rate] * plan.seeders + [up * faster for up in plan.links.ups(receivers)]
        names = peer_names(plan.peers)
        peers = [
            world.add_peer(name, Machine(up, rate, plan.delay / 4), terms) for name, up in zip(names, ups, strict=True)
        ]
        self._seeders, self._receivers = peers[: plan.seeders], peers[plan.seeders :]
        seeds, others = names[: plan.seeders], names[plan.seeders :]
        part, enough = plan.seeder_dies_at or 1.0, _nothing if plan.seeder_dies_at is None else self._kill_seeders
        self._traffic = Traffic(world.clock, others, seeds, scale.length, scale.pieces, part, enough)
        world.network.seen = self._traffic.seen
        faults = draw_plan(plan.faults, world.streams.of("plan"))
        self._faults = msgspec.structs.replace(faults, liars=0)
        self._died_at: float | None = None
        self._began_at = 0.0
        self._wishes: list[Wish] = []

    def run(self) -> Report:
        self._join()
        self._next("start")
        self._get()
        self._next("get")
        return build_report(self._outcome(), self._phases)

    def _next(self, phase: str) -> None:
        """``phase`` has just ended; how long it took here."""
        now = time.monotonic()
        self._phases[phase] = now - self._since
        self._since = now

    # --- phases ------------------------------------------------------------------------------------------

    def _join(self) -> None:
        """Until every peer is in the network, and the tracker knows what the seeders have."""
        plan, world = self._plan, self._world
        self._screen.stage(f"simulating a tracker and {plan.peers} peers")
        for peer in self._seeders:
            world.give(peer, self._content)
        for peer in world.peers.values():
            peer.start()
        while not self._everybody_is_known():
            if world.clock.run_some(JOIN_SECONDS, JOIN_STEPS_COUNT):
                joined = f"{world.joined()} of {plan.peers} peers joined within {format_seconds(JOIN_SECONDS)}"
                raise NetworkError(f"only {joined} of virtual time: a round trip takes {format_seconds(plan.delay)}")
            self._screen.step(f"{world.joined()} of {plan.peers} in the network", time.monotonic())

    def _everybody_is_known(self) -> bool:
        """Whether all lookups know all peers, and what the seeders have."""
        for lookup in self._world.tracker.lookups:
            registry = lookup.core.replica.registry
            if registry is None or len(registry.members) < self._plan.peers:
                return False
            swarm = registry.swarms.get(self._content.digest)
            if swarm is None or swarm.whole < self._plan.seeders:
                return False
        return True

    def _get(self) -> None:
        """All receivers ask at the same moment; until they have it, or it is given up."""
        plan, world, traffic = self._plan, self._world, self._traffic
        count = len(self._receivers)
        self._screen.stage(f"{count} peer{'s' * (count != 1)} get {RANDOM_NAME}, {format_bytes(plan.size)}")
        self._began_at = moved_at = world.now
        self._wishes = [world.want(peer, self._content, not self._scale.is_coarse) for peer in self._receivers]
        if plan.faults != "none":
            spared = tuple(peer.name for peer in self._seeders)
            Faults(world, self._faults, spared).start()
        until = self._began_at + self._timeout / self._scale.lapse
        moved = 0
        while world.open_wishes and not world.clock.run_some(until, STEPS_COUNT, lambda: not world.open_wishes):
            if traffic.bytes > moved:
                moved_at, moved = world.now, traffic.bytes
            idle = world.now - moved_at > STUCK_SECONDS + STUCK_FACTOR * self._piece_seconds
            if idle and self._died_at is not None and traffic.kept_back:
                return
            self._screen.step(self._progress(), time.monotonic())

    @property
    def _timeout(self) -> float:
        timeout = self._plan.timeout
        return PATIENCE_SECONDS + PATIENCE_FACTOR * self._bound if timeout is None else timeout

    def _kill_seeders(self) -> None:
        """At the end of this moment: what tells of it is in the midst of a delivery."""
        self._died_at = self._world.now
        for peer in self._seeders:
            self._world.clock.after(0.0, peer.power_off)

    def _progress(self) -> str:
        traffic = self._traffic
        share = 100 * traffic.bytes // traffic.whole if traffic.whole else 100
        done = sum(wish.done_at is not None for wish in self._wishes)
        after = format_seconds(self._after(self._world.now))
        return f"after {after} of virtual time {min(share, 100)} %, {done} of {len(self._wishes)} done"

    def _estimate(self, ended: float) -> float:
        """How long it takes with all pieces: what the swarm does in full swing takes as long whatever the pieces are,
        and what is left, how it begins and ends, takes a number of pieces."""
        after, rate = self._after(ended), self._traffic.full_swing() / self._scale.lapse
        if not rate:
            return after
        swing = min(after, self._traffic.whole / rate)
        return swing + (after - swing) / self._scale.factor

    # --- the outcome -------------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        done = [wish.done_at for wish in self._wishes if wish.done_at is not None]
        ended = max(done) if len(done) == len(self._wishes) else self._world.now
        results = [*map(self._seeder_result, self._seeders), *map(self._result, self._wishes)]
        prediction = Prediction(
            estimate_s=self._estimate(ended) if len(done) == len(self._wishes) else None,
            real_pieces=self._scale.real_pieces,
        )
        return Outcome(
            name=RANDOM_NAME,
            size=self._plan.size,
            pieces=self._scale.pieces,
            digest="",
            wall_s=self._after(ended),
            results=results,
            usage=None,
            prediction=prediction,
            bound_s=self._bound,
            notes=list(self._notes()),
        )

    def _seeder_result(self, peer: Peer) -> PeerResult:
        return PeerResult(peer=peer.name, ok=True, seeder=True, sent=self._scaled(peer.net.sent_bytes))

    def _result(self, wish: Wish) -> PeerResult:
        peer, done_at = wish.peer, wish.done_at
        error = "" if done_at is not None else self._why_not(wish)
        if not error and not wish.is_right:
            error = "its copy is wrong"
        return PeerResult(
            peer=peer.name,
            ok=not error,
            seconds=None if done_at is None else self._after(done_at),
            sent=self._scaled(peer.net.sent_bytes),
            received=self._scaled(self._traffic.received[peer.name]),
            sources=len(self._traffic.sources[peer.name]),
            error=error,
        )

    def _scaled(self, count: float) -> int:
        return round(count * self._scale.factor)

    def _after(self, moment: float) -> float:
        """Seconds of the rollout from its begin to ``moment`` of the world."""
        return (moment - self._began_at) * self._scale.lapse

    def _why_not(self, wish: Wish) -> str:
        waited = format_seconds(self._after(self._world.now))
        agent = wish.peer.agent
        if not wish.peer.powered or agent is None:
            return f"not done after {waited}: its machine is off"
        gets = [job for job in agent.core.jobs.all() if job.kind == "get" and job.digest == self._content.digest]
        if not gets:
            return f"not done after {waited}"
        job = gets[-1]
        detail = job.detail or (job.download.detail if job.download is not None else "")
        return f"not done after {waited}: {': '.join(filter(None, (job.phase, detail)))}"

    def _notes(self) -> Iterator[str]:
        """What a person has to know about the figures."""
        plan, scale = self._plan, self._scale
        links = f"{plan.links}, {plan.delay * 1e3:g} ms there and back"
        yield f"a simulation in virtual time: {links}, disks and processors that are never the limit"
        if scale.is_coarse:
            yield (
                f"{scale.pieces} pieces of {format_bytes(scale.piece_length * scale.factor)} stand for "
                f"{scale.real_pieces} of {format_bytes(scale.piece_length)}. A piece is passed on once it is whole, so "
                "it takes longer until all peers have something to give, and until the last piece is everywhere"
            )
        if scale.lapse > 1:
            yield f"one second of the model stands for {scale.lapse:.3g} of the rollout"
        if scale.sources:
            yield f"a download hears of {scale.sources} others on average, not of all, so there is no grid"
        if self._died_at is not None:
            after = f"{self._after(self._died_at):.2f} s"
            who = "the seeder" if plan.seeders == 1 else f"all {plan.seeders} seeders"
            yield f"{who} lost power for good after {after}"
        if plan.faults != "none":
            yield f"{plan.faults} faults, drawn from seed {plan.seed}; the seeders are spared, and nobody lies"
            yield f"faults a second: {self._faults}"


def _nothing() -> None:
    """The seeders live on."""
