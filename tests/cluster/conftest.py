"""What tests with real processes need: a temporary directory that tells whether anything was left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.namespaces import NAMESPACES
from cluster.shaped_network import owner_of


class Place:
    """A temporary directory of the processes under test: short, because socket paths are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def left_files(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())

    def left_processes(self) -> list[str]:
        """Processes, of whatever parent, that were started with this temporary directory."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("TMPDIR") == str(self.path):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def is_clean(self) -> bool:
        assert self.left_processes() == []
        assert self.left_files() == []
        assert psutil.Process().children() == []
        return True


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The temporary directory of this process and all it starts, but not of pytest."""
    tmp_path_factory.getbasetemp()
    path = Path(tempfile.mkdtemp(prefix="z-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield Place(path)
    shutil.rmtree(path)


def namespaces_of(pid: int) -> list[str]:
    """The network namespaces that the process ``pid`` made and that are there."""
    names = sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []
    return [name for name in names if (owner := owner_of(name)) is not None and owner.pid == pid]
