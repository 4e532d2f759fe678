"""What interleaved rounds of several contenders come to: medians, medians of ratios, rows against targets. Pure.

Machines get slower and faster while they are measured, so two contenders are compared within a round, one right after
the other, and what counts is the median of the rounds' ratios, not the ratio of two medians.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Literal

from msgspec import Struct

from protocol.limits import GIB, MIB

Figure = Literal["mib_s", "cpu_s_per_gib"]


class Measured(Struct, frozen=True):
    """One contender in one round: all receivers' bytes by the seconds of the last one, and CPU by bytes delivered."""

    mib_s: float
    cpu_s_per_gib: float


class Target(Struct, frozen=True):
    """``figure`` of ours over that of ``other`` is to be at least, or at most, ``limit``."""

    text: str
    other: str
    figure: Figure
    limit: float
    at_least: bool


class Case(Struct, frozen=True):
    """One seeder gives ``size`` bytes to ``receivers``: one file, or so many ``files`` of equal size."""

    name: str
    receivers: int
    size: int
    targets: tuple[Target, ...]
    files: int = 0


class Row(Struct, frozen=True):
    """A target, measured. ``value`` is the median of ``values``, one for each round."""

    case: str
    text: str
    limit: float
    at_least: bool
    value: float
    values: list[float]
    met: bool


Rounds = Sequence[Mapping[str, Measured]]
"""By contender."""


def measured(seconds: float, cpu_s: float, size: int, receivers: int) -> Measured:
    """Of a round in which so many ``receivers`` got ``size`` bytes."""
    delivered = size * receivers
    return Measured(round(delivered / MIB / seconds, 1), round(cpu_s * GIB / delivered, 3))


def rows(case: str, ours: str, targets: Sequence[Target], rounds: Rounds) -> Iterator[Row]:
    """Each target whose other contender was there."""
    for target in targets:
        both = [found for found in rounds if ours in found and target.other in found]
        ratios = [_of(found[ours], target.figure) / _of(found[target.other], target.figure) for found in both]
        if ratios:
            yield row_of(case, target.text, target.limit, target.at_least, ratios)


def row_of(case: str, text: str, limit: float, at_least: bool, values: Sequence[float]) -> Row:
    """What ``values``, one for each round, come to."""
    value = median(values)
    return Row(
        case=case,
        text=text,
        limit=limit,
        at_least=at_least,
        value=round(value, 3),
        values=[round(one, 3) for one in values],
        met=value >= limit if at_least else value <= limit,
    )


def medians(rounds: Rounds) -> dict[str, Measured]:
    """Of each contender, over the rounds it was in."""
    names = dict.fromkeys(name for found in rounds for name in found)
    return {
        name: Measured(*(median([_of(found[name], figure) for found in rounds if name in found]) for figure in FIGURES))
        for name in names
    }


FIGURES: tuple[Figure, ...] = ("mib_s", "cpu_s_per_gib")


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of ``values`` that at least ``part`` (0 to 1) of them do not exceed: one that was measured."""
    return sorted(values)[max(0, ceil(part * len(values)) - 1)]


def _of(found: Measured, figure: Figure) -> float:
    return found.mib_s if figure == "mib_s" else found.cpu_s_per_gib
