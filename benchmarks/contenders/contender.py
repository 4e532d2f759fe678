"""What every contender does: one file or directory from one machine to some others, again and again.

Its processes are started once and stay, so that a round measures moving bytes and not how a program starts (who has a
process for each transfer, as curl, pays for it, as its users do).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

from cluster.processes import HERE, Host
from cluster.report import peer_names
from protocol.errors import ZswarmError

ROUND_SECONDS = 120.0
"""A round that takes longer has failed, on this machine."""
START_SECONDS = 30.0
SETTLE_SECONDS, PAUSE_SECONDS = 15.0, 0.2
"""Counters follow within about a second: the last of the traffic is waited for so long at most, with a look now and
then."""


class Task(NamedTuple):
    """``content``: the file or directory of ``size`` bytes that is there from the beginning. ``directory``: an empty
    one that the contender may use as it likes. ``hosts``: where a tracker and the peers of `peer_names`, the seeder
    first, run; None: all right here. A round that takes longer than ``seconds`` has failed."""

    content: Path
    size: int
    receivers: int
    directory: Path
    hosts: Mapping[str, Host] | None = None
    seconds: float = ROUND_SECONDS

    def peer_hosts(self) -> list[Host]:
        """The seeder's, then each receiver's."""
        return [HERE if self.hosts is None else self.hosts[name] for name in peer_names(self.receivers + 1)]


class Round(NamedTuple):
    """``seconds`` from the moment all receivers are told until the last one has all of it, verified if the contender
    verifies; ``cpu_s`` of all its processes in that time. ``copies`` are theirs. ``each``: when each receiver had it,
    where that is known."""

    seconds: float
    cpu_s: float
    copies: list[Path]
    each: Sequence[float] = ()


class Counters(NamedTuple):
    """Bytes of content that one machine has sent and received so far."""

    sent: int
    received: int


class Traffic(NamedTuple):
    """Bytes of content over the wire: what the seeder sent, what all receivers got."""

    seeder_sent: int
    received: int


class Contender(Protocol):
    """Ready to run. Errors are `ContenderError`."""

    def run(self) -> Round:
        """All receivers get it."""

    def clear(self) -> None:
        """What the last round left is gone: the next may begin."""


class Counting(Contender, Protocol):
    """One that knows its traffic."""

    def traffic(self) -> Traffic:
        """All since it was started, once what was sent and what was received add up."""


class Kind(Protocol):
    """How a contender is called and started. The context ends and reaps its processes. ``verifies``: what it checks of
    what arrives."""

    name: str
    verifies: str

    def missing(self) -> str:
        """What has to be installed before it can run here, for a person; empty when nothing is."""

    def start(self, task: Task) -> AbstractContextManager[Contender]: ...


class CountingKind(Kind, Protocol):
    def start(self, task: Task) -> AbstractContextManager[Counting]: ...


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


def settled_traffic(look: Callable[[], Sequence[Counters]], size: int) -> Traffic:
    """Once what all machines, the seeder first, count makes sense: everybody received ``size`` bytes at least, and not
    more than was sent. `ContenderError` when it never does."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        machines = look()
        seeder, *receivers = machines
        received = sum(one.received for one in receivers)
        if min(one.received for one in receivers) >= size and received <= sum(one.sent for one in machines):
            return Traffic(seeder.sent, received)
        if time.monotonic() > deadline:
            raise ContenderError(f"what was sent and received does not add up: {machines}")
        time.sleep(PAUSE_SECONDS)


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
