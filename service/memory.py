"""How much memory a child may have: a part of what there is, so that no child takes the machine with it.

The limit is that of the kernel for a process's data (``ulimit -d``), at which allocations fail. A little below it a
child that strangers reach ends by itself and says why (`transport.unread_limit`).
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from protocol.limits import GIB

MEMORY_PART = 5 / 8
MEMORY_BYTES_MIN = 1 * GIB
_CGROUPS = Path("/sys/fs/cgroup")


def limit_memory() -> None:
    """Of this process, unless it has a lower limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = max(MEMORY_BYTES_MIN, int(MEMORY_PART * memory_bytes()))
    lower = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *lower]), hard))


def memory_bytes() -> int:
    """What there is for this process: of the machine, or of the control group it is in."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, _group_bytes() or machine)


def _group_bytes() -> int | None:
    try:
        own = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()
        limit = (_CGROUPS / own.lstrip("/") / "memory.max").read_text().strip()
    except OSError:
        return None
    return int(limit) if limit.isdigit() else None
