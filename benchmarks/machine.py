"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True):
    """``kind`` of processor."""

    cores: int
    kind: str
    python: str


def this_machine() -> Machine:
    return Machine(os.cpu_count() or 1, platform.machine(), platform.python_version())


def file_system(path: Path) -> str:
    """The type of the one ``path`` is on: that of the longest mount point above it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(mount), kind) for _, mount, kind, *_ in mounts if path.is_relative_to(mount)]
    return max(above)[1] if above else "unknown"
