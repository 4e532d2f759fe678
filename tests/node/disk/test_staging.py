"""node.disk.staging: a kill at any step of a download loses neither the old content nor the new."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from node.disk import durable
from node.disk.existing import existing_matches
from node.disk.staging import Staging, staging_path
from node.disk.storage import Partial
from protocol.errors import DiskError
from tests.node.disk.made_content import Made, made_file, made_tree, names, open_fds, tree_expected, tree_on_disk


class Killed(BaseException):
    """Passes every handler, as nothing runs after a kill."""


class KillAt:
    """Ends the process, so to speak, just before or after the ``step``-th call that changes the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, after: bool) -> None:
        self.left = step
        self._after = after
        for name in ("mkdir", "rename", "link", "unlink", "rmdir", "fsync", "pwrite", "ftruncate", "write"):
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))
        monkeypatch.setattr(durable, "_renameat2", self._wrap(durable._renameat2))

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise Killed
            result = call(*args, **kwargs)
            if self.left == 0:
                raise Killed
            return result

        return wrapped


OLD_FILE, NEW_FILE = made_file(10, seed=5), made_file(1000)
OLD_TREE = made_tree({"x": 10, "sub/y": 5}, seed=5)
NEW_TREE = made_tree({"a/b": 100, "c": 5, "e/mpty": 0}, ["hollow"], ["c"])


def shown(dest: Path) -> dict[str, bytes | None] | bytes | None:
    """What a person sees at ``dest``."""
    if not dest.exists():
        return None
    return tree_on_disk(dest) if dest.is_dir() else dest.read_bytes()


def seen(made: Made) -> dict[str, bytes | None] | bytes:
    return made.data if made.files is None else tree_expected(made)


def download(made: Made, dest: Path, keep: int = 0) -> None:
    if existing_matches(dest, made.manifest):
        return
    partial = Partial.open(made.manifest, dest, force=True, keep=keep)
    made.write(partial)
    partial.publish()


def close_what_a_kill_would(before: set[int]) -> None:
    """The descriptors, and with them the locks, of the killed download."""
    for fd in open_fds() - before:
        os.close(fd)


@pytest.mark.parametrize("swap", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("old", [OLD_FILE, OLD_TREE, None], ids=["file", "tree", "nothing"])
def test_killed_at_every_step(old: Made | None, swap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of them, and no machine stops here
    new = NEW_FILE if old is OLD_FILE else NEW_TREE
    step = 0
    ended = False
    while not ended:
        step += 1
        for after in (False, True):
            place = tmp_path / f"{step}-{after}"
            place.mkdir()
            dest = place / "dest"
            if old is not None:
                old.put(dest)
            before = open_fds()
            with pytest.MonkeyPatch.context() as patches:
                if not swap:
                    patches.setattr(durable, "_renameat2", lambda *_: False)
                kill = KillAt(patches, step, after)
                with suppress(Killed):
                    download(new, dest)
                ended = kill.left > 0
            close_what_a_kill_would(before)
            at_once = [seen(new), seen(old) if old is not None else None]
            if swap or old is not OLD_TREE:
                assert shown(dest) in at_once
            else:  # between the two renames there is nothing for a moment
                assert shown(dest) in [*at_once, None]
                if staging_path(dest).exists():
                    Staging(dest).close()
                assert shown(dest) in at_once
            download(new, dest)
            assert shown(dest) == seen(new)
            assert names(place) == ["dest"]
    assert step > 12


@pytest.mark.parametrize("swap", [True, False], ids=["exchange", "without"])
@pytest.mark.parametrize("is_tree", [False, True], ids=["file", "tree"])
def test_killed_at_every_step_what_is_to_be_kept_is_there_whole(is_tree: bool, swap: bool, tmp_path: Path) -> None:
    old, new = (OLD_TREE, NEW_TREE) if is_tree else (OLD_FILE, NEW_FILE)
    step, ended = 0, True
    while ended:
        step += 1
        place = tmp_path / str(step)
        place.mkdir()
        dest = place / "dest"
        old.put(dest)
        os.utime(dest, (1_000, 1_000))
        before = open_fds()
        with pytest.MonkeyPatch.context() as patches:
            if not swap:
                patches.setattr(durable, "_renameat2", lambda *_: False)
            kill = KillAt(patches, step, after=False)
            with suppress(Killed):
                download(new, dest, keep=1)
            ended = kill.left <= 0
        close_what_a_kill_would(before)
        if swap or not is_tree:
            assert shown(dest) in [seen(new), seen(old)]
        download(new, dest, keep=1)
        assert shown(dest) == seen(new)
        assert names(place) == ["dest", "dest.19700101T001640Z"]
        assert shown(place / "dest.19700101T001640Z") == seen(old)
    assert step > 12


def test_the_newest_of_what_is_replaced_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    mine = ("dest.1", "dest.20261130T210405Z.bak", "other.20261130T210405Z", "dest.20200101T000000Z")
    for name in mine:
        (tmp_path / name).write_text("mine")
    thesis = tmp_path / "dest.20210101T000000Z" / "thesis"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    versions = [made_file(100, seed=number) for number in range(5)]
    for moment, version in zip((100, 200, 200, 200, 300), versions, strict=True):
        download(version, dest, keep=2)
        os.utime(dest, (moment, moment))
    kept = [name for name in names(tmp_path) if name.startswith("dest.1970")]
    assert kept == ["dest.19700101T000320Z.1", "dest.19700101T000320Z.2"]
    assert [(tmp_path / name).read_bytes() for name in kept] == [versions[2].data, versions[3].data]
    assert len(names(tmp_path)) == 8
    assert thesis.read_text() == "mine", "what is called like that and was not put aside is a person's"


def test_a_new_thing_at_the_place_of_what_was_being_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two renames, and then somebody makes something of that name: both are kept."""
    dest = tmp_path / "dest"
    OLD_TREE.put(dest)
    monkeypatch.setattr(durable, "_renameat2", lambda *_: False)
    partial = Partial.open(NEW_TREE.manifest, dest, force=True)
    NEW_TREE.write(partial)
    before = os.rename

    def rename(old: str, new: str, **kwargs: Any) -> None:
        if new == "dest":
            raise Killed
        before(old, new, **kwargs)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(Killed):
        partial.publish()
    monkeypatch.undo()
    partial.close()
    made_tree({"third": 3}).put(dest)
    with pytest.raises(DiskError, match=r"what a download was replacing .* is now .*replaced"):
        Partial.open(NEW_TREE.manifest, dest, force=True)
    assert shown(dest) == seen(made_tree({"third": 3}))
    assert shown(staging_path(dest) / "replaced") == seen(OLD_TREE)


def test_a_damaged_note_of_what_was_being_replaced_is_no_obstacle(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    OLD_TREE.put(dest)
    partial = Partial.open(NEW_TREE.manifest, dest, force=True)
    NEW_TREE.write(partial)
    partial.close()
    inode = (staging_path(dest) / "content").stat().st_ino
    (staging_path(dest) / "replacing").write_bytes(b"%d \xff\x00two" % inode)
    Partial.open(NEW_TREE.manifest, dest, force=True).close()
    assert not (staging_path(dest) / "replacing").exists()
    assert (staging_path(dest) / "content").stat().st_ino == inode


def test_a_rename_that_fails_gives_the_old_content_its_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    OLD_TREE.put(dest)
    monkeypatch.setattr(durable, "_renameat2", lambda *_: False)
    partial = Partial.open(NEW_TREE.manifest, dest, force=True)
    NEW_TREE.write(partial)
    before = os.rename

    def rename(old: str, new: str, **kwargs: Any) -> None:
        if (old, new) == ("content", "dest"):
            raise OSError(5, "Input/output error")
        before(old, new, **kwargs)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(DiskError, match="Input/output"):
        partial.publish()
    assert shown(dest) == seen(OLD_TREE)
    monkeypatch.undo()
    partial.publish()
    assert shown(dest) == seen(NEW_TREE)
    assert names(tmp_path) == ["dest"]


def refuse_to_delete_y(patches: pytest.MonkeyPatch, error: BaseException) -> None:
    """``sub/y`` of `OLD_TREE` stays, as when ``sub`` belongs to another user."""
    unlink = os.unlink

    def refuse(name: str, **kwargs: Any) -> None:
        if name == "y":
            raise error
        unlink(name, **kwargs)

    patches.setattr(os, "unlink", refuse)


@pytest.mark.parametrize("killed", [False, True])
def test_an_old_directory_that_cannot_be_deleted_is_said_and_in_nobody_s_way(
    killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "dest"
    OLD_TREE.put(dest)
    partial = Partial.open(NEW_TREE.manifest, dest, force=True)
    NEW_TREE.write(partial)
    before = open_fds() - {partial._staging.fd, partial._staging.parent_fd, partial._staging._lock_fd}
    if killed:
        with pytest.MonkeyPatch.context() as patches:
            refuse_to_delete_y(patches, Killed())
            with pytest.raises(Killed):
                partial.publish()
        close_what_a_kill_would(before)
        refuse_to_delete_y(monkeypatch, PermissionError(13, "Permission denied"))
    else:
        refuse_to_delete_y(monkeypatch, PermissionError(13, "Permission denied"))
        partial.publish()
        assert partial.left_behind == f"Permission denied: {staging_path(dest)}"
    assert shown(dest) == seen(NEW_TREE)
    third = made_tree({"third": 3})
    partial = Partial.open(third.manifest, dest, force=True)
    third.write(partial)
    partial.publish()
    assert shown(dest) == seen(third)
    assert names(staging_path(dest)) == ["left-1", "lock"]
    assert names(staging_path(dest) / "left-1" / "sub") == ["y"]
    monkeypatch.undo()
    download(OLD_TREE, dest)
    assert names(tmp_path) == ["dest"], "what can be deleted by now is deleted"


def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    download(NEW_FILE, tmp_path / "dest")
    assert shown(tmp_path / "dest") == NEW_FILE.data
    assert "has no locks" in caplog.text


def test_a_directory_deleted_while_it_is_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last download cleans up between our finding its directory and our lock."""
    dest = tmp_path / "dest"
    first = Staging(dest)
    opened = os.open
    entered: list[int] = []

    def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if path == "lock" and not entered:
            entered.append(1)
            first.remove()
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_)
    Partial.open(NEW_FILE.manifest, dest).discard()
    assert entered
    assert names(tmp_path) == []


def test_another_user_s_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / "dest"
    Staging(dest).close()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(DiskError, match="belongs to another user"):
        Staging(dest)
