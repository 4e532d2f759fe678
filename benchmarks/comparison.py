"""What interleaved rounds of several contenders come to: medians, medians of ratios, rows against targets. Pure.

Machines get slower and faster while they are measured, so two contenders are compared within a round, one right after
the other, and what counts is the median of the rounds' ratios, not the ratio of two medians.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from statistics import median
from typing import TypeVar

from msgspec import Struct

from protocol.limits import GIB, MIB


class Measured(Struct, frozen=True):
    """One contender in one round: all receivers' bytes by the seconds of the last one, and CPU by bytes delivered."""

    mib_s: float
    cpu_s_per_gib: float


class Target(Struct, frozen=True):
    """``figure`` (a field of what is measured) of ours is to be at least, or at most, ``limit``: as a ratio to that of
    ``other``, or as it is where there is no other."""

    text: str
    other: str
    figure: str
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
    """A target, measured. ``value`` is the median of ``values``, one for each round: ratios to ``other`` if any."""

    case: str
    text: str
    other: str
    limit: float
    at_least: bool
    value: float
    values: list[float]
    met: bool


M = TypeVar("M", bound=Struct)
"""What is measured of a contender in a round: a struct whose fields are figures."""
Rounds = Sequence[Mapping[str, M]]
"""By contender."""


def measured(seconds: float, cpu_s: float, size: int, receivers: int) -> Measured:
    """Of a round in which so many ``receivers`` got ``size`` bytes."""
    delivered = size * receivers
    return Measured(round(delivered / MIB / seconds, 1), round(cpu_s * GIB / delivered, 3))


def rows(case: str, ours: str, targets: Sequence[Target], rounds: Rounds[M]) -> Iterator[Row]:
    """Each target whose other contender was there."""
    for target in targets:
        there = [found for found in rounds if ours in found and (not target.other or target.other in found)]
        if there:
            yield row(case, target, [_value(target, ours, found) for found in there])


def row(case: str, target: Target, values: Sequence[float]) -> Row:
    """What ``values``, one for each round, are against ``target``."""
    value = median(values)
    return Row(
        case=case,
        text=target.text,
        other=target.other,
        limit=target.limit,
        at_least=target.at_least,
        value=round(value, 3),
        values=[round(one, 3) for one in values],
        met=value >= target.limit if target.at_least else value <= target.limit,
    )


def medians(rounds: Rounds[M]) -> dict[str, M]:
    """Of each contender, over the rounds it was in."""
    names = dict.fromkeys(name for found in rounds for name in found)
    return {name: _median([found[name] for found in rounds if name in found]) for name in names}


def _median(found: Sequence[M]) -> M:
    kind = type(found[0])
    return kind(*(median([getattr(one, figure) for one in found]) for figure in kind.__struct_fields__))


def _value(target: Target, ours: str, found: Mapping[str, M]) -> float:
    value: float = getattr(found[ours], target.figure)
    if target.other:
        value /= getattr(found[target.other], target.figure)
    return value


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of ``values`` that at least ``part`` (0 to 1) of them do not exceed: one that was measured."""
    return sorted(values)[max(0, ceil(part * len(values)) - 1)]
