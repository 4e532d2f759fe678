"""`transport.runtime_dir`."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from protocol.errors import ConfigError
from transport.runtime_dir import (
    find_runtime_dir,
    ipc_endpoint,
    make_runtime_dir,
    point_to_runtime_dir,
    remove_runtime_dir,
    runtime_dir,
)


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runtime directories are made in these tests."""
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    return directory


def test_the_name_follows_from_the_data_directory_whatever_its_path(tmp_path: Path, base: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "link").symlink_to("one")
    one = runtime_dir(tmp_path / "one")
    assert one.parent == base
    assert one == runtime_dir(tmp_path / "link")
    assert one != runtime_dir(tmp_path / "two")
    assert not one.exists()
    (tmp_path / "one").rename(tmp_path / "moved")
    assert one == runtime_dir(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        runtime_dir(tmp_path / "one")


def test_what_has_no_data_directory_has_a_name(base: Path) -> None:
    assert make_runtime_dir("tracker-1").parent == base
    assert runtime_dir("tracker-1") != runtime_dir("tracker-2")
    remove_runtime_dir("tracker-1")
    assert not runtime_dir("tracker-1").exists()


def test_a_copied_data_directory_is_not_taken_for_its_original(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    point_to_runtime_dir(original, make_runtime_dir(original))
    shutil.copytree(original, copy, symlinks=True)
    assert find_runtime_dir(original) == runtime_dir(original)
    assert find_runtime_dir(copy) == runtime_dir(copy) != runtime_dir(original)


@pytest.mark.parametrize("value", ["", "relative", "/no/such/directory"])
def test_without_a_usable_one_it_is_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert runtime_dir(tmp_path).parent == Path(tempfile.gettempdir())


def test_made_private_and_taken_over(tmp_path: Path) -> None:
    path = make_runtime_dir(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (path / "left.sock").touch()
    path.chmod(0o755)
    assert make_runtime_dir(tmp_path) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_removed_with_its_sockets(tmp_path: Path) -> None:
    path = make_runtime_dir(tmp_path)
    (path / "a.sock").touch()
    remove_runtime_dir(tmp_path)
    assert not path.exists()
    remove_runtime_dir(tmp_path)


def test_found_from_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_runtime_dir(tmp_path)
    assert find_runtime_dir(tmp_path) == path
    point_to_runtime_dir(tmp_path, path)
    point_to_runtime_dir(tmp_path, path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert runtime_dir(tmp_path) != path
    assert find_runtime_dir(tmp_path) == path


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    path = runtime_dir(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="not this user's directory"):
        make_runtime_dir(tmp_path)
    with pytest.raises(ConfigError):
        remove_runtime_dir(tmp_path)
    assert (target / "precious").exists()
    path.unlink()
    path.touch()
    with pytest.raises(ConfigError):
        make_runtime_dir(tmp_path)


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    runtime_dir(tmp_path).mkdir()  # made by the real user
    with pytest.raises(ConfigError, match="not this user's directory"):
        make_runtime_dir(tmp_path)


def test_one_that_cannot_be_made(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = base / "gone"
    gone.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(gone))
    monkeypatch.setattr(os, "access", lambda *_: True)
    gone.rmdir()
    with pytest.raises(ConfigError, match="cannot be created"):
        make_runtime_dir(tmp_path)


def test_a_socket_path_has_107_bytes() -> None:
    directory = Path("/" + "d" * 100)
    assert ipc_endpoint(directory, "x" * 5) == f"ipc://{directory}/xxxxx"
    with pytest.raises(ConfigError, match="107 bytes"):
        ipc_endpoint(directory, "x" * 6)
    with pytest.raises(ConfigError, match="107 bytes"):
        ipc_endpoint(directory, "ééee")


def test_a_peer_is_found_without_a_directory_for_sockets_of_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, other = tmp_path / "served", tmp_path / "other"
    for data_dir in (served, other):
        data_dir.mkdir()
    point_to_runtime_dir(served, make_runtime_dir(served))
    expected = runtime_dir(served)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    assert find_runtime_dir(served) == expected
    with pytest.raises(ConfigError, match="XDG_RUNTIME_DIR is not set"):
        find_runtime_dir(other)
    with pytest.raises(ConfigError, match="set XDG_RUNTIME_DIR to a directory that this user can write"):
        make_runtime_dir(other)
