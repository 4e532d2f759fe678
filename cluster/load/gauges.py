"""How busy the core was, in a span of time, that each process runs its Python code on; and how much went over the
loopback interface.

A process of tracker or clients runs all its code in its main thread, so it is at its limit when that thread is always
busy, whatever the process uses in all (libzmq sends and receives in threads of its own).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

from cluster.load.report import Gauge, Reading
from cluster.processes import SUPERVISOR, children_of, role_of


class Gauges:
    """Watches ``pids`` and their children from when it is made."""

    def __init__(self, pids: Iterable[int], now: float) -> None:
        own = list(pids)
        processes = [psutil.Process(pid) for pid in own] + children_of(own)
        self._watched = [(process, role_of(process) or SUPERVISOR, _main_seconds(process)) for process in processes]
        self._loopback = _loopback_bytes()
        self._began_at = now

    def read(self, now: float) -> Reading:
        """Everything since it was made; a process that has ended meanwhile is left out."""
        seconds = max(now - self._began_at, 1e-6)
        roles: dict[str, Gauge] = {}
        for process, role, before in self._watched:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                busy = min(1.0, (_main_seconds(process) - before) / seconds)
                known = roles.get(role, Gauge(0, 0.0, 0))
                files = max(known.open_files, process.num_fds())
                roles[role] = Gauge(known.processes + 1, max(known.busy, busy), files)
        return Reading(roles, _loopback_bytes() - self._loopback)


def _main_seconds(process: psutil.Process) -> float:
    """CPU time of its main thread, in seconds."""
    own = (thread for thread in process.threads() if thread.id == process.pid)
    return float(sum(thread.user_time + thread.system_time for thread in own))


def _loopback_bytes() -> int:
    return int(psutil.net_io_counters(pernic=True)["lo"].bytes_sent)
