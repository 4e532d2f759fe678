"""What interleaved rounds of several contenders come to: medians, medians of ratios, rows against targets. Pure.

Machines get slower and faster while they are measured, so two contenders are compared within a round, one right after
the other, and what counts is the median of the rounds' ratios, not the ratio of two medians.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


class Row(Struct, frozen=True):
    """A target, measured. ``ratio`` is the median of ``ratios``, one for each round."""

    case: str
    text: str
    other: str
    limit: float
    at_least: bool
    ratio: float
    ratios: list[float]
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
            ratio = median(ratios)
            yield Row(
                case=case,
                text=target.text,
                other=target.other,
                limit=target.limit,
                at_least=target.at_least,
                ratio=round(ratio, 3),
                ratios=[round(one, 3) for one in ratios],
                met=ratio >= target.limit if target.at_least else ratio <= target.limit,
            )


def medians(rounds: Rounds) -> dict[str, Measured]:
    """Of each contender, over the rounds it was in."""
    names = dict.fromkeys(name for found in rounds for name in found)
    return {
        name: Measured(*(median([_of(found[name], figure) for found in rounds if name in found]) for figure in FIGURES))
        for name in names
    }


FIGURES: tuple[Figure, ...] = ("mib_s", "cpu_s_per_gib")


def _of(found: Measured, figure: Figure) -> float:
    return found.mib_s if figure == "mib_s" else found.cpu_s_per_gib
