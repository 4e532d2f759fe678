"""What `shaped` measures: swarms over links of known rates, and what is asked of the figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from msgspec import Struct

from benchmarks.comparison import Case, Row, Target, row
from cluster.links import BUSY_PART, Links, busy_note
from protocol.limits import GIB

OURS = "zswarm"
RECEIVERS = (4, 8, 16, 32)
DEFAULT_RATE = "40mbit"
MBIT = 1e6 / 8
MIXED = Links(80 * MBIT, (10 * MBIT, 20 * MBIT, 40 * MBIT, 80 * MBIT))
JUDGED_RECEIVERS = 16
SPREAD_RECEIVERS = (4, 32)
"""More receivers are not to take much longer: the many against the few."""
SPREAD_TARGET = Target("32 receivers: last finisher over that of 4", "", "last_s", 1.05, at_least=False)
EQUAL_TARGETS = (
    Target("last finisher over the bound", "", "of_bound", 1.08, at_least=False),
    Target("the seeder's bytes over the size", "", "seeder_copies", 1.03, at_least=False),
    Target("bytes received over those needed", "", "received_part", 1.01, at_least=False),
)
MIXED_TARGETS = (Target("last finisher over the bound", "", "of_bound", 1.12, at_least=False),)


class Figures(Struct, frozen=True):
    """One contender in one round. ``last_s`` and ``median_s``: when the last receiver had all of it, and half of them;
    ``of_bound``: the last over the bound. ``seeder_copies``: the seeder's bytes over the size. ``received_part``: bytes
    received over those needed, of all receivers; above 1 some came twice. ``busy``: the part of the time for which the
    processors were."""

    last_s: float
    median_s: float
    of_bound: float
    seeder_copies: float
    received_part: float
    cpu_s_per_gib: float
    busy: float


Rounds = Sequence[Mapping[str, Figures]]


def case_of(receivers: int, size: int, mixed: bool) -> Case:
    """One seeder, so many ``receivers``, and what is asked."""
    equal = EQUAL_TARGETS if receivers == JUDGED_RECEIVERS else ()
    return Case(f"{receivers} receivers", receivers, size, MIXED_TARGETS if mixed else equal)


def figures(
    each: Sequence[float], cpu_s: float, seeder_sent: int, received: int, size: int, bound_s: float, busy: float
) -> Figures:
    """Of a round in which the receivers had ``size`` bytes after ``each`` so many seconds."""
    delivered = size * len(each)
    return Figures(
        last_s=round(max(each), 3),
        median_s=round(median(each), 3),
        of_bound=round(max(each) / bound_s, 4),
        seeder_copies=round(seeder_sent / size, 4),
        received_part=round(received / delivered, 4),
        cpu_s_per_gib=round(cpu_s * GIB / delivered, 3),
        busy=round(busy, 3),
    )


def spread_rows(found: Mapping[int, Rounds]) -> Iterator[Row]:
    """What the rounds of several cases, by their receivers, are to each other."""
    few, many = (found.get(receivers, ()) for receivers in SPREAD_RECEIVERS)
    pairs = [(one[OURS], other[OURS]) for one, other in zip(few, many, strict=bool(few and many))]
    if pairs:
        yield row("all", SPREAD_TARGET, [other.last_s / one.last_s for one, other in pairs])


def busy_notes(rounds: Rounds) -> Iterator[str]:
    """Who kept the processors so busy in a round that they were the limit."""
    for name in dict.fromkeys(name for found in rounds for name in found):
        busy = max(found[name].busy for found in rounds if name in found)
        if busy > BUSY_PART:
            yield f"{name}: this machine's processors were {busy_note(busy)}"
