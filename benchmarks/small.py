"""``python -m benchmarks.small``: one small file, a tree of small files, hashing, a restart; real processes and files.

Owns the command line and the order of things. What is measured how is in a module for each.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
from msgspec import Struct
from rich.table import Table

from benchmarks import hashing, one_file, restart
from benchmarks.command import plot_option, report_option, run_command, size_option, work_option
from benchmarks.comparison import Row, percentile
from benchmarks.contenders.contender import Kind
from benchmarks.contenders.libtorrent import Libtorrent
from benchmarks.contenders.rsync import Rsync
from benchmarks.contenders.zswarm import Zswarm
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.output import show, targets_table, tell
from benchmarks.plot import DOT_COLOUR, OTHERS_COLOUR, OURS_COLOUR, bars, check_plot_path, draw_case, figure, save
from benchmarks.rounds import CaseResult, contender_table, measure_case
from benchmarks.small_cases import (
    HASHED_BYTES,
    ONE_FILE_BYTES,
    ONE_FILE_MS_MAX,
    OURS,
    Hashing,
    OneFile,
    Restarts,
    hashing_row,
    one_file_row,
    restart_row,
    tree,
)
from benchmarks.work import work_directory
from cluster.report_file import check_report_path, write_report
from cluster.table import plain_table
from protocol.limits import MIB
from service.units import format_bytes

CASES = ("one-file", "tree", "hashing", "restart")
KINDS: tuple[Kind, ...] = (Zswarm(), Rsync(), Rsync("--fsync"), Libtorrent())
DEFAULT_SPARSE = "100GiB"
PICTURE_COLUMNS_COUNT = 3


class Report(Struct, frozen=True):
    """None: not measured. ``work``: where all files lay, and on what file system. ``missing``: contenders that are not
    installed."""

    machine: Machine
    work: str
    file_system: str
    missing: dict[str, str]
    one_file: OneFile | None
    tree: CaseResult | None
    hashing: Hashing | None
    restart: Restarts | None
    rows: list[Row]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--only", type=click.Choice(CASES), multiple=True, metavar="NAME", help=f"Some of {', '.join(CASES)}.")
@click.option(
    "--fetches", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How often one file is fetched."
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=7, show_default=True, help="Rounds that count, of all else."
)
@click.option(
    "--files", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Of the tree, 16 KiB each."
)
@size_option(
    "--sparse",
    default=DEFAULT_SPARSE,
    help="Of the large file that a restart must not read. It is read once before, at 1 to 3 GiB/s.",
)
@work_option
@report_option
@plot_option
def command(
    only: tuple[str, ...],
    fetches: int,
    rounds: int,
    files: int,
    sparse: int,
    work: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Measure what a person notices: one file of 1 MiB through running peers, a tree of small files against rsync and
    libtorrent, hashing what is shared, and the restart of a peer that shares a large file. A target that is missed is
    shown, and no error. Who is not installed is left out, and said."""
    if report is not None:
        check_report_path(report)
    if plot is not None:
        check_plot_path(plot)
    with work_directory("small", work) as directory:
        found = _measure(only or CASES, fetches, rounds, files, sparse, directory)
    show(targets_table(found.rows))
    if report is not None:
        write_report(report, found)
    if plot is not None:
        plot_small(plot, found)


def _measure(wanted: tuple[str, ...], fetches: int, rounds: int, files: int, sparse: int, work: Path) -> Report:
    rows: list[Row] = []
    one = trees = hashed = restarts = None
    missing = {kind.name: kind.missing() for kind in KINDS if kind.missing() and "tree" in wanted}
    if "one-file" in wanted:
        one = one_file.measure(ONE_FILE_BYTES, fetches, work, tell)
        show(one_file_table(one))
        rows.append(one_file_row(one))
    if "tree" in wanted:
        for name, what in missing.items():
            tell(f"{name} is left out: {what}")
        kinds = [kind for kind in KINDS if kind.name not in missing]
        trees = measure_case(tree(files), OURS, kinds, rounds, work, tell)
        show(contender_table(trees, OURS))
        rows += trees.rows
    if "hashing" in wanted:
        hashed = hashing.measure(HASHED_BYTES, rounds, work, tell)
        rows.append(hashing_row(hashed))
    if "restart" in wanted:
        restarts = restart.measure(sparse, rounds, work, tell)
        show(restart_table(restarts))
        rows.append(restart_row(restarts))
    where = str(work.parent), file_system(work)
    return Report(this_machine(), *where, missing, one, trees, hashed, restarts, rows)


def one_file_table(found: OneFile) -> Table:
    """How long it took, over the API and by command."""
    table = plain_table(f"ONE FILE OF {format_bytes(found.size)}".upper(), ">FETCHES", ">P50 MS", ">P99 MS", ">LONGEST")
    for name, values in (("local API", found.api_ms), ("python -m node get", found.command_ms)):
        if values:
            shown = [percentile(values, part) for part in (0.5, 0.99, 1)]
            table.add_row(name, str(len(values)), *(f"{ms:.0f}" for ms in shown))
    return table


def restart_table(found: Restarts) -> Table:
    """Each start's median."""
    table = plain_table("A PEER IS STARTED AGAIN", ">JOINED S", ">LISTED S", ">MIB READ", ">FROM DISK")
    for name, starts in ((format_bytes(found.size), found.large), (format_bytes(restart.SMALL_BYTES), found.small)):
        columns = [
            [start.joined_s for start in starts],
            [start.listed_s for start in starts],
            [start.read_bytes / MIB for start in starts],
            [start.disk_bytes / MIB for start in starts],
        ]
        table.add_row(f"sharing {name}", *(f"{percentile(values, 0.5):.2f}" for values in columns))
    return table


def plot_small(path: Path, report: Report) -> None:
    """One file: how many fetches took how long at most. The tree as other contents, hashing, restarts."""
    trees, others = report.tree, list[tuple[str, Mapping[str, Sequence[float]]]]()
    if report.hashing is not None:
        rates = {"zswarm": report.hashing.ours, "BLAKE3, one thread": report.hashing.plain}
        others.append(("Hashing: MiB/s", rates))
    if report.restart is not None:
        starts = {"large file": report.restart.large, "small file": report.restart.small}
        listed = {name: [start.listed_s for start in found] for name, found in starts.items()}
        others.append((f"Restart, {report.restart.size >> 30} GiB shared: s until listed", listed))
    count = (report.one_file is not None) + 2 * (trees is not None) + len(others)
    drawn, panels = figure(count, min(count, PICTURE_COLUMNS_COUNT))
    if report.one_file is not None:
        _draw_times(panels.pop(0), report.one_file)
    if trees is not None:
        draw_case(trees, (panels.pop(0), panels.pop(0)))
    for panel, (title, values) in zip(panels, others, strict=True):
        heights = {name: median(found) for name, found in values.items()}
        bars(panel, title, heights, values, list(heights)[:1])
    save(drawn, path)


def _draw_times(panel: Any, found: OneFile) -> None:
    colours = {"local API": OURS_COLOUR, "command": OTHERS_COLOUR}
    for (name, colour), values in zip(colours.items(), (found.api_ms, found.command_ms), strict=True):
        if values:
            shares = [100 * (number + 1) / len(values) for number in range(len(values))]
            panel.step(sorted(values), shares, where="post", color=colour, label=f"{name}, {len(values)}")
    panel.axvline(ONE_FILE_MS_MAX, color=DOT_COLOUR, linestyle=":", linewidth=1, label=f"{ONE_FILE_MS_MAX} ms")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_title(f"One file, {found.size >> 20} MiB: % of fetches within so many ms", fontsize=10)
    panel.legend(fontsize=8, frameon=False, loc="lower right")
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.small", sys.argv[1:]))
