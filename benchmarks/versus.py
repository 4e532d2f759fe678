"""``python -m benchmarks.versus``: this system against others on loopback, real processes and real files.

Runs everybody in turn, round after round, compares every copy with the original between the rounds, and shows medians
of ratios against targets. Owns the command line and the order of things.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec import Struct

from benchmarks.command import plot_option, report_option, run_command, work_option
from benchmarks.contenders.all import KINDS
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.output import show, targets_table, tell
from benchmarks.plot import check_plot_path, plot_versus
from benchmarks.rounds import CaseResult, contender_table, measure_case
from benchmarks.versus_cases import CASES, OURS
from benchmarks.work import work_directory
from cluster.report_file import check_report_path, write_report
from protocol.errors import UsageError

NAMES = tuple(kind.name for kind in KINDS)


class Report(Struct, frozen=True):
    """``work``: where all files lay, and on what file system. ``missing``: contenders that are not installed."""

    machine: Machine
    work: str
    file_system: str
    missing: dict[str, str]
    cases: list[CaseResult]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--rounds", type=click.IntRange(1, 100), default=7, show_default=True, help="Rounds that count.")
@click.option("--case", "cases", type=click.Choice([case.name for case in CASES]), multiple=True, help="Only this one.")
@click.option("--only", type=click.Choice(NAMES), multiple=True, metavar="NAME", help=f"Some of {', '.join(NAMES)}.")
@work_option
@report_option
@plot_option
def command(
    rounds: int,
    cases: tuple[str, ...],
    only: tuple[str, ...],
    work: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Measure this system against others: one seeder and 1 or 5 receivers on this machine. A target that is missed is
    shown, and no error. Who is not installed is left out, and said."""
    if report is not None:
        check_report_path(report)
    if plot is not None:
        check_plot_path(plot)
    missing = {kind.name: kind.missing() for kind in KINDS if kind.missing() and kind.name in (only or NAMES)}
    for name, what in missing.items():
        tell(f"{name} is left out: {what}")
    kinds = [kind for kind in KINDS if kind.name in (only or NAMES) and kind.name not in missing]
    if not kinds:
        raise UsageError("nobody is left to be measured")
    results = []
    with work_directory("versus", work) as directory:
        found_on = file_system(directory)
        for case in CASES:
            if case.name in (cases or [case.name]):
                result = measure_case(case, OURS, kinds, rounds, directory, tell)
                show(contender_table(result, OURS))
                show(targets_table(result.rows))
                results.append(result)
    if report is not None:
        write_report(report, Report(this_machine(), str(directory.parent), found_on, missing, results))
    if plot is not None:
        plot_versus(plot, results)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.versus", sys.argv[1:]))
