"""`node.identity`."""

from __future__ import annotations

import json
import os
import pwd
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from node import identity
from node.identity import (
    IDENTITY_NAME,
    LOCK_NAME,
    DataDirLock,
    RunningMark,
    await_last_run,
    check_identity_private,
    is_free,
    load_identity,
    this_process,
)
from protocol.errors import ConfigError, DiskError, UsageError
from protocol.keys import peer_id_of
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir


def test_an_identity_is_minted_once_and_kept_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    identity = load_identity(data_dir)
    assert load_identity(data_dir) == identity
    assert load_identity(tmp_path / "other") != identity
    assert stat.S_IMODE((data_dir / IDENTITY_NAME).stat().st_mode) == 0o600


def test_the_id_is_the_digest_of_the_key(tmp_path: Path) -> None:
    mine = load_identity(tmp_path)
    assert mine.peer == peer_id_of(mine.keys.public)
    assert mine.keys.secret not in (mine.keys.public, mine.peer)


def test_an_identity_of_an_earlier_version_gets_a_key(tmp_path: Path) -> None:
    old = {"peer": "1f" * 16, "token": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFE="}
    (tmp_path / IDENTITY_NAME).write_text(json.dumps(old))
    mine = load_identity(tmp_path)
    assert mine.peer == peer_id_of(mine.keys.public) != old["peer"]
    assert load_identity(tmp_path) == mine
    check_identity_private(tmp_path)


def test_an_identity_that_others_may_read_or_replace_is_not_private(tmp_path: Path) -> None:
    load_identity(tmp_path)
    tmp_path.chmod(0o755)
    check_identity_private(tmp_path)
    tmp_path.chmod(0o775)
    with pytest.raises(ConfigError, match="chmod 700"):
        check_identity_private(tmp_path)
    tmp_path.chmod(0o700)
    (tmp_path / IDENTITY_NAME).chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        check_identity_private(tmp_path)


def test_each_tracker_is_told_another_token_and_always_the_same(tmp_path: Path) -> None:
    mine = load_identity(tmp_path)
    tokens = [mine.token_for(tracker) for tracker in ("tcp://10.0.0.1:5550", "tcp://10.0.0.2:5550")]
    assert len({mine.token, *tokens}) == 3
    assert load_identity(tmp_path).token_for("tcp://10.0.0.1:5550") == tokens[0]


def test_a_data_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    DataDirLock(tmp_path / "new" / "data").release()
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir(mode=0o750)
    DataDirLock(tmp_path / "shared").release()
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o750


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


def holder_elsewhere(data_dir: Path, **changes: str) -> DataDirLock:
    """A lock on ``data_dir`` whose holder says that it is somewhere else."""
    lock = DataDirLock(data_dir)
    (data_dir / LOCK_NAME).write_bytes(msgspec.json.encode(msgspec.structs.replace(this_process(), **changes)))
    return lock


@pytest.mark.parametrize("closed", [False, True], ids=["to be looked at", "closed"])
def test_another_user_s_directory_is_called_that(closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DataDirLock(tmp_path).release()
    owner = pwd.getpwuid(os.geteuid()).pw_name
    stat_ = Path.stat

    def stat_of(path: Path, **kwargs: bool) -> os.stat_result:
        if closed and path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return stat_(path, **kwargs)

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(Path, "stat", stat_of)
    with pytest.raises(UsageError, match=rf"belongs to user {owner}, .* use it as that user \(sudo -u {owner}\), or"):
        is_free(tmp_path)
    assert closed or is_free(tmp_path / "none")


def test_looking_whether_a_directory_is_free_makes_and_changes_nothing(tmp_path: Path) -> None:
    assert is_free(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with DataDirLock(tmp_path):
        held = (tmp_path / LOCK_NAME).read_bytes()
        assert not is_free(tmp_path)
        assert (tmp_path / LOCK_NAME).read_bytes() == held
    assert is_free(tmp_path)
    assert (tmp_path / LOCK_NAME).read_bytes() == b""


@pytest.mark.parametrize("where", [{"boot": "other"}, {"pids": "pid:[1]"}])
def test_a_peer_of_another_machine_is_named_by_its_host(tmp_path: Path, where: dict[str, str]) -> None:
    with holder_elsewhere(tmp_path, host="lab9", **where):
        for use in (DataDirLock, is_free):
            with pytest.raises(UsageError, match=rf"a peer on host lab9 \(pid {os.getpid()} there\)"):
                use(tmp_path)


def test_a_peer_whose_sockets_are_not_here_is_not_waited_for(tmp_path: Path) -> None:
    with holder_elsewhere(tmp_path, mounts="mnt:[1]"):
        with pytest.raises(UsageError, match="sees other file systems"):
            is_free(tmp_path)
        make_runtime_dir(tmp_path)
        assert not is_free(tmp_path)
        remove_runtime_dir(tmp_path)


def test_a_directory_another_host_did_not_leave_in_order_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = msgspec.json.encode(msgspec.structs.replace(this_process(), host="lab9"))
    (tmp_path / LOCK_NAME).write_bytes(left)
    DataDirLock(tmp_path).release()
    assert "last used on host lab9" in caplog.text
    caplog.clear()
    DataDirLock(tmp_path).release()
    assert caplog.text == ""


@pytest.mark.parametrize("left", [b"", b"1234", b"{}", b"\xff\0"])
def test_what_the_lock_file_says_may_be_anything(tmp_path: Path, left: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(left)
    with DataDirLock(tmp_path):
        (tmp_path / LOCK_NAME).write_bytes(left)
        assert not is_free(tmp_path)
        with pytest.raises(UsageError, match="in use by another peer"):
            DataDirLock(tmp_path)


def test_a_peer_waits_for_the_processes_of_a_killed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(identity, "TELL_SECONDS", 0.0)
    await_last_run(tmp_path, told.append, 0.0)
    marks = [RunningMark(tmp_path), RunningMark(tmp_path)]
    with pytest.raises(UsageError, match="still run"):
        await_last_run(tmp_path, told.append, 0.0)
    told.clear()

    def end() -> None:
        for mark in marks:
            mark.release()

    timer = threading.Timer(0.05, end)
    timer.start()
    await_last_run(tmp_path, told.append, 10.0)
    assert told == [f"waiting for the processes of the last peer on {tmp_path} to end, up to 10 s"]
    timer.join()
