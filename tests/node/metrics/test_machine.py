"""What the kernel knows of processes and file systems, asked of the real one."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from node.metrics.machine import file_systems, processes

NOBODY = 2**22 + 1
"""Above the highest process id that Linux gives."""


def test_figures_of_this_process() -> None:
    (found,) = processes({"test": os.getpid(), "gone": NOBODY}).items()
    role, figures = found
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert role == "test"
    assert figures.cpu_seconds == pytest.approx(used.ru_utime + used.ru_stime, abs=0.5)
    assert 1_000_000 < figures.resident_bytes <= used.ru_maxrss * 1024
    assert time.time() - 86_400 < figures.started <= time.time() + 1


def test_free_space_where_something_is_to_be(tmp_path: Path) -> None:
    found = file_systems({"data": [str(tmp_path / "not" / "yet")]})
    expected = os.statvfs(tmp_path)
    assert found["data"].size == expected.f_blocks * expected.f_frsize
    assert 0 < found["data"].free <= found["data"].size


def test_of_several_directories_the_one_with_least_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Figures:
        f_frsize, f_blocks = 10, 100

        def __init__(self, free: int) -> None:
            self.f_bavail = free

    free = {"/full": 1, "/roomy": 50}

    def statvfs(path: Path) -> Figures:
        if str(path) == "/broken":
            raise PermissionError
        return Figures(free[str(path)])

    monkeypatch.setattr(os, "statvfs", statvfs)
    found = file_systems({"follow": ["/roomy", "/full"], "data": ["/roomy"], "rollouts": ["/broken"]})
    assert {what: one.free for what, one in found.items()} == {"follow": 10, "data": 500}
