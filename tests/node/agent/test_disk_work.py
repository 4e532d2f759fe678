"""`node.agent.disk_work` on real files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import msgspec
import pytest

from node.agent.disk_work import Pace, hash_item, item_problem, keep_seed
from node.agent.effects import HashPath, StoreSeed
from node.agent.library import LibraryItem
from node.disk.hashing import hash_path
from node.disk.mend_notes import MendNote
from node.disk.seed_store import load_seed
from node.disk.share_options import ShareOptions
from protocol.errors import DiskError, NotFoundError, SeedError
from protocol.manifest import encode_manifest
from service.text import as_utf8


def hashed(path: Path, data_dir: Path, known: LibraryItem | None = None) -> tuple[LibraryItem, list[int]]:
    """The item, and the progress that was reported: none when nothing was read."""
    progress: list[int] = []
    request = HashPath(str(path), "blake3", "shared", known)
    item, _skipped, _ = hash_item(request, data_dir, lambda done, _total: progress.append(done), lambda: False)
    return item, progress


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    tree = tmp_path / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "sub" / "a").write_bytes(b"a" * 1_000)
    (tree / "b").write_bytes(b"")
    return tree


def test_an_item_is_hashed_once_and_then_recognised(tree: Path, tmp_path: Path) -> None:
    item, progress = hashed(tree, tmp_path / "data")
    assert (item.name, item.length, progress[-1]) == ("tree", 1_000, 1_000)
    assert load_seed(Path(item.seed_path)).digest == item.digest
    assert hashed(tree, tmp_path / "data", item) == (item, [])
    assert item_problem(item) == ""


def test_a_download_without_a_fingerprint_is_recognised_by_its_stamps(tree: Path, tmp_path: Path) -> None:
    item, _ = hashed(tree, tmp_path / "data")
    downloaded = msgspec.structs.replace(item, fingerprint=b"", origin="downloaded")
    again, progress = hashed(tree, tmp_path / "data", downloaded)
    assert (again, progress) == (msgspec.structs.replace(item, origin="downloaded"), [])
    (tree / "more").write_bytes(b"")
    assert hashed(tree, tmp_path / "data", downloaded)[1] != []


@pytest.mark.parametrize("fingerprint", [True, False])
def test_changes_and_deletions_are_seen(tree: Path, tmp_path: Path, fingerprint: bool) -> None:
    item, _ = hashed(tree, tmp_path / "data")
    if not fingerprint:
        item = msgspec.structs.replace(item, fingerprint=b"")
    os.utime(tree / "b", ns=(1, 1))
    assert item_problem(item)
    (tree / "b").unlink()
    assert item_problem(item)


@pytest.mark.parametrize("trouble", ["", "times cannot be changed", "a directory is gone too"])
def test_after_a_mend_that_was_killed_within_a_write_it_is_rot_if_its_times_can_be_put_back(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    item, _ = hashed(tree, tmp_path / "data")
    note = MendNote(tmp_path / "data", item.digest)
    note.draft(item.path, b"\0")
    note.hold()
    written = (tree / "sub/a").stat().st_mtime_ns
    (tree / "sub/a").write_bytes(b"x" * 1_000)
    os.utime(tree / "sub/a", ns=(written + 5, written + 5))
    if trouble == "a directory is gone too":
        (tree / "sub/empty").rmdir()
    elif trouble:
        monkeypatch.setattr(os, "utime", Mock(side_effect=PermissionError(errno.EPERM, os.strerror(errno.EPERM))))
    damaged = msgspec.structs.replace(item, state="damaged")
    request = HashPath(item.path, "blake3", "shared", None, before=damaged)
    found = hash_item(request, tmp_path / "data", lambda *_: None, lambda: False)
    assert found.rotted == ("" if trouble else "1 piece of 1, the first piece 0 in sub/a")
    assert (tree / "sub/a").stat().st_mtime_ns == written + (5 if trouble else 0)


def test_a_rate_is_kept_to_after_the_disk_has_stood_still_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("node.agent.disk_work.time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    pace = Pace(10.0, lambda: False)
    pace.keep(100)
    assert 9.0 < clock.now <= 10.1
    clock.now = 1_000.0
    pace.keep(200)
    assert 1_009.0 < clock.now <= 1_010.1


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        hashed(tmp_path / "nothing", tmp_path)


def test_a_seed_is_kept_and_gives_the_link(tree: Path, tmp_path: Path) -> None:
    manifest = hash_path(tree)
    stored = keep_seed(StoreSeed(3, encode_manifest(manifest), "a name"), tmp_path / "data")
    assert (stored.link.digest, stored.link.name) == (manifest.digest, "a name")
    assert load_seed(Path(stored.path)) == manifest
    with pytest.raises(SeedError):
        keep_seed(StoreSeed(3, b"garbage", "a name"), tmp_path / "data")


def test_what_is_wrong_can_be_said_in_a_message_whatever_names_are_in_it(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, _ = hashed(tree, tmp_path / "data")

    def fail(path: str) -> None:
        raise PermissionError(13, "Permission denied", f"{path}/latin\udce9")

    monkeypatch.setattr("node.disk.tree_scan.os.scandir", fail)
    with pytest.raises(DiskError) as caught:
        hashed(tree, tmp_path / "data")
    for text in (item_problem(item), as_utf8(str(caught.value))):
        assert text.encode().endswith(b"latin\\udce9: Permission denied")


def test_an_item_is_hashed_with_its_options(tree: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (tmp_path / "target").write_bytes(b"target")
    (tree / "link").symlink_to(tmp_path / "target")
    usual, _ = hashed(tree, data_dir)
    options = ShareOptions((str(tmp_path),))
    request = HashPath(str(tree), "blake3", "shared", usual, options)
    item, skipped, _ = hash_item(request, data_dir, lambda _done, _total: None, lambda: False)
    assert (item.options, item.digest != usual.digest, bool(skipped)) == (options, True, False)
    assert item_problem(item) == item_problem(usual) == ""
    (tmp_path / "target").write_bytes(b"other")
    assert item_problem(item) == "it changed"
    assert item_problem(usual) == ""


def test_names_that_came_with_a_download_stay_shared_when_it_is_hashed_again(tree: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (tree / "a:b").write_bytes(b"x")
    request = HashPath(str(tree), "blake3", "shared", None, ShareOptions(posix_names=True))
    item, *_ = hash_item(request, data_dir, lambda _done, _total: None, lambda: False)
    downloaded = msgspec.structs.replace(item, origin="downloaded", options=ShareOptions())
    os.utime(tree / "a:b")
    again, _ = hashed(tree, data_dir, downloaded)
    assert again.digest == item.digest
