"""``python -m benchmarks.tracker``: how many requests a tracker answers, what it keeps in memory, and how soon it knows
everybody again after it was killed.

Owns the command line and what is shown. Requests are `tracker_load.requests`'s, the rest is `tracker_load.registry`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click
from msgspec import Struct
from rich.table import Table

from benchmarks.command import run_command
from benchmarks.comparison import Row, medians
from benchmarks.machine import Machine, this_machine
from benchmarks.output import show, targets_table, tell
from benchmarks.plot import bars, check_plot_path, figure, save
from benchmarks.tracker_figures import CASES, MEMORY_FIGURES, REBUILD_FIGURES, Registered, Served, ratios, result_rows
from benchmarks.tracker_load.registry import check_open_files, measure_registry
from benchmarks.tracker_load.requests import measure_requests
from benchmarks.work import work_directory
from cluster.report_file import check_report_path, write_report
from cluster.table import plain_table
from protocol.errors import UsageError

AHEAD_COUNT_MAX = 50
"""A tracker drops what goes beyond the queue it has for a peer: 100 answers, which it counts to the next 50."""


class Report(Struct, frozen=True):
    """``rounds`` by server, ``requests`` each and ``ahead`` at a time; ``medians`` and ``rows`` are what they and the
    ``registries`` come to, each of ``peers`` with ``files``."""

    machine: Machine
    requests: int
    ahead: int
    peers: int
    files: int
    rounds: list[dict[str, Served]]
    registries: list[Registered]
    medians: dict[str, Served]
    rows: list[Row]


def render_requests(rounds: Sequence[Mapping[str, Served]]) -> Table:
    """Every server, and ours beside its echo."""
    table = plain_table("REQUESTS", ">A SECOND", ">/ ECHO", ">CPU US", ">P50 MS", ">P99 MS", ">P99.9 MS")
    found = medians(rounds)
    for case in CASES:
        for name in (case.ours, case.echo):
            one = found[name]
            table.add_row(
                name if name == case.ours else f"  {name}",
                f"{one.requests_s:,.0f}",
                f"{median(ratios(rounds, case)):.2f}" if name == case.ours else "",
                f"{one.cpu_us:.1f}",
                *(f"{latency:.2f}" for latency in (one.p50_ms, one.p99_ms, one.p999_ms)),
            )
    return table


def render_registries(registries: Sequence[Registered]) -> Table:
    """What they cost, and how long they took to be known again."""
    table = plain_table(f"{registries[0].entries:,} ENTRIES", ">MEDIAN", ">EACH TIME")
    for unit, figures in (("bytes an entry", MEMORY_FIGURES), ("s after a kill", REBUILD_FIGURES)):
        for text, value_of in figures.items():
            values = [value_of(one) for one in registries]
            shown = ", ".join(f"{value:.1f}" for value in values)
            table.add_row(f"{unit}: {text}", f"{median(values):.1f}", shown)
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--rounds", type=click.IntRange(0, 100), default=7, show_default=True, help="Of requests, that count.")
@click.option(
    "--requests", type=click.IntRange(1), default=50_000, show_default=True, help="To each server in each round."
)
@click.option(
    "--ahead",
    type=click.IntRange(1, AHEAD_COUNT_MAX),
    default=32,
    show_default=True,
    help="So many are asked before the first answer is there.",
)
@click.option(
    "--registries", type=click.IntRange(0, 100), default=3, show_default=True, help="Trackers that are filled."
)
@click.option("--peers", type=click.IntRange(1, 10_000), default=1_000, show_default=True, help="In each of them.")
@click.option("--files", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="Of each peer.")
@click.option("--report", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="JSON.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A picture, as PNG.")
def command(
    rounds: int,
    requests: int,
    ahead: int,
    registries: int,
    peers: int,
    files: int,
    path: Path | None,
    plot: Path | None,
) -> None:
    """Measure a tracker on this machine: requests beside a bare echo, memory, and how soon it knows everybody again
    after its registrar was killed. A target that is missed is shown, and no error."""
    if path is not None:
        check_report_path(path)
    if plot is not None:
        check_plot_path(plot)
    if not rounds and not registries:
        raise UsageError("nothing is left to be measured: --rounds and --registries are 0")
    if registries:
        check_open_files(peers)
    served: list[dict[str, Served]] = []
    if rounds:
        with work_directory("tracker") as root:
            served = measure_requests(root, rounds, requests, ahead, tell)
        show(render_requests(served))
    registered: list[Registered] = []
    for number in range(registries):
        tell(f"registry {number + 1} of {registries}")
        with work_directory("tracker") as root:
            registered.append(measure_registry(root, peers, files, tell))
    if registered:
        show(render_registries(registered))
    rows = list(result_rows(served, registered))
    show(targets_table(rows))
    report = Report(this_machine(), requests, ahead, peers, files, served, registered, medians(served), rows)
    if path is not None:
        write_report(path, report)
    if plot is not None:
        plot_tracker(plot, report)


def plot_tracker(path: Path, result: Report) -> None:
    """Requests of each server beside its echo; memory and time of the registries."""
    count = 2 * bool(result.rounds) + 2 * bool(result.registries)
    drawn, panels = figure(count, count)
    if result.rounds:
        ours = [case.ours for case in CASES]
        for name_of, title in (("requests_s", "requests a second"), ("cpu_us", "CPU of the server, us a request")):
            heights = {name: getattr(found, name_of) for name, found in result.medians.items()}
            dots = {name: [getattr(found[name], name_of) for found in result.rounds] for name in heights}
            bars(panels.pop(0), title, heights, dots, ours)
    if result.registries:
        title = f"{result.peers:,} peers with {result.files:,} files"
        for unit, figures in (("bytes an entry", MEMORY_FIGURES), ("s after a kill", REBUILD_FIGURES)):
            dots = {text: [value_of(one) for one in result.registries] for text, value_of in figures.items()}
            bars(panels.pop(0), f"{title}: {unit}", {text: median(found) for text, found in dots.items()}, dots)
    save(drawn, path)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.tracker", sys.argv[1:]))
