"""The report of a load test for a person, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.load.report import TRACKER_ROLES, LoadReport, PhaseFigures, RequestFigures
from cluster.table import NONE, plain_table
from protocol.limits import REPLY_PAGE_COUNT
from service.units import format_rate

KINDS_SHOWN_COUNT = 20
KEY_COLUMNS = 9


def render_load(report: LoadReport) -> RenderableType:
    """The table of requests, the errors, what sums it up, and the verdict."""
    parts: list[RenderableType] = [_requests(report), Text("")]
    if report.errors:
        parts += [*(Text(line, style="red") for line in errors(report)), Text("")]
    parts += [_facts(report), Text(""), _roles(report), Text("")]
    return Group(*parts, Text(verdict(report), style="bold green" if report.ok else "bold red"))


def verdict(report: LoadReport) -> str:
    """``no errors: 1000 clients, 91,234 requests in 10.0 s, 9,123 a second``."""
    requests = report.all_requests
    what = f"{report.clients} clients, {requests.count:,} requests in {report.seconds:.1f} s"
    state = "no errors" if report.ok else "FAILED"
    return f"{state}: {what}, {requests.per_s:,.0f} a second"


def errors(report: LoadReport) -> Iterator[str]:
    """A line for each kind of error."""
    for error in report.errors[:KINDS_SHOWN_COUNT]:
        yield f"{error.count:,} x {error.request}: {error.kind}; the first: {error.example}"
    if len(report.errors) > KINDS_SHOWN_COUNT:
        yield f"and {len(report.errors) - KINDS_SHOWN_COUNT} more kinds of error"


def facts(report: LoadReport) -> Iterator[tuple[str, str]]:
    """The sums, as (name, text)."""
    own = f"{report.files} file{'s' * (report.files != 1)} of its own each and one that all have"
    each = f", members of each of {report.trackers} trackers" if report.trackers > 1 else ""
    yield "clients", f"{report.clients} in {report.processes} processes, {own}{each}"
    yield "mix", ", ".join(f"{operation} {count} %" for operation, count in report.mix.items()) or "heartbeats alone"
    joined, left, count = report.joined, report.left, report.clients * report.trackers
    yield "joined", f"{joined.clients} of {count} in {joined.seconds:.1f} s, {_per_second(joined)} a second"
    yield "left", f"{left.clients} of {count} in {left.seconds:.1f} s, {_per_second(left)} a second"
    yield "after it", _left_over(report)
    yield "errors", f"{report.error_count:,}; lookups were behind {report.asked_again:,} times"
    cost = report.tracker
    traffic = format_rate(cost.bytes_per_s)
    yield "cost", f"of each tracker: {cost.mib:,.0f} MiB, {cost.cores:.3f} cores, {traffic} in and out"
    yield "limit", _limit(report)
    busy = ", ".join(f"{who} {cores:.2f}" for who, cores in report.busy_cores.items())
    yield "cores", f"{busy}, of {report.cores}, on average"
    files_open = max((role.open_files for role in report.roles), default=0)
    yield "sockets", f"a process had {files_open:,} open files at most, and may have {report.open_files_max:,}"
    yield "run", ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.phases.items())
    for note in report.notes:
        yield "note", note


def _left_over(report: LoadReport) -> str:
    contents, members = report.left_contents, report.left_members
    if contents is None or members is None:
        return "the tracker did not say what it lists"
    some = f"{_page(contents)} contents and {_page(members)} members"
    return f"the tracker lists {some if contents or members else 'nothing'}"


def _facts(report: LoadReport) -> Table:
    """A line for each, or several: what does not fit goes on below its beginning."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, min_width=KEY_COLUMNS)
    for key, value in facts(report):
        table.add_row(key, value)
    return table


def _limit(report: LoadReport) -> str:
    """What kept the tracker from more, in words."""
    busy = {role.role: _percent(role.busy) for role in report.roles}
    match report.limit:
        case "registrar" | "lookup":
            return f"the {report.limit}'s core, {busy[report.limit]} busy"
        case "machine":
            return f"the {report.cores} cores of this machine, all busy"
        case "clients":
            of_tracker = " and ".join(f"the {role} {busy[role]}" for role in TRACKER_ROLES if role in busy)
            return f"the clients' processes, {busy['clients']} busy; {of_tracker}"
        case "none" if report.idle:
            return "nobody was busy all the time"
        case "none":
            return "nobody was busy all the time: so few clients, with one request each, ask no faster"


def _requests(report: LoadReport) -> Table:
    table = plain_table("REQUEST", ">COUNT", ">RATE", ">P50 ms", ">P90 ms", ">P99 ms", ">MAX ms", ">ERRORS")
    for figures in (*report.requests, report.all_requests):
        table.add_row(*_cells(figures))
    return table


def _cells(figures: RequestFigures) -> list[str]:
    times = (figures.p50_ms, figures.p90_ms, figures.p99_ms, figures.max_ms)
    count, rate = f"{figures.count:,}", f"{figures.per_s:,.0f}/s"
    return [figures.request, count, rate, *map(_ms, times), f"{figures.errors:,}"]


def _ms(time: float) -> str:
    return f"{time:.1f}" if time < 1_000 else f"{time:.0f}"


def _roles(report: LoadReport) -> Table:
    table = plain_table("", *(f">{role.role}" for role in report.roles))
    table.add_row("processes", *(str(role.processes) for role in report.roles))
    table.add_row("CPU s", *(f"{role.cpu_s:.2f}" for role in report.roles))
    table.add_row("answers/CPU s", *(_count(role.requests_per_cpu_s) for role in report.roles))
    table.add_row("open files", *(str(role.open_files) for role in report.roles))
    table.add_row("core busy", *(_percent(role.busy) for role in report.roles))
    table.add_row("peak MiB", *(f"{role.peak_mib:.0f}" for role in report.roles))
    return table


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _per_second(phase: PhaseFigures) -> str:
    return f"{phase.clients / phase.seconds:,.0f}" if phase.seconds else NONE


def _page(count: int) -> str:
    """A page of a listing says no more than that there are more."""
    return f"{count} or more" if count >= REPLY_PAGE_COUNT else str(count)
