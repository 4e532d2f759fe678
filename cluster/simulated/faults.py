"""What goes wrong in a simulated world, and how often: drawn from the seed, zero included. Pure.

Every kind of fault happens at random moments at a rate of its own. What lasts ends by itself after a while, and all of
it when the world is healed; what was lost stays lost. Peers that lie are `liars`'.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from random import Random
from typing import Literal

import msgspec
from msgspec import Struct

from cluster.simulated.disk import TORN
from cluster.simulated.network import Connection
from cluster.simulated.peer import ROLES, Peer, Role
from cluster.simulated.tracker import Tracker
from cluster.simulated.world import World

Level = Literal["none", "light", "heavy"]


class FaultPlan(Struct, frozen=True):
    """How often each thing happens in the world, per second, and how long what lasts does, in seconds on average."""

    process_kills: float = 0
    power_cuts: float = 0
    pauses: float = 0
    broken_connections: float = 0
    half_open_connections: float = 0
    partitions: float = 0
    one_way_partitions: float = 0
    slow_links: float = 0
    full_queues: float = 0
    full_disks: float = 0
    flipped_bits: float = 0
    rewritten_files: float = 0
    registrar_kills: float = 0
    lookup_kills: float = 0
    tracker_pauses: float = 0
    leaves: float = 0
    removals: float = 0
    lost_journals: float = 0
    lying_disks: float = 0
    lasting: float = 5.0
    liars: int = 0

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong at all."""
        return not self.liars and not any(getattr(self, kind) for kind in _HIGHEST)

    def __str__(self) -> str:
        if self.calm:
            return "none"
        kinds = msgspec.structs.asdict(self)
        shown = [f"{kind} {value:.3g}" for kind, value in kinds.items() if value]
        never = [kind for kind, value in kinds.items() if not value]
        return ", ".join(shown) + (f"; never: {', '.join(never)}" if never else "")


_HIGHEST = {
    "process_kills": 0.5,
    "power_cuts": 0.2,
    "pauses": 0.3,
    "broken_connections": 2.0,
    "half_open_connections": 0.2,
    "partitions": 0.1,
    "one_way_partitions": 0.1,
    "slow_links": 0.2,
    "full_queues": 0.5,
    "full_disks": 0.1,
    "flipped_bits": 0.1,
    "rewritten_files": 0.1,
    "registrar_kills": 0.1,
    "lookup_kills": 0.1,
    "tracker_pauses": 0.05,
    "leaves": 0.1,
    "removals": 0.1,
    "lost_journals": 0.05,
    "lying_disks": 0.05,
}
"""Of a heavy plan; a light one has a twentieth of that, and only what an honest day brings."""
LOWEST_PART = 0.02
_LIGHT = ("process_kills", "power_cuts", "pauses", "broken_connections", "slow_links", "registrar_kills", "leaves")
LIGHT_PART = 0.05
NEVER = 0.4
"""How likely it is that a kind of fault does not happen in a world at all."""
LIARS_COUNT_MAX = 2
BUSY = 0.5
"""How often what goes wrong is looked for where something is going on."""
CRASHES_AGAIN = 0.25
"""How often a process that was killed is killed again as soon as it is back..."""
CRASHES_COUNT_MAX, CRASH_SECONDS = 8, 0.11
"""...so many times more, and after so long each time."""


def draw_plan(level: Level, rng: Random) -> FaultPlan:
    """A plan of ``level``."""
    rates: dict[str, float] = {}
    for kind, highest in _HIGHEST.items():
        never, part = rng.random() < NEVER, exp(rng.uniform(log(LOWEST_PART), 0.0))
        if level == "heavy" and not never:
            rates[kind] = highest * part
        elif level == "light" and kind in _LIGHT and not never:
            rates[kind] = highest * part * LIGHT_PART
    lasting, liars = rng.uniform(0.5, 20.0), rng.randrange(LIARS_COUNT_MAX + 1)
    return FaultPlan(**rates, lasting=lasting, liars=liars if level == "heavy" else 0)


class Faults:
    """Makes the faults of ``plan`` happen in ``world`` until `heal`. Peers named in ``spared`` keep their machines and
    their disks."""

    def __init__(self, world: World, plan: FaultPlan, spared: tuple[str, ...] = ()) -> None:
        self._world = world
        self._plan = plan
        self._spared = spared
        self._rng = world.streams.of("faults")
        self._ends: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._healed = False

    def start(self) -> None:
        for kind, happen in _KINDS.items():
            rate = getattr(self._plan, kind)
            if rate:
                self._next(rate, kind, happen)

    def heal(self, gone: tuple[str, ...] = ()) -> None:
        """Nothing goes wrong any more, and what lasts ends; peers named in ``gone`` are off for good."""
        self._healed = True
        for wish in self._world.wishes:
            wish.again_at = 0.0
        for number in list(self._ends):
            self._end(number)
        for peer in self._world.peers.values():
            if peer.name in gone:
                peer.power_off()
            elif not peer.powered:
                peer.power_on()
        self._world.note("faults", "healed")

    # --- steps -------------------------------------------------------------------------------------------

    def _next(self, rate: float, kind: str, happen: Callable[[Faults], object]) -> None:
        self._world.clock.after(self._rng.expovariate(rate), self._happen, rate, kind, happen)

    def _happen(self, rate: float, kind: str, happen: Callable[[Faults], object]) -> None:
        if not self._healed:
            self._world.note("faults", f"{kind}: {happen(self)}")
            self._next(rate, kind, happen)

    def _lasts(self, end: Callable[[], None], seconds: float = 0) -> None:
        """Call ``end`` some time from now, or when all is healed."""
        self._number += 1
        self._ends[self._number] = end
        lasting = seconds or self._rng.expovariate(1 / self._plan.lasting)
        self._world.clock.after(lasting, self._end, self._number)

    def _end(self, number: int) -> None:
        end = self._ends.pop(number, None)
        if end is not None:
            end()

    def _any_peer(self) -> Peer | None:
        """One whose machine is on; as often as not one that is at work."""
        peers = [peer for peer in self._world.peers.values() if peer.powered]
        if self._rng.random() < BUSY:
            peers = [peer for peer in peers if _is_busy(peer)] or peers
        return self._rng.choice(peers) if peers else None

    def _any_tracker(self) -> Tracker:
        trackers = self._world.trackers
        return self._rng.choice(trackers) if len(trackers) > 1 else trackers[0]

    # --- one kind each; what they return is for the record -------------------------------------------------

    def _process_kills(self) -> str:
        peer = self._any_peer()
        if peer is None:
            return "nobody"
        role = self._rng.choice(ROLES)
        peer.kill(role)
        again = 0
        if self._rng.random() < CRASHES_AGAIN:
            again = self._rng.randint(1, CRASHES_COUNT_MAX)
            for number in range(again):
                self._world.clock.after((number + 1) * CRASH_SECONDS, self._kill_again, peer, role)
        return f"{peer.name} {role} {1 + again} times"

    def _kill_again(self, peer: Peer, role: Role) -> None:
        if not self._healed:
            peer.kill(role)

    def _power_cuts(self) -> str:
        peer = self._any_peer()
        if peer is None or peer.name in self._spared:
            return "nobody"
        peer.power_off()
        self._lasts(peer.power_on)
        return peer.name

    def _pauses(self) -> str:
        """A machine stands still, or one process of it."""
        peer = self._any_peer()
        if peer is None:
            return "nobody"
        process = peer.process(self._rng.choice(ROLES))
        if process is not None and self._rng.random() < 0.5:
            process.pause()
            self._lasts(process.go_on)
            return process.name
        peer.pause()
        self._lasts(peer.go_on)
        return peer.name

    def _broken_connections(self) -> str:
        connections = self._between_machines()
        if not connections:
            return "none"
        broken = self._rng.choice(connections)
        self._world.network.break_up(broken)
        return f"{broken.client.name}>{broken.server.name}"

    def _between_machines(self) -> list[Connection]:
        """What stays on one machine breaks only with a process. As often as not, what pieces are on."""
        found = [one for one in self._world.network.connections() if one.client is not one.server]
        if self._rng.random() < BUSY:
            return [one for one in found if len(one.to_client)] or found
        return found

    def _half_open_connections(self) -> str:
        connections = self._between_machines()
        if not connections:
            return "none"
        broken = self._rng.choice(connections)
        self._world.network.half_open(broken)
        return f"{broken.client.name}>{broken.server.name}"

    def _partitions(self) -> str:
        """Some hosts on one side, the others on the other one."""
        hosts = list(self._world.network.hosts)
        count = self._rng.randint(1, len(hosts) - 1)
        some = self._rng.sample(hosts, count)
        others = [host for host in hosts if host not in some]
        self._cut([(one, other) for one in some for other in others], both=True)
        return "+".join(some)

    def _one_way_partitions(self) -> str:
        one, other = self._rng.sample(list(self._world.network.hosts), 2)
        self._cut([(one, other)], both=False)
        return f"{one}>{other}"

    def _cut(self, pairs: list[tuple[str, str]], both: bool) -> None:
        network = self._world.network
        ways = [*pairs, *((b, a) for a, b in pairs)] if both else pairs
        for way in ways:
            network.cut(*way)

        def end() -> None:
            for way in ways:
                network.heal(*way)

        self._lasts(end)

    def _slow_links(self) -> str:
        peer = self._any_peer()
        if peer is None:
            return "nobody"
        port, links = peer.net.port, self._world.network.links
        up, down = peer.machine_rates
        part = exp(self._rng.uniform(log(0.05), 0.0))
        links.set_rates(port, up * part, down * part)
        self._lasts(lambda: links.set_rates(port, up, down))
        return f"{peer.name} {part:.2f}"

    def _full_queues(self) -> str:
        connections = [one for one in self._world.network.connections() if one.state == "open"]
        if self._rng.random() < BUSY:
            connections = [one for one in connections if len(one.to_client)] or connections
        if not connections:
            return "none"
        full = self._rng.choice(connections)
        until = self._world.now + self._rng.uniform(0.0, 0.5)
        lane = self._rng.choice((full.to_client, full.to_server))
        lane.full_until = until
        return f"{full.client.name}>{full.server.name}"

    def _full_disks(self) -> str:
        peer = self._any_peer()
        if peer is None or peer.disk.stuffed:
            return "nobody"
        disk = peer.disk
        disk.stuffed = True

        def end() -> None:
            disk.stuffed = False

        self._lasts(end)
        return peer.name

    def _flipped_bits(self) -> str:
        peer = self._any_peer()
        if peer is None or peer.name in self._spared:
            return "nobody"
        return f"{peer.name}: {peer.disk.flip_bit(self._rng)}"

    def _rewritten_files(self) -> str:
        peer = self._any_peer()
        if peer is None or peer.name in self._spared or not peer.disk.files:
            return "nobody"
        path = self._rng.choice(sorted(peer.disk.files))
        peer.disk.rewrite(path, self._rng)
        return f"{peer.name}: {path}"

    def _registrar_kills(self) -> str:
        tracker = self._any_tracker()
        if tracker.registrar.alive:
            tracker.kill_registrar()
        return tracker.registrar.name

    def _lookup_kills(self) -> str:
        tracker = self._any_tracker()
        number = self._rng.randrange(len(tracker.lookups))
        if tracker.lookups[number].alive:
            tracker.kill_lookup(number)
        return tracker.lookups[number].name

    def _tracker_pauses(self) -> str:
        process = self._rng.choice(self._any_tracker().processes)
        process.pause()
        self._lasts(process.go_on)
        return process.name

    def _leaves(self) -> str:
        """Somebody takes a peer out of the network, and back in later."""
        peer = self._any_peer()
        if peer is None:
            return "nobody"
        self._world.tell_leave(peer)
        self._lasts(lambda: self._world.tell_join(peer))
        return peer.name

    def _removals(self) -> str:
        """Somebody cancels a download, because it hangs, or by mistake, or for good, as they think."""
        open_wishes = [wish for wish in self._world.wishes if wish.done_at is None]
        if not open_wishes:
            return "none"
        wish = self._rng.choice(open_wishes)
        why = self._rng.choice(("hung", "mistake", "for good"))
        if why == "hung":
            wish.peer.kill("downloader")
        self._world.tell_remove(wish.peer, wish.content.digest)
        if why == "mistake":
            self._world.tell_get(wish.peer, wish.content.link)
        else:
            wish.again_at = self._world.now + self._rng.expovariate(1 / self._plan.lasting)
        return f"{wish.peer.name}, {why}"

    def _lost_journals(self) -> str:
        """A downloader ends, and its journal is gone when it is back: a data directory from before, say."""
        peer = self._any_peer()
        if peer is None or peer.name in self._spared:
            return "nobody"
        peer.kill("downloader")
        peer.disk.journal.clear()
        return peer.name

    def _lying_disks(self) -> str:
        """A power cut, and what the disk said was durable is not: its own cache had no battery."""
        peer = self._any_peer()
        if peer is None or peer.name in self._spared:
            return "nobody"
        peer.power_off()
        torn = 0
        for partial in peer.disk.partials.values():
            for piece in sorted(partial.pieces):
                if self._rng.random() < 0.3:
                    partial.pieces[piece] = partial.durable[piece] = TORN + partial.pieces[piece]
                    torn += 1
        self._lasts(peer.power_on)
        return f"{peer.name}: {torn} pieces"


def _is_busy(peer: Peer) -> bool:
    """Whether it sends or receives pieces just now."""
    if peer.piece_server is not None and peer.piece_server.alive and peer.piece_server.core.uploads.queued_pieces:
        return True
    if peer.downloader is None or not peer.downloader.alive:
        return False
    jobs = peer.downloader.core.jobs.values()
    return any(job.download is not None and any(source.owes for source in job.download.sources) for job in jobs)


_KINDS: dict[str, Callable[[Faults], object]] = {
    "process_kills": Faults._process_kills,
    "power_cuts": Faults._power_cuts,
    "pauses": Faults._pauses,
    "broken_connections": Faults._broken_connections,
    "half_open_connections": Faults._half_open_connections,
    "partitions": Faults._partitions,
    "one_way_partitions": Faults._one_way_partitions,
    "slow_links": Faults._slow_links,
    "full_queues": Faults._full_queues,
    "full_disks": Faults._full_disks,
    "flipped_bits": Faults._flipped_bits,
    "rewritten_files": Faults._rewritten_files,
    "registrar_kills": Faults._registrar_kills,
    "lookup_kills": Faults._lookup_kills,
    "tracker_pauses": Faults._tracker_pauses,
    "leaves": Faults._leaves,
    "removals": Faults._removals,
    "lost_journals": Faults._lost_journals,
    "lying_disks": Faults._lying_disks,
}
