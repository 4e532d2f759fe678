"""Contenders in turn over the same shaped links: what each case gives, and how it is shown.

The network is made once for a case. Each round starts each contender anew in it, so that nothing else runs there and
its counters begin at zero, compares every copy with the original, and ends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from rich.table import Table

from benchmarks.comparison import Case, Row, medians, rows
from benchmarks.contenders.contender import ROUND_SECONDS, ContenderError, CountingKind, Task
from benchmarks.shaped_cases import OURS, Figures, busy_notes, figures
from cluster.content import Original, check_space, make_random
from cluster.interrupts import shielded
from cluster.links import Links
from cluster.measure import Processors
from cluster.measured_links import MeasuredLinks, measured_links
from cluster.table import plain_table
from cluster.verify import Reference
from protocol.limits import MIB
from protocol.manifest import piece_length_for
from service.units import format_bytes, format_rate

CONTENT_NAME = "content.bin"
TIMEOUT_FACTOR = 10.0
"""A round that takes so many times the bound longer than it may anyway has failed."""


class CaseResult(Struct, frozen=True):
    """``rounds`` by contender; ``medians`` and ``rows`` are what they come to. ``size`` and ``piece_size`` in bytes.
    ``goodput_mib_s``: what one pair alone moved over the links; ``bound_s`` is that of links which do just that.
    ``notes``: what a person has to know about the figures."""

    name: str
    receivers: int
    size: int
    piece_size: int
    links: str
    goodput_mib_s: float
    bound_s: float
    notes: list[str]
    rounds: list[dict[str, Figures]]
    medians: dict[str, Figures]
    rows: list[Row]


def measure_case(
    case: Case, links: Links, kinds: Sequence[CountingKind], rounds: int, work: Path, tell: Callable[[str], None]
) -> CaseResult:
    """All of ``kinds`` in turn over ``links``, ``rounds`` times. Raises a `ZswarmError` when one fails."""
    check_space(work, case.size, case.receivers + 1)
    content = work / CONTENT_NAME
    make_random(Original(content, CONTENT_NAME, case.size))
    reference = Reference(content)
    kept: list[dict[str, Figures]] = []
    with measured_links(links, case.size, 1, case.receivers, lambda what: tell(f"{case.name}: {what}")) as network:
        for number in range(1, rounds + 1):
            found = {}
            for kind in kinds:
                tell(f"{case.name}, round {number} of {rounds}: {kind.name}")
                found[kind.name] = one = _round(kind, case, network, content, reference, work)
                tell(f"  last {one.last_s:.2f} s, {one.of_bound:.2f} x the bound")
            kept.append(found)
    return CaseResult(
        name=case.name,
        receivers=case.receivers,
        size=case.size,
        piece_size=piece_length_for(case.size),
        links=str(links),
        goodput_mib_s=round(network.goodput / MIB, 3),
        bound_s=round(network.bound_s, 3),
        notes=list(busy_notes(kept)),
        rounds=kept,
        medians=medians(kept),
        rows=list(rows(case.name, OURS, case.targets, kept)),
    )


def _round(
    kind: CountingKind, case: Case, network: MeasuredLinks, content: Path, reference: Reference, work: Path
) -> Figures:
    directory = work / "round"
    directory.mkdir()
    seconds = ROUND_SECONDS + TIMEOUT_FACTOR * network.bound_s
    try:
        with kind.start(Task(content, case.size, case.receivers, directory, network.hosts, seconds)) as contender:
            processors = Processors()
            ran = contender.run()
            busy = processors.busy()
            traffic = contender.traffic()
            for copy in ran.copies:
                if what := reference.difference(copy):
                    raise ContenderError(f"{kind.name}: {copy}: {what}")
    finally:
        with shielded():
            shutil.rmtree(directory)
    return figures(ran.each, ran.cpu_s, *traffic, size=case.size, bound_s=network.bound_s, busy=busy)


def case_table(result: CaseResult) -> Table:
    """Who was how fast, and with what traffic."""
    table = plain_table(
        f"{result.receivers} x {format_bytes(result.size)}".upper(),
        *(">LAST S", ">MEDIAN S", ">OF BOUND", ">SEEDER SENT", ">RECEIVED", ">CPU S/GIB"),
    )
    for name, found in result.medians.items():
        table.add_row(
            name,
            f"{found.last_s:.2f}",
            f"{found.median_s:.2f}",
            f"{found.of_bound:.2f} x",
            f"{found.seeder_copies:.2f} x",
            f"{found.received_part:.3f} x",
            f"{found.cpu_s_per_gib:.1f}",
        )
    return table


def case_lines(result: CaseResult) -> list[str]:
    """What the table is to be read with."""
    goodput = format_rate(result.goodput_mib_s * MIB)
    return [
        result.links,
        f"goodput {goodput} between two alone; nobody could be done before {result.bound_s:.2f} s",
        *(f"note: {note}" for note in result.notes),
    ]
