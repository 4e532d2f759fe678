"""What the kernel knows of processes and file systems."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFigures(Struct, frozen=True):
    """CPU time in all threads, memory that is resident, and the start in seconds since 1970."""

    cpu_seconds: float
    resident_bytes: int
    started: float


class FileSystem(Struct, frozen=True):
    """``free`` bytes are for this user."""

    free: int
    size: int


def processes(pids: Mapping[str, int]) -> dict[str, ProcessFigures]:
    """Those of ``pids`` (by role) that are there."""
    booted = _booted()
    found = {}
    for role, pid in pids.items():
        try:
            # The name is in parentheses, and may have any characters; from the 3rd field on there are none.
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        user, system, start, pages = (int(fields[number - 3]) for number in (14, 15, 22, 24))
        found[role] = ProcessFigures((user + system) / _TICKS, pages * _PAGE_BYTES, booted + start / _TICKS)
    return found


@cache
def _booted() -> int:
    """When the machine was started, in seconds since 1970. Asked once: what the kernel says follows its wall clock, and
    a start that changes is a restart."""
    lines = (_PROC / "stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))


def file_systems(directories: Mapping[str, Sequence[str]]) -> dict[str, FileSystem]:
    """That of each entry's directories, of several the one with least space; of what does not exist yet, that of the
    directory above it. Those that cannot be asked are left out."""
    found: dict[str, FileSystem] = {}
    for label, paths in directories.items():
        there = [one for one in map(_file_system, paths) if one is not None]
        if there:
            found[label] = min(there, key=lambda one: one.free)
    return found


def _file_system(path: str) -> FileSystem | None:
    for directory in (Path(path), *Path(path).parents):
        try:
            figures = os.statvfs(directory)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return FileSystem(figures.f_bavail * figures.f_frsize, figures.f_blocks * figures.f_frsize)
    return None
