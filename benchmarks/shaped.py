"""``python -m benchmarks.shaped``: this system against libtorrent over slow links, each machine a network namespace.

One seeder and more and more receivers, with links that are all alike or mixed. Owns the command line and the order of
things. Takes root.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource
from msgspec import Struct

from benchmarks.command import plot_option, report_option, run_command, size_option, work_option
from benchmarks.comparison import Row
from benchmarks.contenders.contender import CountingKind
from benchmarks.contenders.libtorrent import Libtorrent
from benchmarks.contenders.zswarm import Zswarm
from benchmarks.machine import Machine, file_system, this_machine
from benchmarks.output import say, show, targets_table, tell
from benchmarks.plot import check_plot_path, plot_shaped
from benchmarks.shaped_cases import DEFAULT_RATE, MIXED, RECEIVERS, case_of, spread_rows
from benchmarks.shaped_rounds import CaseResult, case_lines, case_table, measure_case
from benchmarks.work import work_directory
from cluster.links import Links, check_real_rate, parse_link_rate
from cluster.namespaces import check_usable
from cluster.report_file import check_report_path, write_report
from protocol.manifest import piece_length_for
from service.command_line import parsed_by

RECEIVERS_COUNT_MAX = 100


class Report(Struct, frozen=True):
    """``work``: where all files lay, and on what file system. ``missing``: contenders that are not installed. ``rows``:
    targets that compare cases."""

    machine: Machine
    work: str
    file_system: str
    missing: dict[str, str]
    cases: list[CaseResult]
    rows: list[Row]


def _real_rate(text: str) -> float:
    rate = parse_link_rate(text)
    check_real_rate(rate)
    return rate


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--receivers",
    type=click.IntRange(1, RECEIVERS_COUNT_MAX),
    multiple=True,
    metavar="N",
    help=f"How many get it; again for another case.  [default: {', '.join(map(str, RECEIVERS))}]",
)
@click.option(
    "--rate",
    callback=parsed_by(_real_rate),
    default=DEFAULT_RATE,
    show_default=True,
    metavar="RATE",
    help="What each link can do, up and down each.",
)
@click.option(
    "--mixed", is_flag=True, help="Links of 80mbit instead, with receivers' uplinks of 10, 20, 40 and 80mbit in turn."
)
@size_option("--size", default="64MiB", help="Of the content, random bytes.")
@click.option("--rounds", type=click.IntRange(1, 100), default=2, show_default=True, help="Each with everybody.")
@work_option
@report_option
@plot_option
@click.pass_context
def command(
    ctx: click.Context,
    receivers: tuple[int, ...],
    rate: float,
    mixed: bool,
    size: int,
    rounds: int,
    work: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Measure this system against libtorrent over slow links: one seeder and some receivers, each in a network
    namespace of this machine, as root. A target that is missed is shown, and no error. libtorrent is left out where it
    is not installed, and that is said."""
    if mixed and ctx.get_parameter_source("rate") is not ParameterSource.DEFAULT:
        raise click.UsageError("--rate: not with --mixed, which has rates of its own")
    if not size:
        raise click.UsageError("--size: nothing to move takes no time")
    if report is not None:
        check_report_path(report)
    if plot is not None:
        check_plot_path(plot)
    check_usable()
    everybody: tuple[CountingKind, ...] = (Zswarm(), Libtorrent(piece_length_for(size)))
    missing = {kind.name: kind.missing() for kind in everybody if kind.missing()}
    for name, what in missing.items():
        tell(f"{name} is left out: {what}")
    kinds = [kind for kind in everybody if kind.name not in missing]
    results = []
    with work_directory("shaped", work) as directory:
        found_on = file_system(directory)
        for count in sorted(set(receivers or RECEIVERS)):
            links = MIXED if mixed else Links(rate)
            result = measure_case(case_of(count, size, mixed), links, kinds, rounds, directory, tell)
            show(case_table(result))
            for line in (*case_lines(result), ""):
                say(line)
            show(targets_table(result.rows))
            results.append(result)
    between = [] if mixed else list(spread_rows({result.receivers: result.rounds for result in results}))
    show(targets_table(between))
    if report is not None:
        write_report(report, Report(this_machine(), str(directory.parent), found_on, missing, results, between))
    if plot is not None:
        plot_shaped(plot, results)


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.shaped", sys.argv[1:]))
