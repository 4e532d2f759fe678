"""Ctrl-C, SIGTERM and a closed terminal end a run as an exception does, but never in the middle of a step that would
leave a process or a file behind.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread. ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell reports it: 130 for Ctrl-C."""
        return 128 + self.number


class _State:
    """Of this process, as its signal handlers are."""

    shields = 0
    waiting: int | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """In the main thread: signals raise `Interrupted`, at once or when the outermost `shielded` block has ended."""
    before = {number: signal.signal(number, _on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Within `interruptible`, no signal raises anything in this block; outside of it, this does nothing."""
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
        if not _State.shields and _State.waiting is not None:
            number, _State.waiting = _State.waiting, None
            raise Interrupted(number)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if _State.shields:
        _State.waiting = number
    else:
        raise Interrupted(number)
