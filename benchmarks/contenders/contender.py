"""What every contender does: one file or directory from one machine to some others, again and again.

Its processes are started once and stay, so that a round measures moving bytes and not how a program starts (who has a
process for each transfer, as curl, pays for it, as its users do).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from protocol.errors import ZswarmError

ROUND_SECONDS = 120.0
"""A round that takes longer has failed."""
START_SECONDS = 30.0


class Task(NamedTuple):
    """``content``: the file or directory of ``size`` bytes that is there from the beginning. ``directory``: an empty
    one that the contender may use as it likes."""

    content: Path
    size: int
    receivers: int
    directory: Path


class Round(NamedTuple):
    """``seconds`` from the moment all receivers are told until the last one has all of it, verified if the contender
    verifies; ``cpu_s`` of all its processes in that time. ``copies`` are theirs."""

    seconds: float
    cpu_s: float
    copies: list[Path]


class Contender(Protocol):
    """Ready to run. Errors are `ContenderError`."""

    def run(self) -> Round:
        """All receivers get it."""

    def clear(self) -> None:
        """What the last round left is gone: the next may begin."""


class Kind(Protocol):
    """How a contender is called and started. The context ends and reaps its processes. ``verifies``: what it checks of
    what arrives."""

    name: str
    verifies: str

    def missing(self) -> str:
        """What has to be installed before it can run here, for a person; empty when nothing is."""

    def start(self, task: Task) -> AbstractContextManager[Contender]: ...


class ContenderError(ZswarmError):
    """A contender did not do what it should."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes, those that live, have used so far."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def children_cpu() -> float:
    """Of processes we started that ended and were reaped."""
    times = os.times()
    return times.children_user + times.children_system


def directories(task: Task) -> list[Path]:
    """One for each receiver."""
    made = [task.directory / f"receiver-{number}" for number in range(1, task.receivers + 1)]
    for path in made:
        path.mkdir()
    return made


def remove_copies(copies: Sequence[Path]) -> None:
    """Whoever asks again gets them anew. Trees are only moved aside, until the work directory is removed with all there
    is: ext4 without a journal does not reuse inodes for minutes, and looks at each of them whenever it needs one."""
    for path in copies:
        if path.is_dir():
            path.rename(path.with_name(f"{path.name}.removed-{sum(1 for _ in path.parent.iterdir())}"))
        else:
            path.unlink(missing_ok=True)
