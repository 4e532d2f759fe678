"""The swarms whose scheduling is measured, each a function of a seed that returns figures. Pure.

A figure is a ratio of which 1 is the best there can be, unless its name says otherwise; infinite when something that
should have happened did not. How many receivers and pieces there are is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, floor, inf
from random import Random
from statistics import median

from benchmarks.swarm import DELAY, PIECE_SECONDS, RATE, Swarm, corrupt, machine
from cluster.bound import kumar_ross, mundinger
from cluster.simulated.liars import Kind, fetch_lies, server_lies

Figures = dict[str, float]
Case = Callable[[int, int, int], Figures]
"""Takes the seed, how many receivers and how many pieces."""

SLOW_PART, SLOW_FACTOR = 1 / 16, 4
UNEVEN_PART, UNEVEN_START_COUNT = 0.1, 40
"""By how much uplinks may differ from the usual, and within how many piece times receivers begin."""
UPLINKS = (1, 2, 4, 8)
"""Of as many receivers each; the seeder's is the last of them, and so are all downlinks."""
KILLED_PART = 0.3
LIAR_PART = 0.1
LARGER_FACTOR = 16
"""How many times the receivers of the smaller swarm."""
HOARDED_COUNT = 4_000
"""Pieces that a hoarder asks for at a time."""
REMEMBERED_COUNT = 8
"""Swarms of equal links that others are compared with."""


def equal_links(seed: int, receivers: int, pieces: int) -> Figures:
    """Everybody has the same link."""
    return dict(_equal_links(seed, receivers, pieces))


def uneven_links(seed: int, receivers: int, pieces: int) -> Figures:
    """Uplinks differ a little, and receivers begin one after the other, so nothing happens everywhere at once."""
    rng = Random(seed)
    ups = [RATE * rng.uniform(1 - UNEVEN_PART, 1 + UNEVEN_PART) for _ in range(receivers)]
    swarm = Swarm(seed, machine(), [machine(up=up) for up in ups], pieces)
    best = optimum(receivers, pieces)
    swarm.get(sorted(rng.uniform(0, UNEVEN_START_COUNT * PIECE_SECONDS) for _ in ups))
    swarm.run(swarm.receivers, best)
    return {"last / optimum": swarm.seconds(swarm.receivers)[-1] / best, **_traffic(swarm)}


def far_away(seed: int, receivers: int, pieces: int) -> Figures:
    """Everybody has the same link, on which a message takes as long there and back as a piece."""
    return dict(_equal_links(seed, receivers, pieces, PIECE_SECONDS / 4))


def slow_receivers(seed: int, receivers: int, pieces: int) -> Figures:
    """Some of the receivers are slow, both ways; the others should not notice."""
    slow = ceil(receivers * SLOW_PART)
    machines = [machine()] * (receivers - slow) + [machine(RATE / SLOW_FACTOR, RATE / SLOW_FACTOR)] * slow
    swarm = Swarm(seed, machine(), machines, pieces)
    healthy = swarm.receivers[:-slow]
    swarm.get()
    swarm.run(healthy, optimum(len(healthy), pieces))
    without = _equal_links(seed, len(healthy), pieces)
    return {"last / without them": _ratio(swarm.seconds(healthy)[-1], without["seconds"])}


def mixed_uplinks(seed: int, receivers: int, pieces: int) -> Figures:
    """The uplinks of receivers differ, their downlinks are as fast as the seeder's uplink."""
    ups = [RATE * UPLINKS[number * len(UPLINKS) // receivers] / UPLINKS[-1] for number in range(receivers)]
    swarm = Swarm(seed, machine(), [machine(up=up) for up in ups], pieces)
    bound = kumar_ross(swarm.size, [RATE], ups, [RATE] * receivers)
    swarm.get()
    swarm.run(swarm.receivers, bound)
    return {"last / bound": swarm.seconds(swarm.receivers)[-1] / bound, **_traffic(swarm)}


def larger_swarm(seed: int, receivers: int, pieces: int) -> Figures:
    """Many more receivers than anybody has neighbours, against a sixteenth of them."""
    fewer = receivers // LARGER_FACTOR
    larger, smaller = (_equal_links(seed, count, pieces) for count in (receivers, fewer))
    return {
        "last / smaller swarm's": _ratio(larger["seconds"], smaller["seconds"]),
        "optimum / smaller swarm's": optimum(receivers, pieces) / optimum(fewer, pieces),
        **larger,
    }


def killed_receivers(seed: int, receivers: int, pieces: int) -> Figures:
    """Machines of receivers lose their power for good, each at some moment before all could be done."""
    swarm = Swarm(seed, machine(), [machine()] * receivers, pieces)
    rng = swarm.world.streams.of("killed")
    killed = rng.sample(swarm.receivers, floor(receivers * KILLED_PART))
    swarm.get()
    for peer in killed:
        swarm.world.clock.after(rng.uniform(0, optimum(receivers, pieces)), peer.power_off)
    left = [peer for peer in swarm.receivers if peer not in killed]
    bound = kumar_ross(swarm.size, [RATE], [RATE] * len(left), [RATE] * len(left))
    swarm.run(left, bound)
    return {"last / bound": swarm.seconds(left)[-1] / bound, "complete": swarm.done(left) / len(left)}


def seeder_dies(seed: int, receivers: int, pieces: int) -> Figures:
    """The seeder's machine loses its power for good when every piece has arrived at somebody."""
    swarm = Swarm(seed, machine(), [machine()] * receivers, pieces)
    swarm.watch.on_full_copy = swarm.seeder.power_off
    best = optimum(receivers, pieces)
    swarm.get()
    swarm.run(swarm.receivers, best)
    return {
        "complete": swarm.done(swarm.receivers) / receivers,
        "last / optimum": swarm.seconds(swarm.receivers)[-1] / best,
    }


def liars(seed: int, receivers: int, pieces: int) -> Figures:
    """Some of the receivers send other bytes in place of every piece."""
    lying = ceil(receivers * LIAR_PART)
    swarm = Swarm(seed, machine(), [machine()] * receivers, pieces)
    for peer in swarm.receivers[-lying:]:
        peer.tamper = corrupt
    honest = swarm.receivers[:-lying]
    swarm.get()
    swarm.run(honest, optimum(receivers, pieces))
    without = _equal_links(seed, receivers, pieces)
    return {
        "bad pieces accepted": swarm.bad_pieces(),
        "bad pieces of one liar to one receiver": max(swarm.watch.bad.values(), default=0),
        "last / without liars": _ratio(swarm.seconds(honest)[-1], without["seconds"]),
    }


def hoarder(seed: int, receivers: int, pieces: int) -> Figures:
    """One receiver has as many pieces assigned as it can get, and passes none on."""
    return _with_one_liar("hoarder", seed, receivers, pieces)


def promiser(seed: int, receivers: int, pieces: int) -> Figures:
    """One receiver promises pieces at random, and sends few."""
    return _with_one_liar("promiser", seed, receivers, pieces)


def optimum(receivers: int, pieces: int) -> float:
    """Seconds that equal links take when none is ever idle."""
    return mundinger(pieces, receivers) * PIECE_SECONDS


def _with_one_liar(kind: Kind, seed: int, receivers: int, pieces: int) -> Figures:
    swarm = Swarm(seed, machine(), [machine()] * receivers, pieces)
    *honest, liar = swarm.receivers
    liar.tamper = server_lies(kind, pieces, swarm.world.streams.of("liar"))
    liar.tamper_fetch = fetch_lies(kind, HOARDED_COUNT)
    swarm.get()
    swarm.run(honest, optimum(receivers, pieces))
    without = _equal_links(seed, receivers, pieces)
    return {"last / without it": _ratio(swarm.seconds(honest)[-1], without["seconds"])}


@lru_cache(REMEMBERED_COUNT)
def _equal_links(seed: int, receivers: int, pieces: int, delay: float = DELAY) -> Figures:
    everybody = machine(delay=delay)
    swarm = Swarm(seed, everybody, [everybody] * receivers, pieces)
    best = optimum(receivers, pieces)
    swarm.get()
    swarm.run(swarm.receivers, best)
    seconds = swarm.seconds(swarm.receivers)
    return {
        "seconds": seconds[-1],
        "last / optimum": seconds[-1] / best,
        "last / median": _ratio(seconds[-1], median(seconds)),
        **_traffic(swarm),
    }


def _traffic(swarm: Swarm) -> Figures:
    """Of a swarm in which everybody is done."""
    needed = swarm.size * len(swarm.receivers)
    return {
        "seeder until a full copy is out / size": swarm.watch.seeder_sent_bytes / swarm.size,
        "seeder in all / size": swarm.seeder.net.sent_bytes / swarm.size,
        "received / needed": swarm.watch.received_bytes / needed,
    }


def _ratio(seconds: float, others: float) -> float:
    return seconds / others if max(seconds, others) < inf else inf
