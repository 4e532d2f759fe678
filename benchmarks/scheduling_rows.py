"""The targets of `scheduling`, and what the figures of many seeds come to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from benchmarks import scheduling_cases as cases
from benchmarks.scheduling_cases import Case, Figures, optimum

PIECES_COUNT = 1024
"""As content of 256 MiB has."""
LARGER_RECEIVERS_COUNT, LARGER_SEEDS_COUNT = 1024, 4
"""Of the largest swarm, which takes half an hour a seed."""


class Row(NamedTuple):
    """A line of the table: the worst ``figure`` of all seeds is to be at most, or at least, ``target``."""

    text: str
    figure: str
    target: float
    at_least: bool = False
    form: str = ".3f"

    def worst(self, values: Sequence[float]) -> float:
        return min(values) if self.at_least else max(values)

    def is_met(self, value: float) -> bool:
        return value >= self.target if self.at_least else value <= self.target


class Swarms(NamedTuple):
    """The worlds some rows are about; at most ``seeds`` of them."""

    name: str
    case: Case
    receivers: int
    pieces: int
    rows: tuple[Row, ...]
    seeds: float = inf


def _larger_text() -> str:
    best = optimum(LARGER_RECEIVERS_COUNT, PIECES_COUNT) / optimum(64, PIECES_COUNT)
    return f"T(1024) / T(64), at most 64 neighbours (their optima: {best:.3f})"


_COPY = Row("bytes the seeder sent until a full copy is out / size", "seeder until a full copy is out / size", 1.02)
_RECEIVED = Row("bytes received / needed, all peers", "received / needed", 1.01)

SWARMS = (
    Swarms(
        "equal-16",
        cases.equal_links,
        16,
        PIECES_COUNT,
        (
            Row("last finisher / optimum", "last / optimum", 1.03),
            _COPY,
            Row("bytes the seeder sent in all / size", "seeder in all / size", 1.05),
            _RECEIVED,
        ),
    ),
    Swarms(
        "equal-64",
        cases.equal_links,
        64,
        PIECES_COUNT,
        (
            Row("last finisher / optimum", "last / optimum", 1.05),
            Row("last / median finisher", "last / median", 1.05),
            _COPY,
            Row("bytes the seeder sent in all / size", "seeder in all / size", 1.08),
            _RECEIVED,
        ),
    ),
    *(
        Swarms(
            f"uneven-{receivers}",
            cases.uneven_links,
            receivers,
            PIECES_COUNT,
            (
                Row("uplinks differ by 10 %, begun within 40 piece times: last / optimum", "last / optimum", 1.1),
                Row("bytes the seeder sent in all / size", "seeder in all / size", 1.08),
                _RECEIVED,
            ),
        )
        for receivers in (16, 64)
    ),
    Swarms(
        "far-away",
        cases.far_away,
        16,
        PIECES_COUNT,
        (Row("a round trip takes as long as a piece: last finisher / optimum", "last / optimum", 1.1),),
    ),
    Swarms(
        "slow-receivers",
        cases.slow_receivers,
        64,
        PIECES_COUNT,
        (Row("4 at a quarter of the speed: last of the others / without them", "last / without them", 1.05),),
    ),
    Swarms(
        "mixed-uplinks",
        cases.mixed_uplinks,
        64,
        PIECES_COUNT,
        (Row("uplinks 1:2:4:8, seeder and downlinks 8: last / Kumar-Ross bound", "last / bound", 1.06),),
    ),
    Swarms(
        "larger-swarm",
        cases.larger_swarm,
        LARGER_RECEIVERS_COUNT,
        PIECES_COUNT,
        (Row(_larger_text(), "last / smaller swarm's", 1.05),),
        LARGER_SEEDS_COUNT,
    ),
    Swarms(
        "killed-receivers",
        cases.killed_receivers,
        64,
        PIECES_COUNT,
        (Row("30 % killed at random moments: last survivor / Kumar-Ross bound", "last / bound", 1.2),),
    ),
    Swarms(
        "seeder-dies",
        cases.seeder_dies,
        64,
        PIECES_COUNT,
        (Row("seeder dies after a full copy is out: complete", "complete", 1.0, at_least=True, form=".1%"),),
    ),
    Swarms(
        "liars",
        cases.liars,
        64,
        PIECES_COUNT,
        (
            Row("10 % send corrupt pieces: bad pieces accepted", "bad pieces accepted", 0, form=".0f"),
            Row(
                "10 % send corrupt pieces: bad pieces until banned",
                "bad pieces of one liar to one receiver",
                2,
                form=".0f",
            ),
            Row("10 % send corrupt pieces: last of the others / without liars", "last / without liars", 1.15),
        ),
    ),
    *(
        Swarms(
            name,
            case,
            16,
            PIECES_COUNT,
            (Row(f"one {text}: last of the others / without it", "last / without it", 1.15),),
        )
        for name, case, text in (
            ("hoarder", cases.hoarder, "takes pieces to relay and passes none on"),
            ("promiser", cases.promiser, "promises pieces and sends few"),
        )
    ),
)
"""Those that are compared with others stand after these, whose figures a worker remembers."""
NAMES = tuple(swarms.name for swarms in SWARMS)


class Run(Struct, frozen=True):
    """One seed of one case. ``computing_s`` is what it took here."""

    swarms: str
    seed: int
    figures: Figures
    computing_s: float


class RowResult(Struct, frozen=True):
    """A row, measured. Figures are null in JSON when they are infinite: something never happened."""

    swarms: str
    receivers: int
    pieces: int
    text: str
    figure: str
    form: str
    target: float
    at_least: bool
    worst: float
    worst_seed: int
    median: float
    seeds: int
    met: bool


def results(chosen: Sequence[Swarms], runs: Sequence[Run]) -> Iterator[RowResult]:
    """Each row of ``chosen`` of which there are runs."""
    for swarms in chosen:
        mine = [run for run in runs if run.swarms == swarms.name]
        for row in swarms.rows if mine else ():
            values = [run.figures[row.figure] for run in mine]
            worst = row.worst(values)
            yield RowResult(
                swarms=swarms.name,
                receivers=swarms.receivers,
                pieces=swarms.pieces,
                text=row.text,
                figure=row.figure,
                form=row.form,
                target=row.target,
                at_least=row.at_least,
                worst=worst,
                worst_seed=mine[values.index(worst)].seed,
                median=median(values),
                seeds=len(mine),
                met=row.is_met(worst),
            )
