"""``python -m benchmarks.versus``: this system against others on loopback, real processes and real files.

Runs everybody in turn, round after round, compares every copy with the original between the rounds, and shows medians
of ratios against targets. Owns the command line and the order of things.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from msgspec import Struct
from rich.table import Table

from benchmarks.command import run_command
from benchmarks.comparison import Measured, Row, measured, medians, rows
from benchmarks.contenders.all import KINDS
from benchmarks.contenders.contender import Contender, ContenderError, Kind, Task
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.output import new_table, show, targets_table, tell
from benchmarks.plot import check_plot_path, plot_versus
from benchmarks.versus_cases import CASES, OURS, Case
from benchmarks.work import work_directory
from cluster.content import Original, check_space, make_random
from cluster.report_file import check_report_path, write_report
from cluster.verify import Reference
from protocol.errors import UsageError
from service.units import format_bytes

NAMES = tuple(kind.name for kind in KINDS)
CONTENT_NAME = "content.bin"
WARM_ROUNDS_COUNT = 2
"""Rounds before those that count: memory that is touched for the first time is slow on virtual machines."""


class CaseResult(Struct, frozen=True):
    """``rounds`` by contender; ``medians`` and ``rows`` are what they come to."""

    name: str
    receivers: int
    size: int
    rounds: list[dict[str, Measured]]
    medians: dict[str, Measured]
    rows: list[Row]


class Report(Struct, frozen=True):
    """``work``: where all files lay, and on what file system. ``missing``: contenders that are not installed."""

    machine: Machine
    work: str
    file_system: str
    missing: dict[str, str]
    cases: list[CaseResult]


def measure_case(case: Case, kinds: Sequence[Kind], rounds: int, work: Path, tell: Callable[[str], None]) -> CaseResult:
    """All of ``kinds`` in turn, ``rounds`` times and some to warm up. Raises a `ZswarmError` when one fails."""
    check_space(work, case.size, case.receivers + 1)
    content = work / CONTENT_NAME
    make_random(Original(content, CONTENT_NAME, case.size))
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
                found = {name: _round(name, one, case, reference) for name, one in running.items()}
                if number >= WARM_ROUNDS_COUNT:
                    kept.append(found)
                shown = ", ".join(f"{name} {one.mib_s:.0f}" for name, one in found.items())
                warming = number < WARM_ROUNDS_COUNT
                label = "warming up" if warming else f"round {number - WARM_ROUNDS_COUNT + 1} of {rounds}"
                tell(f"{case.name}, {label}: MiB/s {shown}")
    finally:
        content.unlink()
    return CaseResult(
        name=case.name,
        receivers=case.receivers,
        size=case.size,
        rounds=kept,
        medians=medians(kept),
        rows=list(rows(case.name, OURS, case.targets, kept)),
    )


def _round(name: str, contender: Contender, case: Case, reference: Reference) -> Measured:
    ran = contender.run()
    for copy in ran.copies:
        if what := reference.difference(copy):
            raise ContenderError(f"{name}: {copy}: {what}")
    contender.clear()
    return measured(ran.seconds, ran.cpu_s, case.size, case.receivers)


def render(result: CaseResult) -> tuple[Table, Table]:
    """The contenders, and the targets."""
    verifies = {kind.name: kind.verifies for kind in KINDS}
    who = new_table(
        f"{result.receivers} x {format_bytes(result.size)}".upper(), ">MIB/S", ">CPU S/GIB", ">OURS / IT", "VERIFIES"
    )
    ours = [found[OURS].mib_s for found in result.rounds if OURS in found]
    for name, found in result.medians.items():
        theirs = [one[name].mib_s for one in result.rounds]
        ratio = sorted(a / b for a, b in zip(ours, theirs, strict=False))[len(theirs) // 2] if ours else 0.0
        who.add_row(
            name,
            f"{found.mib_s:.0f}",
            f"{found.cpu_s_per_gib:.2f}",
            f"{ratio:.2f}" if ours else "-",
            "pieces" if verifies[name] else "nothing",
        )
    return who, targets_table(result.rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--rounds", type=click.IntRange(1, 100), default=7, show_default=True, help="Rounds that count.")
@click.option("--case", "cases", type=click.Choice([case.name for case in CASES]), multiple=True, help="Only this one.")
@click.option("--only", type=click.Choice(NAMES), multiple=True, metavar="NAME", help=f"Some of {', '.join(NAMES)}.")
@click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where all files go.  [default: /dev/shm where there is one]",
)
@click.option("--report", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="JSON.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A picture, as PNG.")
def command(
    rounds: int, cases: tuple[str, ...], only: tuple[str, ...], work: Path | None, path: Path | None, plot: Path | None
) -> None:
    """Measure this system against others: one seeder and 1 or 5 receivers on this machine. A target that is missed is
    shown, and no error. Who is not installed is left out, and said."""
    if path is not None:
        check_report_path(path)
    if plot is not None:
        check_plot_path(plot)
    missing = {kind.name: kind.missing() for kind in KINDS if kind.missing() and kind.name in (only or NAMES)}
    for name, what in missing.items():
        tell(f"{name} is left out: {what}")
    kinds = [kind for kind in KINDS if kind.name in (only or NAMES) and kind.name not in missing]
    if not kinds:
        raise UsageError("nobody is left to be measured")
    shm = Path("/dev/shm")
    results = []
    with work_directory("versus", work or (shm if shm.is_dir() else None)) as directory:
        for case in CASES:
            if case.name in (cases or [case.name]):
                result = measure_case(case, kinds, rounds, directory, tell)
                for table in render(result):
                    show(table)
                results.append(result)
        report = Report(
            machine=this_machine(),
            work=str(directory.parent),
            file_system=file_system(directory),
            missing=missing,
            cases=results,
        )
    if path is not None:
        write_report(path, report)
    if plot is not None:
        plot_versus(plot, report.cases)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.versus", sys.argv[1:]))
