"""Contenders in turn, round after round, on real files: what each case gives, and how it is shown.

Every copy is compared with the original between the rounds, and removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from msgspec import Struct
from rich.table import Table

from benchmarks.comparison import Case, Measured, Row, measured, medians, rows
from benchmarks.contenders.contender import Contender, ContenderError, Kind, Task
from cluster.content import Original, check_space, make_random, make_random_tree
from cluster.table import plain_table
from cluster.verify import Reference
from node.disk.durable import sync_file_system
from service.units import format_bytes

CONTENT_NAME = "content.bin"
TREE_NAME = "tree"
WARM_ROUNDS_COUNT = 2
"""Rounds before those that count: memory that is touched for the first time is slow on virtual machines."""


class CaseResult(Struct, frozen=True):
    """``rounds`` by contender; ``medians`` and ``rows`` are what they come to. ``verifies``: what each one checks."""

    name: str
    receivers: int
    size: int
    files: int
    verifies: dict[str, str]
    rounds: list[dict[str, Measured]]
    medians: dict[str, Measured]
    rows: list[Row]


def measure_case(
    case: Case, ours: str, kinds: Sequence[Kind], rounds: int, work: Path, tell: Callable[[str], None]
) -> CaseResult:
    """All of ``kinds`` in turn, ``rounds`` times and some to warm up. Raises a `ZswarmError` when one fails."""
    check_space(work, case.size, case.receivers + 1)
    content = _make_content(case, work)
    reference = Reference(content)
    kept: list[dict[str, Measured]] = []
    try:
        with ExitStack() as stack:
            running: dict[str, Contender] = {}
            for number, kind in enumerate(kinds):
                directory = work / f"{case.name}-{number}"
                directory.mkdir()
                tell(f"{case.name}: starting {kind.name}")
                running[kind.name] = stack.enter_context(
                    kind.start(Task(content, case.size, case.receivers, directory))
                )
            for number in range(WARM_ROUNDS_COUNT + rounds):
                found = {name: _round(name, one, case, reference, work) for name, one in running.items()}
                if number >= WARM_ROUNDS_COUNT:
                    kept.append(found)
                shown = ", ".join(f"{name} {one.mib_s:.0f}" for name, one in found.items())
                warming = number < WARM_ROUNDS_COUNT
                label = "warming up" if warming else f"round {number - WARM_ROUNDS_COUNT + 1} of {rounds}"
                tell(f"{case.name}, {label}: MiB/s {shown}")
    finally:
        shutil.rmtree(content) if case.files else content.unlink()
    return CaseResult(
        name=case.name,
        receivers=case.receivers,
        size=case.size,
        files=case.files,
        verifies={kind.name: kind.verifies for kind in kinds},
        rounds=kept,
        medians=medians(kept),
        rows=list(rows(case.name, ours, case.targets, kept)),
    )


def _make_content(case: Case, work: Path) -> Path:
    if case.files:
        path = work / TREE_NAME
        make_random_tree(path, case.files, case.size // case.files)
        return path
    path = work / CONTENT_NAME
    make_random(Original(path, CONTENT_NAME, case.size))
    return path


def _round(name: str, contender: Contender, case: Case, reference: Reference, work: Path) -> Measured:
    _write_out(work)
    ran = contender.run()
    for copy in ran.copies:
        if what := reference.difference(copy):
            raise ContenderError(f"{name}: {copy}: {what}")
    contender.clear()
    return measured(ran.seconds, ran.cpu_s, case.size, case.receivers)


def _write_out(path: Path) -> None:
    """Sync the file system of ``path``: who makes its copy durable is not to wait for what others left unwritten."""
    fd = os.open(path, os.O_RDONLY)
    try:
        sync_file_system(fd)
    finally:
        os.close(fd)


def contender_table(result: CaseResult, ours: str) -> Table:
    """Who was how fast."""
    what = f"{result.receivers} x {format_bytes(result.size)}" + (f", {result.files} files" if result.files else "")
    table = plain_table(what.upper(), ">MIB/S", ">CPU S/GIB", ">OURS / IT", "VERIFIES")
    for name, found in result.medians.items():
        ratios = [one[ours].mib_s / one[name].mib_s for one in result.rounds if ours in one]
        table.add_row(
            name,
            f"{found.mib_s:.0f}",
            f"{found.cpu_s_per_gib:.2f}",
            f"{median(ratios):.2f}" if ratios else "-",
            result.verifies[name],
        )
    return table
