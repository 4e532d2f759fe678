"""``python -m benchmarks.scheduling``: how close swarms are to the best there can be, in virtual time, against targets.

Runs the swarms of `scheduling_rows` with seeds 1, 2, ... in worker processes and shows the worst of each row. Owns the
command line and what it prints.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from math import inf
from pathlib import Path

import click
from msgspec import Struct
from rich.table import Table

from benchmarks.output import PLAIN_COLUMNS, as_text, tell
from benchmarks.scheduling_rows import NAMES, SWARMS, RowResult, Run, Swarms, results
from cluster.report_file import check_report_path, write_report
from cluster.simulated import heap
from cluster.table import plain_table
from protocol.errors import DiskError, UsageError

SEEDS_COUNT = 20


class Report(Struct, frozen=True):
    """``failed``: worlds that broke, and what was raised."""

    rows: list[RowResult]
    runs: list[Run]
    failed: dict[str, str]


def run_one(swarms: Swarms, seed: int) -> Run:
    """One world, and those it is compared with; in a worker."""
    began = time.monotonic()
    with heap.left_alone():
        figures = swarms.case(seed, swarms.receivers, swarms.pieces)
    return Run(swarms.name, seed, figures, round(time.monotonic() - began, 2))


def measure(names: Sequence[str], seeds: int, jobs: int, tell: Callable[[str], None]) -> Report:
    """Run what is called ``names``, each with ``seeds`` seeds; ``tell`` is told of each run that has ended."""
    chosen = [swarms for swarms in SWARMS if swarms.name in names]
    tasks = [(swarms, seed) for seed in range(1, seeds + 1) for swarms in chosen if seed <= swarms.seeds]
    runs: list[Run] = []
    failed: dict[str, str] = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), logging.disable) as pool:
        waiting: dict[Future[Run], str] = {
            pool.submit(run_one, swarms, seed): f"{swarms.name}, seed {seed}" for swarms, seed in tasks
        }
        for number, future in enumerate(as_completed(waiting), 1):
            what, error = waiting[future], future.exception()
            if error is None:
                runs.append(future.result())
            else:
                failed[what] = repr(error)
            tell(f"{number}/{len(tasks)} {what}: {_shown(runs[-1]) if error is None else failed[what]}")
    runs.sort(key=lambda run: (NAMES.index(run.swarms), run.seed))
    return Report(list(results(chosen, runs)), runs, failed)


def render(rows: Sequence[RowResult]) -> Table:
    """A line for each row that was measured."""
    table = plain_table("SWARM", ">N", ">M", "CASE", ">TARGET", ">WORST", ">MEDIAN", ">SEEDS", "")
    for row in rows:
        table.add_row(
            row.swarms,
            str(row.receivers),
            str(row.pieces),
            row.text,
            f"{'>=' if row.at_least else '<='} {_form(row, row.target)}",
            _form(row, row.worst),
            _form(row, row.median),
            str(row.seeds),
            "met" if row.met else "MISSED",
        )
    return table


def _form(row: RowResult, value: float) -> str:
    return "never" if value == inf else format(value, row.form)


def _shown(run: Run) -> str:
    figures = ", ".join(f"{name} {value:.3f}" for name, value in run.figures.items())
    return f"{figures} ({run.computing_s:.0f} s)"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--seeds", type=click.IntRange(1), default=SEEDS_COUNT, show_default=True, help="Worlds for each row.")
@click.option("--only", type=click.Choice(NAMES), multiple=True, metavar="NAME", help=f"One of {', '.join(NAMES)}.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Worker processes.")
@click.option(
    "--report",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all figures as JSON.",
)
def main(seeds: int, only: tuple[str, ...], jobs: int, path: Path | None) -> None:
    """Measure the scheduling of swarms in virtual time. A target that is missed is shown, and no error."""
    try:
        if path is not None:
            check_report_path(path)
        report = measure(only or NAMES, seeds, jobs, tell)
        click.echo(as_text(render(report.rows), None if sys.stdout.isatty() else PLAIN_COLUMNS))
        if path is not None:
            write_report(path, report)
    except UsageError as error:
        raise click.UsageError(str(error)) from error
    except DiskError as error:
        raise click.ClickException(str(error)) from error
    if report.failed:
        raise click.ClickException(f"some worlds broke: {'; '.join(report.failed)}")


if __name__ == "__main__":
    main()
