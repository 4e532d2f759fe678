"""`service.memory`: the control group that a process is in, and those around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.limits import MIB
from service import memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the control group ``job/task``."""
    own = tmp_path / "cgroup"
    own.write_text("0::/job/task\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUP", own)
    task = tmp_path / "job" / "task"
    task.mkdir(parents=True)
    return task


def test_the_lowest_limit_of_the_groups_around_a_process_holds(groups: Path) -> None:
    (groups / "memory.max").write_text("max\n")
    (groups.parent / "memory.max").write_text(f"{3 * MIB}\n")
    assert memory.memory_bytes() == 3 * MIB
    (groups / "memory.max").write_text(f"{2 * MIB}\n")
    assert memory.memory_bytes() == 2 * MIB


def test_without_a_limit_it_is_that_of_the_machine(groups: Path) -> None:
    assert memory.memory_bytes() > 64 * MIB
    (groups / "memory.max").write_text("max\n")
    assert memory.memory_bytes() > 64 * MIB
    groups.parent.parent.joinpath("cgroup").unlink()
    assert memory.memory_bytes() > 64 * MIB
