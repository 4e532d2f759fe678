"""`node.identity` and `node.agent.endpoints`."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from node import identity
from node.agent.endpoints import advertised, host_of, with_host
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


def test_a_peer_waits_for_the_processes_of_a_killed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(identity, "TELL_SECONDS", 0.0)
    await_last_run(tmp_path, told.append, 0.0)
    marks = [RunningMark(tmp_path), RunningMark(tmp_path)]
    with pytest.raises(UsageError, match="still run"):
        await_last_run(tmp_path, told.append, 0.0)

    def end() -> None:
        for mark in marks:
            mark.release()

    timer = threading.Timer(0.05, end)
    timer.start()
    assert told == []
    await_last_run(tmp_path, told.append, 10.0)
    assert told == [f"waiting for the processes of the last peer on {tmp_path} to end, up to 10 s"]
    timer.join()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://*:5", "tcp://tracker:5"),
        ("tcp://10.0.0.1:5", "tcp://10.0.0.1:5"),
        ("tcp://[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_a_star_is_the_host_that_was_dialled(endpoint: str, expected: str) -> None:
    assert with_host(endpoint, host_of("tcp://tracker:5550")) == expected


def test_a_bracketed_host_keeps_its_brackets() -> None:
    assert with_host("tcp://*:6", host_of("tcp://[::1]:5")) == "tcp://[::1]:6"


@pytest.mark.parametrize(
    ("advertise", "expected"),
    [
        ("", "tcp://*:7"),
        ("tcp://h:0", "tcp://h:7"),
        ("tcp://h:*", "tcp://h:7"),
        ("tcp://h:9", "tcp://h:9"),
        ("tcp://*:0", "tcp://*:7"),
    ],
)
def test_what_is_advertised(advertise: str, expected: str) -> None:
    assert advertised(advertise, 7) == expected
