"""Progress on standard error: live bars on a terminal, plain lines elsewhere, nothing with ``--quiet``.

Results go to standard output, so progress never mixes with what a script reads. `node.client.view` decides what a line
says; this module only where and how often it is drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TextIO

import msgspec

from node.client.orders import Follower, JobTracker
from node.client.session import Session
from node.client.view import JobView
from service.streams import warn, writable
from service.text import printable
from service.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console, OverflowMethod
    from rich.progress import Progress, TaskID

PLAIN_STEP_PERCENT = 10
PLAIN_PAUSE_SECONDS = 1.0
"""Plain lines of one job: at most one a second and one every ten percent."""
PLAIN_SILENT_SECONDS = 30.0
"""A job that hardly moves says so this often."""
ECHO_COLUMNS = 4
NARROW_COLUMNS = 60
"""Width below which a terminal has no room for a bar."""
LIVE_SECONDS = 0.1
PLAIN_SECONDS = 0.2
"""How often a display gets a new status."""


class Display(Protocol):
    """Where progress is drawn. A context manager: it leaves the terminal as it was."""

    interval: float

    def show(self, views: Sequence[JobView], now: float) -> None: ...
    def say(self, text: str) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def follow(session: Session, tracker: JobTracker, display: Display, timeout: float = 0.0) -> None:
    """Ask for the orders of ``tracker`` and show them on ``display`` until all have ended, or until ``timeout`` seconds
    (0: for ever) have passed."""
    follower, started = Follower(session, tracker), session.now()
    while True:
        old = follower.look()
        for text in tracker.news():
            display.say(printable(text))
        now = session.now()
        display.show(tracker.views(old), now)
        if tracker.finished() or (timeout and now - started >= timeout):
            return
        session.pause(display.interval)


def open_display(quiet: bool) -> Display:
    """The display that suits standard error now."""
    if quiet:
        return SilentDisplay()
    return LiveDisplay() if is_terminal(sys.stderr) else PlainDisplay()


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


class SilentDisplay:
    """``--quiet``: draws nothing; errors are written elsewhere."""

    interval = PLAIN_SECONDS

    def show(self, views: Sequence[JobView], now: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainDisplay(SilentDisplay):
    """One line at a time without control characters, for logs and pipes."""

    def __init__(self) -> None:
        self._lines = PlainLines()

    def show(self, views: Sequence[JobView], now: float) -> None:
        for line in self._lines.lines(views, now):
            self.say(line)

    def say(self, text: str) -> None:
        warn(text)


class PlainLines:
    """Decides which lines of progress are worth writing to a log."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[JobView, float]] = {}

    def lines(self, views: Sequence[JobView], now: float) -> list[str]:
        """The lines to write at ``now`` (monotonic seconds): a new phase, a new reason to wait, ten percent more."""
        found = []
        for view in views:
            if self._worth_saying(view, now):
                self._said[view.key] = (view, now)
                found.append(plain_line(view))
        return found

    def _worth_saying(self, view: JobView, now: float) -> bool:
        if view.final:
            return False
        if view.key not in self._said:
            return True
        said, at = self._said[view.key]
        if view.verb != said.verb or now - at >= PLAIN_SILENT_SECONDS:
            return True
        step = view.percent // PLAIN_STEP_PERCENT > said.percent // PLAIN_STEP_PERCENT
        return (step or view.note != said.note) and now - at >= PLAIN_PAUSE_SECONDS


def plain_line(view: JobView) -> str:
    """``model.bin: downloading 40 %, 480.0 MiB of 1.2 GiB, 103/256 pieces, ...``."""
    line = f"{view.label}: {view.verb}"
    if view.total:
        line += f" {view.percent} %, {format_bytes(view.done)} of {format_bytes(view.total)}"
    return f"{line}, {view.tail}" if view.tail else line


class LiveDisplay:
    """A bar for each job, redrawn in place."""

    interval = LIVE_SECONDS

    def __init__(self) -> None:
        self._console = live_console()
        self._progress: Progress = _bars(self._console)
        self._tasks: dict[int, TaskID] = {}

    def show(self, views: Sequence[JobView], now: float) -> None:
        del now
        for view in views:
            total = view.total or None
            share = f"{view.percent} %" if view.total else ""
            tail = view.tail or (view.verb if is_narrow(self._console) else "")
            label, tail = writable(view.label, sys.stderr), writable(tail, sys.stderr)
            texts: dict[str, Any] = {"description": label, "verb": view.verb, "share": share, "tail": tail}
            texts["whole"] = bool(view.note)
            task = self._tasks.get(view.key)
            if task is None:
                self._tasks[view.key] = self._progress.add_task(total=total, completed=view.done, **texts)
            else:
                self._progress.update(task, total=total, completed=view.done, **texts)
        self._progress.refresh()

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def live_console() -> Console:
    """A console on standard error, a little narrower than the terminal: the ``^C`` that a terminal echoes must not
    wrap, or what is redrawn in place would be left behind."""
    from rich.console import Console, ConsoleDimensions

    class NarrowConsole(Console):
        @property
        def size(self) -> ConsoleDimensions:
            width, height = super().size
            return ConsoleDimensions(max(width - ECHO_COLUMNS, ECHO_COLUMNS), height)

        @size.setter
        def size(self, new_size: tuple[int, int]) -> None:
            self._width, self._height = new_size

    return NarrowConsole(stderr=True, highlight=False, markup=False, emoji=False)


def is_narrow(console: Console) -> bool:
    return console.width < NARROW_COLUMNS


def _bars(console: Console) -> Progress:
    """One row per job: label, verb, bar, percent, numbers or a reason. Numbers that do not fit are cut; a reason takes
    as many lines as it needs."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    class TailColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            whole = task.fields["whole"]
            return Text(task.fields["tail"], no_wrap=not whole, overflow="fold" if whole else cut)

    def text(field: str, column: Column, justify: Literal["left", "right"] = "left") -> TextColumn:
        return TextColumn(f"{{task.{field}}}", markup=False, justify=justify, table_column=column)

    cut: OverflowMethod = "ellipsis" if console.encoding.startswith("utf") else "crop"
    label_width = max(12, console.width // 4)
    bar_width = max(8, min(30, console.width // 8))
    verb_and_bar = [text("fields[verb]", Column(no_wrap=True)), BarColumn(bar_width=bar_width)]
    return Progress(
        text("description", Column(no_wrap=True, overflow=cut, max_width=label_width)),
        *([] if is_narrow(console) else verb_and_bar),
        text("fields[share]", Column(no_wrap=True, min_width=5), "right"),
        TailColumn(Column(ratio=1)),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        expand=True,
    )


class LocalProgress:
    """Progress of one piece of work in this process, as a callback of bytes done so far."""

    def __init__(self, display: Display, label: str, verb: str, total: int, clock: Callable[[], float]) -> None:
        self._display = display
        self._view = JobView(key=0, label=printable(label), verb=verb, done=0, total=total)
        self._clock = clock
        self._shown_at = -1.0

    def __call__(self, done: int) -> None:
        now = self._clock()
        if self._shown_at < 0 or now - self._shown_at >= self._display.interval:
            self._shown_at = now
            self._display.show([msgspec.structs.replace(self._view, done=done)], now)
