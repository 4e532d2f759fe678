"""The memory limit of a child process: a part of all memory, so that no child takes the machine down with it.

It is the kernel's limit for a process's data (``ulimit -d``), at which allocations fail. A child that strangers can
reach ends by itself a little below it, and says why (`transport.unread_limit`).
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from protocol.limits import GIB

MEMORY_PART = 5 / 8
MEMORY_BYTES_MIN = 1 * GIB
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def limit_memory() -> None:
    """Limit the memory of this process, unless it has a lower limit already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = max(MEMORY_BYTES_MIN, int(MEMORY_PART * memory_bytes()))
    lower = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *lower]), hard))


def memory_bytes() -> int:
    """The memory that this process can use: that of the machine, or the lowest limit of the control groups it is in."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_group_limits()])


def _group_limits() -> list[int]:
    """Those of its own control group (version 2) and the ones around it: Slurm limits the job, not the task."""
    try:
        own = Path(_OWN_CGROUP.read_text().rpartition("::")[2].strip().lstrip("/"))
    except OSError:
        return []
    limits: list[int] = []
    for group in (own, *own.parents):
        try:
            limit = (_CGROUPS / group / "memory.max").read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            limits.append(int(limit))
    return limits
