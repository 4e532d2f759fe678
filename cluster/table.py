"""The outcome of a run for a person: a table with a line for each peer, and what sums it up, in 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.report import MIB, PeerResult, Report
from node.cli.progress import is_terminal
from service.units import format_bytes, format_rate

NONE = "-"
PLAIN_COLUMNS = 1_000
"""Width when the output is no terminal: nothing is cut or wrapped."""
ROWS_COUNT_MAX = 200
"""More peers than this are too many to read about..."""
ROWS_FIRST_COUNT, ROWS_LATE_COUNT = 10, 10
"""...so it is the first of them that are shown, and those that failed or were the last."""


def print_report(report: RenderableType) -> None:
    """A rendered ``report`` on standard output, as wide as that is."""
    width = None if is_terminal(sys.stdout) else PLAIN_COLUMNS
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(report)
    for line in captured.get().splitlines():
        print(line.rstrip())  # noqa: T201 - this is its purpose


def render(report: Report) -> RenderableType:
    """The table, the errors, the sums, the verdict."""
    parts: list[RenderableType] = [_peers(report), Text("")]
    failed = [result for result in shown_of(report.results) if result.error]
    errors = [Text(f"{result.peer}: {result.error}", style="red") for result in failed]
    parts += [*errors, Text("")] if errors else []
    parts += [Text(f"{key:<9} {value}") for key, value in facts(report)]
    if report.max_rss_mib:
        parts += [Text(""), _roles(report)]
    style = "bold green" if report.ok else "bold red"
    return Group(*parts, Text(""), Text(verdict(report), style=style))


def verdict(report: Report) -> str:
    """``5 of 5 verified: random.bin, 64.0 MiB in 256 pieces``."""
    pieces = str(report.pieces)
    if report.real_pieces not in (None, report.pieces):
        pieces += f" instead of {report.real_pieces}"
    what = f"{report.name}, {format_bytes(report.size)} in {pieces} pieces"
    where = " in the simulation" if report.simulated else ""
    return f"{report.verified} of {report.peers} verified{where}: {what}"


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """The sums, as (name, text)."""
    rate = format_rate(report.aggregate_mib_s * MIB) if report.aggregate_mib_s is not None else NONE
    yield "time", f"median {_seconds(report.median_s)}, last {_seconds(report.last_s)}; {rate} in all"
    if report.goodput_mib_s is not None:
        yield "goodput", f"{format_rate(report.goodput_mib_s * MIB)} between two alone; the bound is of such links"
    if report.bound_s is not None:
        best = f"nobody could have all of it before {_seconds(report.bound_s)}"
        yield "bound", f"{best}; the last took {_times(report.ratio)} of that" if report.ratio else best
    if report.estimate_s is not None and report.real_pieces != report.pieces:
        of_bound = f", {report.estimate_s / report.bound_s:.2f} x the bound" if report.bound_s else ""
        yield "estimate", f"last {_seconds(report.estimate_s)} with all {report.real_pieces} pieces{of_bound}"
    sent, received = _times(report.seeder_sent_ratio), _times(report.received_ratio)
    who = "the seeder" if report.seeders == 1 else f"{report.seeders} seeders"
    yield "traffic", f"{who} sent {sent} the size; a receiver got {received} of it"
    if report.max_rss_mib:
        per_gib = NONE if report.cpu_s_per_gib is None else f"{report.cpu_s_per_gib:.2f} s"
        yield "CPU", f"{report.cpu_s:.2f} s, {per_gib} per GiB delivered"
    phases = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.phases.items())
    yield "run", f"{phases}, here" if report.simulated else phases
    for note in report.notes:
        yield "note", note


def _peers(report: Report) -> Table:
    table = plain_table("PEER", ">SECONDS", ">RATE", ">SENT", ">RECEIVED", ">SOURCES", "VERDICT")
    shown = shown_of(report.results)
    for result in shown:
        table.add_row(*_cells(result, report.size))
    hidden = len(report.results) - len(shown)
    if hidden:
        table.add_row(f"and {hidden} more")
    return table


def shown_of(results: Sequence[PeerResult]) -> list[PeerResult]:
    """Those that get a line, in their order: all, or of very many the first ones and those that failed or were late."""
    if len(results) <= ROWS_COUNT_MAX:
        return list(results)
    late = sorted(results, key=lambda result: (result.ok, -(result.seconds or 0.0)))[:ROWS_LATE_COUNT]
    chosen = {result.peer: None for result in [*results[:ROWS_FIRST_COUNT], *late]}
    return [result for result in results if result.peer in chosen]


def _roles(report: Report) -> Table:
    """A column for each role of process."""
    table = plain_table("", *(f">{role}" for role in report.max_rss_mib))
    table.add_row("CPU s", *(f"{report.cpu_s_by_role.get(role, 0):.2f}" for role in report.max_rss_mib))
    table.add_row("peak MiB", *(f"{mib:.0f}" for mib in report.max_rss_mib.values()))
    return table


def plain_table(*headers: str) -> Table:
    """A borderless table; a header that starts with ``>`` is right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    return table


def _cells(result: PeerResult, size: int) -> Sequence[Text]:
    texts = [
        result.peer,
        "seeder" if result.seeder else _seconds(result.seconds, ""),
        format_rate(size / result.seconds) if result.seconds else NONE,
        format_bytes(result.sent),
        NONE if result.seeder else format_bytes(result.received),
        NONE if result.seeder else str(result.sources),
    ]
    verdict = Text("verified", style="green") if result.ok else Text("FAILED", style="bold red")
    return [*map(Text, texts), verdict]


def _seconds(value: float | None, unit: str = " s") -> str:
    return NONE if value is None else f"{value:.2f}{unit}"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f} x"
