"""`service.private_files`."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from protocol.errors import ConfigError
from service.private_files import check_private_directory, read_private, write_private, write_private_once


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path) == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_what_is_written_once_stays(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert write_private_once(path, b"first")
    assert not write_private_once(path, b"second")
    assert (read_private(path), stat.S_IMODE(path.stat().st_mode)) == (b"first", 0o600)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["secret"]


def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "directory", b"x")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (write_private, write_private_once):
        with pytest.raises(OSError, match="No space"):
            write(tmp_path / "secret", b"x")
    assert [one.name for one in tmp_path.iterdir()] == ["directory"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o644, 0o666, 0o601])
def test_one_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    write_private(path, b"x")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        read_private(path)


def test_so_is_a_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    check_private_directory(tmp_path)
    tmp_path.chmod(0o755)
    check_private_directory(tmp_path, 0o022)
    with pytest.raises(ConfigError, match="chmod 700"):
        check_private_directory(tmp_path)


def test_nobody_is_told_to_close_what_others_need(tmp_path: Path) -> None:
    shared, file = tmp_path / "tmp", tmp_path / "passwd"
    shared.mkdir()
    shared.chmod(0o1777)
    file.touch(0o644)
    for path, why in ((shared, "all users share"), (file, "not a directory")):
        with pytest.raises(ConfigError, match=why) as caught:
            check_private_directory(path)
        assert "chmod" not in str(caught.value)


def test_a_named_pipe_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(ConfigError, match="is not a file"):
        read_private(tmp_path / "key")
