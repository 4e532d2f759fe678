"""CPU time and memory of all processes of a cluster, by role, sampled through psutil.

A process that ended or was restarted meanwhile counts with what it had used when it was last seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import psutil

from cluster.processes import SUPERVISOR, children_of, role_of
from cluster.report import Usage

LOOK_SECONDS = 1.0
"""How often restarted processes are looked for."""


class Meter:
    """Measures the programs whose pids ``supervisors`` returns, and their children, from `start` to `finish`. One that
    has a role itself is counted under that.

    Nothing runs by itself: its owner calls `sample` a few times a second. psutil has no peak memory of another process
    on Linux, so memory is the largest of the samples; allocators keep what they have, so little is missed.
    """

    def __init__(self, supervisors: Callable[[], Sequence[int]]) -> None:
        self._supervisors = supervisors
        self._watched: dict[psutil.Process, _Watched] = {}
        self._looked_at = 0.0
        self._processors = Processors()

    def start(self, now: float) -> None:
        """Measure from here on; ``now`` in monotonic seconds."""
        self._watched.clear()
        self._processors = Processors()
        self._look(now, fresh=False)

    def sample(self, now: float) -> None:
        if now - self._looked_at >= LOOK_SECONDS:
            self._look(now, fresh=True)
        for watched in self._watched.values():
            watched.sample()

    def finish(self, now: float) -> Usage:
        """Everything since `start`."""
        self._look(now, fresh=True)
        cpu: dict[str, float] = {}
        rss: dict[str, int] = {}
        for watched in self._watched.values():
            watched.sample()
            cpu[watched.role] = cpu.get(watched.role, 0.0) + watched.cpu - watched.cpu_before
            rss[watched.role] = max(rss.get(watched.role, 0), watched.rss)
        return Usage(cpu_s=cpu, max_rss=rss, busy=self._processors.busy())

    def _look(self, now: float, fresh: bool) -> None:
        """Find processes not watched yet. ``fresh``: they were started after `start`, so all they used counts."""
        self._looked_at = now
        pids = self._supervisors()
        for child in children_of(pids):
            if child not in self._watched and (role := role_of(child)):
                self._watched[child] = _Watched(child, role, fresh)
        known = {process.pid for process in self._watched}
        for pid in pids:
            if pid not in known:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(pid)
                    self._watched[process] = _Watched(process, role_of(process) or SUPERVISOR, fresh)


class Processors:
    """This machine's, from when it is made."""

    def __init__(self) -> None:
        self._before = _processor_times()

    def busy(self) -> float:
        """The part of the time until now for which they were, whatever with."""
        idle, total = (after - before for before, after in zip(self._before, _processor_times(), strict=True))
        return 1 - idle / total if total > 0 else 0.0


class _Watched:
    def __init__(self, process: psutil.Process, role: str, fresh: bool) -> None:
        self._process = process
        self.role = role
        self.cpu = 0.0
        self.rss = 0
        self.sample()
        self.cpu_before = 0.0 if fresh else self.cpu

    def sample(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            times = self._process.cpu_times()
            self.cpu = max(self.cpu, times.user + times.system)
            self.rss = max(self.rss, self._process.memory_info().rss)


def _processor_times() -> tuple[float, float]:
    """Of all processors since boot, in seconds: what they were idle for, and all of it."""
    times = psutil.cpu_times()._asdict()
    guests = times["guest"] + times["guest_nice"]  # which are in user and nice already
    return times["idle"] + times["iowait"], sum(times.values()) - guests
