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


def print_report(report: Report) -> None:
    """The table, the errors, the sums, the verdict, on standard output."""
    width = None if is_terminal(sys.stdout) else PLAIN_COLUMNS
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(render(report))
    for line in captured.get().splitlines():
        print(line.rstrip())  # noqa: T201 - this is its purpose


def render(report: Report) -> RenderableType:
    """Everything that `print_report` prints."""
    parts: list[RenderableType] = [_peers(report), Text("")]
    errors = [Text(f"{result.peer}: {result.error}", style="red") for result in report.results if result.error]
    parts += [*errors, Text("")] if errors else []
    parts += [Text(f"{key:<9} {value}") for key, value in facts(report)]
    parts += [Text(""), _roles(report)]
    style = "bold green" if report.ok else "bold red"
    return Group(*parts, Text(""), Text(verdict(report), style=style))


def verdict(report: Report) -> str:
    """``5 of 5 verified: random.bin, 64.0 MiB in 256 pieces``."""
    what = f"{report.name}, {format_bytes(report.size)} in {report.pieces} pieces"
    return f"{report.verified} of {report.peers} verified: {what}"


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """The sums, as (name, text)."""
    rate = format_rate(report.aggregate_mib_s * MIB) if report.aggregate_mib_s is not None else NONE
    yield "time", f"median {_seconds(report.median_s)}, last {_seconds(report.last_s)}; {rate} in all"
    sent, received = _times(report.seeder_sent_ratio), _times(report.received_ratio)
    who = "the seeder" if report.seeders == 1 else f"{report.seeders} seeders"
    yield "traffic", f"{who} sent {sent} the size; a receiver got {received} of it"
    per_gib = NONE if report.cpu_s_per_gib is None else f"{report.cpu_s_per_gib:.2f} s"
    yield "CPU", f"{report.cpu_s:.2f} s, {per_gib} per GiB delivered"
    yield "run", ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.phases.items())


def _peers(report: Report) -> Table:
    table = _table("PEER", ">SECONDS", ">RATE", ">SENT", ">RECEIVED", ">SOURCES", "VERDICT")
    for result in report.results:
        table.add_row(*_cells(result, report.size))
    return table


def _roles(report: Report) -> Table:
    """A column for each role of process."""
    table = _table("", *(f">{role}" for role in report.max_rss_mib))
    table.add_row("CPU s", *(f"{report.cpu_s_by_role.get(role, 0):.2f}" for role in report.max_rss_mib))
    table.add_row("peak MiB", *(f"{mib:.0f}" for mib in report.max_rss_mib.values()))
    return table


def _table(*headers: str) -> Table:
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
