"""Progress of a run on standard error: a bar for each peer on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.follow import Followed
from node.cli.progress import is_terminal, live_console
from service.units import format_bytes, format_rate

PLAIN_PAUSE_SECONDS = 1.0
"""Without a terminal, how it goes is worth a line this often."""
SPARE_ROWS = 4
"""Of a terminal's rows, what is kept free for the lines above and below the bars."""
BAR_COLUMNS = 24


class Screen(Protocol):
    """Where progress is shown. A context manager: it leaves the terminal as it was."""

    def stage(self, text: str) -> None:
        """What is done now; replaces what was done before."""

    def step(self, text: str, now: float) -> None:
        """How far that is; ``now`` in monotonic seconds."""

    def show(self, peers: Sequence[Followed], now: float) -> None:
        """How far ``peers`` are; ``now`` in monotonic seconds."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


def open_screen() -> Screen:
    """The screen that suits standard error now."""
    return LiveScreen(live_console()) if is_terminal(sys.stderr) else PlainScreen()


class PlainScreen:
    """A line for each stage, for each peer that is done, and one a second."""

    def __init__(self) -> None:
        self._said_at = -math.inf
        self._over: dict[str, None] = {}

    def stage(self, text: str) -> None:
        self._said_at = time.monotonic()
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is its purpose

    def step(self, text: str, now: float) -> None:
        if now - self._said_at >= PLAIN_PAUSE_SECONDS:
            self.stage(text)

    def show(self, peers: Sequence[Followed], now: float) -> None:
        for peer in peers:
            if peer.over and peer.name not in self._over:
                self._over[peer.name] = None
                self.stage(f"{peer.name}: {peer.error or 'done'}")
        if len(self._over) < len(peers):
            self.step(summary(peers), now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveScreen:
    """A row for each peer, as many as there is room for, redrawn in place and gone at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def stage(self, text: str) -> None:
        self._stage = text
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def step(self, text: str, now: float) -> None:
        del now
        self._live.update(Text(f"{self._stage}: {text}", no_wrap=True, overflow="ellipsis"), refresh=True)

    def show(self, peers: Sequence[Followed], now: float) -> None:
        del now
        shown, hidden = rows_for(peers, max(1, self._console.height - SPARE_ROWS))
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False, expand=True)
        table.add_column(no_wrap=True)
        table.add_column(width=BAR_COLUMNS)
        table.add_column(justify="right", no_wrap=True, min_width=len("100 %"))
        table.add_column(justify="right", no_wrap=True, min_width=len("100.0 MiB/s"))
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for peer in shown:
            table.add_row(
                Text(peer.name),
                ProgressBar(total=peer.length or 1, completed=peer.done if peer.length else 1),
                Text(f"{percent(peer)} %"),
                Text(format_rate(peer.rate) if peer.rate else ""),
                Text(peer.error or note(peer), style="red" if peer.error else ""),
            )
        lines: list[RenderableType] = [Text(summary(peers), no_wrap=True, overflow="ellipsis"), table]
        if hidden:
            lines.append(Text(f"and {hidden} more", style="dim"))
        self._live.update(Group(Text(self._stage, no_wrap=True, overflow="ellipsis"), *lines), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def rows_for(peers: Sequence[Followed], rows: int) -> tuple[list[Followed], int]:
    """Which of ``peers`` to show in ``rows`` rows, and how many are left out: those who are not done come first."""
    if len(peers) <= rows:
        return list(peers), 0
    first = sorted(range(len(peers)), key=lambda index: (peers[index].over and not peers[index].error, index))
    shown = sorted(first[: rows - 1])
    return [peers[index] for index in shown], len(peers) - len(shown)


def summary(peers: Sequence[Followed]) -> str:
    """``37 %, 1 of 4 done, 310.0 MiB/s``."""
    done = sum(bool(peer.finished_at) for peer in peers)
    held, wanted = sum(peer.done for peer in peers), sum(peer.length for peer in peers)
    share = 100 * held // wanted if wanted else 100
    rate = sum(peer.rate for peer in peers)
    line = f"{share} %, {format_bytes(held)} of {format_bytes(wanted)}, {done} of {len(peers)} done"
    return f"{line}, {format_rate(rate)}" if rate else line


def percent(peer: Followed) -> int:
    """Of what it is to get, rounded down: 100 only when it has all."""
    return 100 * peer.done // peer.length if peer.length else 100


def note(peer: Followed) -> str:
    """What it does now, and from how many."""
    text = peer.detail or peer.phase
    count = len(peer.sources)
    return f"{text}, {count} source{'s' * (count != 1)}" if count and peer.phase == "downloading" else text
