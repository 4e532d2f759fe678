"""One world with faults, from one seed: a safety phase, in which anything may happen, then all is healed and everybody
who lives must get what it wants. Pure.
"""

from __future__ import annotations

import traceback
from math import exp, log
from random import Random

from msgspec import Struct

from cluster.simulated.agreement import Agreement
from cluster.simulated.content import SimulatedContent, make_content
from cluster.simulated.errors import LivenessError
from cluster.simulated.faults import FaultPlan, Faults, Level, draw_plan
from cluster.simulated.host import PeerTerms
from cluster.simulated.invariants import Invariants
from cluster.simulated.liars import KINDS, Flooder, Kind, fetch_lies, server_lies
from cluster.simulated.peer import Peer
from cluster.simulated.settled import check_forgotten, check_settled
from cluster.simulated.several import Several, draw_count
from cluster.simulated.streams import Streams
from cluster.simulated.tight import draw_tight, limited
from cluster.simulated.world import PERSON_SECONDS, Machine, Wish, World
from node.client.view import view_of
from node.downloader.download import Download
from protocol.bitfield import Bitfield
from protocol.limits import LEASE_SECONDS, PIECE_BYTES_MIN
from protocol.link import Link, format_link

START_SECONDS = 10.0
"""Peers start, and people want things, within so long."""
PATIENCE_SECONDS = 240.0
"""The timeouts that may have to pass one after another once all is healed: a connection that died without a word
(30 s, before it was given up), a session that stalled (60 s), a tracker that refuses (60 s, jittered), a source that
was set aside (up to 160 s, side by side with the others)."""
CALM_SECONDS = 8.0
"""The same where nothing goes wrong: to join, and to find out who has what."""
BOUND_FACTOR = 2.0
SLOWEST_FACTOR = 0.5
"""Of the links of a world, the slowest."""
CALM_PART = 0.04
"""Of worlds with heavy faults that have none at all."""
FORGET_SECONDS = 2.0
"""After the lease: the registrar looks now and then."""
CURIOUS_SECONDS = 2.0
LATE_PART, DEPARTURE_PART, BY_NAME_PART, MISLED_PART = 0.25, 0.25, 0.2, 0.3
"""Who wants it only later; worlds in which one machine does not come back; who knows no more than a name; who was given
a bad link."""
MORE_PART, MORE_FACTOR = 0.03, 5
"""Contents of which there are so many times as many pieces as usual."""
SEQUENTIAL_PART, IN_ORDER_PART = 0.15, 0.5
"""Worlds in which some want the pieces in order, and how many do there."""
EXCUSES = ("nobody has", "no source", "nobody in", "no peer has it", "asking")
"""How what a person is told of a download begins that lacks what nobody has."""
SETTLE_SECONDS = 60.0
"""A connection that died without a word, then a lease and a heartbeat, and what follows from them."""


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


def run_scenario(seed: int, level: Level) -> Outcome:
    """Make the world of ``seed`` and run it. Whatever breaks is the outcome's ``error``, also when it is made."""
    try:
        scenario = Scenario(seed, level)
    except Exception as broken:  # noqa: BLE001 - one world of many; the others are to be seen too
        error = f"it could not be made: {_what_broke(broken)}"
        return Outcome(seed, level, "", "", digest="", events=0, seconds=0, error=error, last=[])
    return scenario.run()


class Scenario:
    """The world of ``seed`` with faults of ``level``."""

    def __init__(self, seed: int, level: Level) -> None:
        self.seed, self.level = seed, level
        trackers = draw_count(Streams(seed).of("two trackers")) if level == "heavy" else 1
        self.world = World(seed, lookups=1 + seed % 2, trackers=trackers)
        streams = self.world.streams
        self._rng = streams.of("scenario")
        heavy = level == "heavy"
        calm = heavy and self._rng.random() < CALM_PART
        self.plan: FaultPlan = FaultPlan() if calm else draw_plan(level, streams.of("plan"))
        self.tight = draw_tight(streams.of("limits")) if heavy and not calm else {}
        self.contents = [self._make_content(number) for number in range(self._rng.choice((1, 1, 2)))]
        self.seeders: list[Peer] = []
        self.receivers: list[Peer] = []
        self.liars: dict[str, Kind] = {}
        self.gone: tuple[str, ...] = ()
        """Machines that do not come back."""
        self._piece_seconds = _log_uniform(self._rng, 0.02, 2.0)
        self.setting = self._populate()
        spared = (self.seeders[0].name,) if self._rng.random() < 0.7 else ()
        self.faults = Faults(self.world, self.plan, spared)
        self.invariants = Invariants(self.world, self.liars)
        self.agreement = Agreement(self.world, self.liars, self.invariants.relays)
        self._spared = spared
        self._orders = streams.of("sequential")
        self._in_order = IN_ORDER_PART if self._orders.random() < SEQUENTIAL_PART else 0.0
        self._flooders: list[Flooder] = []
        self._several = Several(self.world) if trackers > 1 else None
        if self._several is not None:
            self.setting += f", {trackers} trackers, of which at last one {self._several.fate}"

    def run(self) -> Outcome:
        """All of it. Whatever breaks is the outcome's ``error``."""
        error = ""
        try:
            with limited(self.tight):
                self._safety()
                self._liveness()
        except Exception as broken:  # noqa: BLE001 - whatever a core raises is what this is looking for
            error = _what_broke(broken)
        trace = self.world.trace
        assert trace is not None
        return Outcome(
            seed=self.seed,
            level=self.level,
            setting=self.setting + "".join(f", {name} {value:,}" for name, value in self.tight.items()),
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
        if number:
            pieces = max(1, pieces)  # two of no bytes are one content, of which peers know one name
        if self.world.streams.of("more pieces", number).random() < MORE_PART:
            pieces *= MORE_FACTOR
        length = pieces * PIECE_BYTES_MIN - (self._rng.randrange(PIECE_BYTES_MIN) if pieces else 0)
        content = make_content(f"data-{number}.bin", length)
        self.world.add_content(content)
        return content

    def _populate(self) -> str:
        rng = self._rng
        seeders, receivers = rng.randint(1, 2), rng.randint(1, 7)
        rate = PIECE_BYTES_MIN / self._piece_seconds
        delay = _log_uniform(rng, 2.5e-5, 1.25e-2)
        for number in range(seeders + receivers):
            whole = number < seeders
            factor = rng.choice((1.0, 1.0, 1.0, SLOWEST_FACTOR, 4.0))
            machine = Machine(rate * factor, rate * factor, delay, disk_rate=_log_uniform(rng, 2e7, 2e9))
            name = f"seed-{number}" if whole else f"peer-{number - seeders}"
            peer = self.world.add_peer(name, machine, PeerTerms(*self._limits(machine)))
            (self.seeders if whole else self.receivers).append(peer)
        for peer in self.receivers[: self.plan.liars]:
            kind = rng.choice(KINDS)
            self.liars[peer.name] = kind
            self._make_liar(peer, kind)
        lies = ", ".join(f"{name} is {kind}" for name, kind in self.liars.items())
        pieces = " and ".join(str(content.manifest.piece_count) for content in self.contents)
        return (
            f"{seeders} seeders, {receivers} receivers, {pieces} pieces, "
            f"{rate / 1e6:.2f} MB/s, {4e3 * delay:.2f} ms round trip{', ' + lies if lies else ''}"
        )

    def _limits(self, machine: Machine) -> tuple[float, float]:
        """What the configuration allows of the links, if it limits them."""
        up, down = (self._rng.uniform(0.3, 1.0) if self._rng.random() < 0.1 else 0.0 for _ in range(2))
        return machine.up * up, machine.down * down

    def _make_liar(self, peer: Peer, kind: Kind) -> None:
        rng = self.world.streams.of("liar", peer.name)
        peer.tamper = server_lies(kind, self.contents[0].manifest.piece_count, rng, self.contents[-1].seed)
        peer.tamper_fetch = fetch_lies(kind)
        if kind in ("impostor", "twin"):
            original = rng.choice([*self.seeders, *self.receivers])
            peer.identity = original.identity
            peer.token = original.token if kind == "twin" else peer.token

    # --- phases ------------------------------------------------------------------------------------------

    def _safety(self) -> None:
        world, rng = self.world, self._rng
        self.invariants.watch()
        self.agreement.start()
        until = START_SECONDS + (0.0 if self.plan.calm else rng.uniform(0, 30))
        for peer in self.seeders:
            for content in self.contents:
                self._seed(peer, content)
        for peer in [*self.seeders, *self.receivers]:
            if self.liars.get(peer.name) == "flooder":
                world.clock.after(rng.uniform(0, START_SECONDS), self._flood, peer)
                continue
            starts = rng.choice((0.0, rng.uniform(0, START_SECONDS)))
            world.clock.after(starts, peer.start)
        for peer in self.receivers:
            if self.liars.get(peer.name) != "flooder":
                for content in self.contents:
                    since = rng.uniform(0, until if rng.random() < LATE_PART else START_SECONDS)
                    world.clock.after(since, self._wish, peer, content, rng.random() < 0.7, rng.random() < BY_NAME_PART)
        self.faults.start()
        if self._several is not None:
            self._several.start()
        self._be_curious()
        world.run(until)
        self.invariants.check_published()

    def _seed(self, peer: Peer, content: SimulatedContent) -> None:
        """``peer`` has it from its start on, or somebody shares it there; nothing befalls the disk of a spared one."""
        if peer.name in self._spared and self._rng.random() < 0.5:
            self.world.clock.after(self._rng.uniform(0, START_SECONDS), self.world.tell_share, peer, content)
        else:
            self.world.give(peer, content)

    def _bad_link(self) -> str:
        """To one content, with the manifest of the other if there is one, which liars hand out."""
        one, other = self.contents[0], self.contents[-1]
        return format_link(Link(one.digest, other.manifest_digest, one.name, one.manifest.length))

    def _be_curious(self) -> None:
        """Now and then somebody somewhere looks what there is."""
        self.world.tell_list(self._rng.choice([*self.seeders, *self.receivers]))
        self.world.clock.after(self._rng.expovariate(1 / CURIOUS_SECONDS), self._be_curious)

    def _wish(self, peer: Peer, content: SimulatedContent, by_link: bool, by_name: bool) -> None:
        if content is self.contents[0] and peer.name not in self.liars and self._rng.random() < MISLED_PART:
            self.world.tell_get(peer, self._bad_link())
        self.world.want(peer, content, by_link, by_name, self._orders.random() < self._in_order)

    def _flood(self, peer: Peer) -> None:
        world = self.world
        endpoints = [other.endpoint for other in world.peers.values() if other is not peer]
        rng = world.streams.of("flooder", peer.name)
        flooder = Flooder(world.network, peer.net, endpoints, world.tracker.address, list(world.contents), rng)
        self._flooders.append(flooder)

    def _liveness(self) -> None:
        world = self.world
        self.gone = self._depart()
        self.faults.heal(self.gone)
        for flooder in self._flooders:
            flooder.stop()
        for name, kind in self.liars.items():
            if kind in ("impostor", "twin", "flooder"):
                world.peers[name].power_off()
        # a tracker that stood still gives its peers a lease more
        leases = 2 if self.plan.tracker_pauses else 1
        forgetful = list(world.trackers)
        if self._several is not None:
            self._several.heal()
            forgetful = list(self._several.serving())
        world.clock.after(leases * LEASE_SECONDS + FORGET_SECONDS, check_forgotten, world, self.gone, forgetful)
        for wish in self._wishes():
            self._see_through(wish)
        if not self._run_until_done():
            self._rescue()
        world.run(world.now + SETTLE_SECONDS)
        if self._several is not None:
            self._several.check_lists()
            self._several.end()
            world.run(world.now + SETTLE_SECONDS)
        self.invariants.check_published()
        check_settled(world, self.liars, self.invariants.heard.seeders_asked_at)

    def _see_through(self, wish: Wish) -> None:
        """Who was given a bad link gives it up: there may be somebody who never answers what is asked for by it."""
        agent = wish.peer.agent
        if agent is not None and agent.alive:
            running = agent.core.gets.digests.get(wish.content.digest)
            if running is not None and running.manifest != wish.content.manifest_digest:
                self.world.tell_remove(wish.peer, wish.content.digest)
        self.world.clock.after(PERSON_SECONDS, self._see_through, wish)

    def _depart(self) -> tuple[str, ...]:
        """Names of machines that are off for good once all others are healed."""
        candidates = [peer.name for peer in [*self.seeders, *self.receivers] if peer.name not in self._spared]
        candidates = [name for name in candidates if name not in self.liars]
        if self.plan.calm or not candidates or self._rng.random() >= DEPARTURE_PART:
            return ()
        return (self._rng.choice(candidates),)

    def _run_until_done(self) -> bool:
        world = self.world
        allowed = BOUND_FACTOR * self._bound() + (CALM_SECONDS if self.plan.calm else PATIENCE_SECONDS)
        world.note("scenario", f"{allowed:.1f} s for {len(self._open_wishes())}")
        return world.run(world.now + allowed, lambda: not self._open_wishes())

    def _wishes(self) -> list[Wish]:
        """Those of who lives and is honest."""
        others = {*self.liars, *self.gone}
        return [wish for wish in self.world.wishes if wish.peer.name not in others]

    def _open_wishes(self) -> list[Wish]:
        return [wish for wish in self._wishes() if wish.done_at is None]

    def _rescue(self) -> None:
        """Not everybody is done. Who could be is a failure; the others have to say what is missing, and to be done when
        somebody comes who has it."""
        for wish in self._open_wishes():
            if not self._gives_up_another(wish):
                self._check_excuse(wish)
        peer = self.world.add_peer("rescuer", Machine(*self.seeders[0].machine_rates), PeerTerms())
        for content in self.contents:
            self.world.give(peer, content)
        peer.start()
        if not self._run_until_done():
            raise LivenessError("; ".join(self._state(wish) for wish in self._open_wishes()))

    def _gives_up_another(self, wish: Wish) -> bool:
        """Who asked by name, and so gets other content of that name, which somebody's rewritten copy was, gives it up
        for the one that is wanted. Whether that is so."""
        others = [job.digest for job in wish.jobs() if not job.over and job.digest not in ("", wish.content.digest)]
        for digest in others:
            wish.target = wish.content.link
            self.world.tell_remove(wish.peer, digest)
        return bool(others)

    def _check_excuse(self, wish: Wish) -> None:
        banned = self._banned_by(wish)
        had = Bitfield(wish.content.manifest.piece_count)
        for peer in self.world.peers.values():
            if peer.powered and peer.identity not in banned and peer.name not in self.liars:
                for piece in _good_pieces(peer, wish.content):
                    had.set(piece)
        if had.full and (wish.seed or self._is_described(wish, banned)):
            raise LivenessError(f"all pieces are there, but {self._state(wish)}")
        if self._is_lied_to(wish):
            return
        detail, missing = self._detail(wish), list(had.missing())
        if not detail.startswith(EXCUSES) and " known, " not in detail:
            raise LivenessError(f"{wish.peer.name} lacks {missing}, which nobody has, and says {detail!r}")
        download = self._download_of(wish)
        if download is not None and detail.startswith("nobody has"):
            said = download.nobody_has()
            if not {piece for piece in missing if piece not in download.have} <= set(said):  # it may have rotted there
                raise LivenessError(f"{wish.peer.name} lacks {missing}, which nobody has, and says {said}")

    def _is_described(self, wish: Wish, banned: list[str]) -> bool:
        """Whether somebody honest has the manifest, and says so."""
        for peer in self.world.peers.values():
            digests = {item.digest for item in peer.disk.items.values()}
            digests |= {partial.claim for partial in peer.disk.partials.values()}
            others = peer is not wish.peer and peer.name not in self.liars and peer.identity not in banned
            if peer.powered and others and wish.content.digest in digests:
                return True
        return False

    def _is_lied_to(self, wish: Wish) -> bool:
        """Whether somebody says to have what nobody has."""
        download = self._download_of(wish)
        return download is not None and any(source.entry.name in self.liars for source in download.sources)

    def _banned_by(self, wish: Wish) -> list[str]:
        download = self._download_of(wish)
        return [] if download is None else list(download.pool.banned)

    def _download_of(self, wish: Wish) -> Download | None:
        """What is under way of it just now, if it has begun."""
        downloader = wish.peer.downloader
        job = downloader.core.jobs.get(wish.content.digest) if downloader is not None else None
        return None if job is None else job.download

    def _detail(self, wish: Wish) -> str:
        jobs = wish.jobs()
        if not jobs:
            return "it knows of no such download"
        view = view_of(next((job for job in jobs if not job.over), jobs[-1]))
        return view.note or view.verb

    def _state(self, wish: Wish) -> str:
        peer = wish.peer
        jobs = peer.downloader.core.jobs.values() if peer.downloader is not None else ()
        pieces = [
            f"{job.download.have.count_set} of {job.download.have.size}" for job in jobs if job.download is not None
        ]
        failures = f", failed {len(wish.failures)} times, last {wish.failures[-1]}" if wish.failures else ""
        network = peer.agent.core.trackers.network if peer.agent is not None else "no agent"
        return f"{peer.name} ({network}) has {pieces or 'nothing'}, says {self._detail(wish)!r}{failures}"

    def _bound(self) -> float:
        """Seconds below which no schedule brings everybody what it lacks, of the machines as they are when healed: the
        bound of Kumar and Ross, of what is left. No sooner can each receiver have taken what it lacks, those who have
        it have sent once what no receiver has, and all together have sent all that is lacking; or one of them, where
        some want the pieces in order: they all want the same from whoever has it."""
        powered = [peer for peer in self.world.peers.values() if peer.name not in self.liars and peer.powered]
        lacking = dict.fromkeys((wish.peer.name for wish in self._open_wishes()), 0)
        fresh = 0
        holders: dict[str, Peer] = {}
        for content in self.contents:
            open_peers = [wish.peer for wish in self._open_wishes() if wish.content is content]
            size, pieces = content.manifest.piece_size, set(range(content.manifest.piece_count))
            everywhere = pieces if open_peers else set()
            for peer in open_peers:
                lacks = pieces.difference(_good_pieces(peer, content))
                lacking[peer.name] += sum(map(size, lacks))
                everywhere = everywhere & lacks
            fresh += sum(map(size, everywhere))
            holders |= {p.name: p for p in powered if not everywhere.isdisjoint(_good_pieces(p, content))}
        rates = [_rates(peer)[0] for peer in powered]
        ups = min(rates) if any(wish.sequential for wish in self._open_wishes()) else sum(rates)
        downs = [count / _rates(self.world.peers[name])[1] for name, count in lacking.items()]
        first = fresh / sum(_rates(peer)[0] for peer in holders.values()) if holders else 0.0
        return max(first, *downs, sum(lacking.values()) / ups) if downs else 0.0


def _rates(peer: Peer) -> tuple[float, float]:
    """Up and down, in bytes/s, as far as its configuration allows."""
    (up, down), terms = peer.machine_rates, peer.terms
    return min(up, terms.upload_rate or up), min(down, terms.download_rate or down)


def _good_pieces(peer: Peer, content: SimulatedContent) -> list[int]:
    """What the peer can give of ``content`` that is right."""
    disk, true = peer.disk, content.stand_ins
    held: dict[int, bytes] = {}
    for item in disk.items.values():
        if item.digest == content.digest and item.path in disk.files and not item.state:
            held |= disk.files[item.path].pieces
    for partial in disk.partials.values():
        if partial.claim == content.digest:
            held |= partial.pieces
    return [piece for piece, data in held.items() if piece < len(true) and data == true[piece]]


def _what_broke(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"


def _log_uniform(rng: Random, low: float, high: float) -> float:
    return exp(rng.uniform(log(low), log(high)))
