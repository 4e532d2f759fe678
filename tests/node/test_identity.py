"""`node.identity`."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from node.identity import IDENTITY_NAME, DataDirLock, RunningMark, await_last_run, load_identity
from protocol.errors import DiskError, UsageError


def test_an_identity_is_minted_once_and_kept_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    identity = load_identity(data_dir)
    assert load_identity(data_dir) == identity
    assert load_identity(tmp_path / "other") != identity
    assert stat.S_IMODE((data_dir / IDENTITY_NAME).stat().st_mode) == 0o600


def test_a_damaged_identity_is_not_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_NAME).write_text('{"peer": 5}')
    with pytest.raises(DiskError, match="delete it"):
        load_identity(tmp_path)


def test_one_peer_a_data_directory(tmp_path: Path) -> None:
    with DataDirLock(tmp_path), pytest.raises(UsageError) as caught:
        DataDirLock(tmp_path)
    assert f"in use by the peer with pid {os.getpid()}" in str(caught.value)
    assert "--data-dir" in str(caught.value)
    DataDirLock(tmp_path).release()


def test_a_peer_waits_for_the_processes_of_a_killed_one(tmp_path: Path) -> None:
    await_last_run(tmp_path, 0.0)
    marks = [RunningMark(tmp_path), RunningMark(tmp_path)]
    with pytest.raises(UsageError, match="still run"):
        await_last_run(tmp_path, 0.0)

    def end() -> None:
        for mark in marks:
            mark.release()

    timer = threading.Timer(0.05, end)
    timer.start()
    await_last_run(tmp_path, 10.0)
    timer.join()
