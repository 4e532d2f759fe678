"""The standard streams of a program: all three exist, take any text, and say in one error when standard output cannot
be written. Messages to a person go to standard error, which fails in silence: there is nowhere else to say it.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any, TextIO

from protocol.errors import DiskError
from service.text import printable

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def prepare_streams() -> None:
    """To be called before anything opens a file, which would take the place of a stream that is missing."""
    for number in (_STDIN, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, so this one
    _use_utf8()
    if sys.stdin is None:
        sys.stdin = open(_STDIN, closefd=False)  # noqa: SIM115 - a descriptor, for as long as the program runs
    sys.stdout = _text(_STDOUT, sys.stdout, _refuse)
    sys.stderr = _text(_STDERR, sys.stderr, _give_up)


def _use_utf8() -> None:
    """Arguments, names of files and what children are told are UTF-8 whatever the locale; only what a person sees has
    the encoding of the terminal. Python can be told so when it starts and not later, so it is started again."""
    if sys.getfilesystemencoding() == "utf-8":
        return
    shown_as = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    os.environ.setdefault("PYTHONIOENCODING", shown_as)
    os.environ["PYTHONUTF8"] = "1"  # of the children
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def warn(text: str) -> None:
    """A message for a person: one line on standard error."""
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - this is its purpose


def error(text: str) -> None:
    """One line on standard error that says what went wrong and what to do."""
    warn(f"error: {text}")


def writable(text: str, stream: TextIO) -> str:
    """``text`` as ``stream`` writes it, with escapes for what its encoding does not have."""
    return text if text.isascii() else text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)


def _text(number: int, original: TextIO | None, on_error: Callable[[OSError], None]) -> TextIO:
    """A stream like ``original``, which is None when there was none at the start."""
    raw = _Output(number, on_error)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=original.encoding if original is not None else "utf-8",
        errors="backslashreplace",
        newline="\n",
        line_buffering=number == _STDERR or raw.isatty(),
    )


class _Output(io.FileIO):
    """A descriptor to write to. After an error what follows goes to /dev/null, the rest of a buffer included, which
    Python writes when it exits."""

    def __init__(self, number: int, on_error: Callable[[OSError], None]) -> None:
        super().__init__(number, "w", closefd=False)
        self._on_error = on_error

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:  # somebody made it non-blocking, and it is full
                select.select([], [self], [])
        except OSError as problem:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            self._on_error(problem)
            return len(memoryview(data).cast("B"))
        return count


def _refuse(problem: OSError) -> None:
    if isinstance(problem, BrokenPipeError):
        raise problem
    raise DiskError(f"cannot write to standard output: {problem.strerror}") from problem


def _give_up(_problem: OSError) -> None:
    """Messages that nobody can read are no reason to stop."""
