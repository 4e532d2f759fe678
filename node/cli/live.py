"""What is redrawn on a terminal besides progress bars: ``status --watch`` and the line of uploads."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from node.api_messages import StatusReport
from node.cli.output import fitting_blocks, screen_lines, warn
from node.cli.progress import is_terminal, live_console
from node.cli.tables import Rows, shortened
from node.client.view import trouble
from node.reasons import silence
from service.units import counted, format_bytes, format_rate

RATE_SECONDS = 5.0
"""The upload rate is the mean over this long."""
PLAIN_SECONDS = 30.0
"""Without a terminal, uploads are worth a line this often, and only when something was sent."""


class UploadMeter:
    """Computes the upload rate from successive totals. Pure."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def rate(self, sent_bytes: int, now: float) -> float:
        """Bytes per second over the last `RATE_SECONDS`; a total that shrank (a restarted process) starts anew."""
        points = self._points
        if points and sent_bytes < points[-1][1]:
            points.clear()
        points.append((now, sent_bytes))
        while len(points) > 2 and now - points[1][0] >= RATE_SECONDS:
            points.popleft()
        elapsed = now - points[0][0]
        return (sent_bytes - points[0][1]) / elapsed if elapsed > 0 else 0.0


def upload_line(report: StatusReport, rate: float) -> str:
    """``serving 2 items, 3 uploads, sent 1.2 GiB, 110.0 MiB/s``."""
    line = f"serving {counted(report.shared_count, 'item')}, {counted(report.uploads, 'upload')}"
    line += f", sent {format_bytes(report.sent_bytes)}"
    if report.network != "joined":
        line += f" ({trouble(report) or report.network})"
    old = silence(report.silent_seconds.get("piece_server", 0.0), "piece server")
    if old:
        return f"{line}; {old}"
    return f"{line}, {format_rate(rate)}" if rate else line


class UploadDisplay(NamedTuple):
    """``show`` draws the uploads of a report taken at a time, ``say`` writes a separate line."""

    show: Callable[[StatusReport, float], None]
    say: Callable[[str], None]


@contextlib.contextmanager
def upload_display(quiet: bool) -> Iterator[UploadDisplay]:
    """Shows uploads as a live line, as rare plain lines, or not at all."""
    meter = UploadMeter()
    if quiet:
        yield UploadDisplay(lambda _report, _now: None, warn)
        return
    if not is_terminal(sys.stderr):
        yield UploadDisplay(_plain_uploads(meter), warn)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(
        console=live_console(), auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield UploadDisplay(
            lambda report, now: live.update(
                Text(upload_line(report, meter.rate(report.sent_bytes, now)), no_wrap=True), refresh=True
            ),
            lambda text: live.console.print(text, soft_wrap=True),
        )


def _plain_uploads(meter: UploadMeter) -> Callable[[StatusReport, float], None]:
    last: tuple[float, int] | None = None

    def show(report: StatusReport, now: float) -> None:
        nonlocal last
        rate = meter.rate(report.sent_bytes, now)
        if last is None:
            last = (now, report.sent_bytes)
        elif report.sent_bytes != last[1] and now - last[0] >= PLAIN_SECONDS:
            last = (now, report.sent_bytes)
            warn(upload_line(report, rate))

    return show


@contextlib.contextmanager
def status_screen() -> Iterator[Callable[[StatusReport], None]]:
    """A function that draws a report in place of the last one on standard output."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)

    def drawn(report: StatusReport) -> Text:
        lines = screen_lines(report, console.width, console.height)
        whole = Text(no_wrap=True)
        for place, line in enumerate(lines):
            whole.append("\n" if place else "").append(line.text, "bold" if line.title else "")
        return whole

    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield lambda report: live.update(drawn(report), refresh=True)


@contextlib.contextmanager
def table_screen() -> Iterator[Callable[[Sequence[str], Rows, str], None]]:
    """A function that draws a table, whose rows take a line each, and a line below it, in place of the last one on
    standard error. The last rows are left out where they do not fit. Nothing of it stays."""
    from rich.live import Live
    from rich.text import Text

    console = live_console()

    def drawn(headers: Sequence[str], rows: Rows, line: str) -> Text:
        title, *lines = [text for block in fitting_blocks(headers, rows, console.width) for text in block]
        room = console.height - 3
        if len(lines) > room:
            lines[room - 1 :] = [f"+{len(lines) - room + 1} more"]
        whole = Text(no_wrap=True).append(title, "bold")
        return whole.append("".join(f"\n{text}" for text in [*lines, shortened(line, console.width)]))

    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda headers, rows, line: live.update(drawn(headers, rows, line), refresh=True)
