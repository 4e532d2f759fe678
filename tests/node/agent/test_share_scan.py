"""`node.agent.share_scan` on real files and directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.agent.share_scan import list_shares, look
from node.disk.share_options import Skipped


def test_a_look_sees_entries_of_folders_and_files_and_items(tmp_path: Path) -> None:
    tree, single = tmp_path / "tree", tmp_path / "single"
    (tree / "sub").mkdir(parents=True)
    (tree / "b").write_bytes(b"")
    single.write_bytes(b"x")
    seen = look([tree, tmp_path / "missing"], [str(single), str(tmp_path / "away")], lambda: 5.0)
    assert sorted(seen.listing.entries) == [str(single), str(tree / "b"), str(tree / "sub")]
    assert seen.listing.missing == (str(tmp_path / "missing"),)
    assert seen.listing.folders == {str(tree): (tree.stat().st_dev, tree.stat().st_ino)}
    assert seen.listing.hollow == (str(tree / "sub"),)
    assert seen.began == 5.0


def test_a_share_the_system_will_not_look_at_is_unknown_and_the_others_are_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    endless, loop = tmp_path / ("a" * 300), tmp_path / "loop"
    loop.symlink_to(loop)
    listing = look([endless, loop, tmp_path / "file"], []).listing
    assert list(listing.entries) == [str(tmp_path / "file")]
    assert listing.unknown == {
        str(endless): f"cannot be read: {os.strerror(errno.ENAMETOOLONG)}",
        str(loop): f"cannot be read: {os.strerror(errno.ELOOP)}",
    }
    assert listing.missing == ()


def test_an_entry_that_cannot_be_looked_at_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bad", "good"):
        (tmp_path / name).write_bytes(b"x")
    lstat = Path.lstat

    def fail(path: Path) -> os.stat_result:
        if path.name == "bad":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", fail)
    listing = list_shares([tmp_path])
    assert list(listing.entries) == [str(tmp_path / "good")]
    assert listing.unknown == {str(tmp_path / "bad"): f"cannot be read: {os.strerror(errno.EIO)}"}


def test_a_share_that_is_no_file_or_directory_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert list_shares([tmp_path / "fifo"]).unknown == {str(tmp_path / "fifo"): "is neither a file nor a directory"}


def test_entries_of_real_folders(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    (one / "file").write_bytes(b"x")
    (one / "tree" / "deep").mkdir(parents=True)
    (one / ".file.part").write_bytes(b"x")
    (one / ".tree.part").mkdir()
    (one / "link").symlink_to(one / "file")
    os.mkfifo(one / "fifo")
    (other / "file").write_bytes(b"x")
    listing = list_shares([one, other, tmp_path / "absent", one / "file" / "below"])
    assert list(listing.entries) == [str(one / "file"), str(one / "tree"), str(other / "file")]
    assert listing.unknown == {}
    assert listing.missing == (str(tmp_path / "absent"), str(one / "file" / "below"))
    assert len(set(listing.entries.values())) == 3


def test_every_change_of_a_tree_shows(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    file = tree / "deep" / "file"
    file.write_bytes(b"12")
    seen = [list_shares([tmp_path]).entries[str(tree)]]
    changes: list[Callable[[], object]] = [
        lambda: file.write_bytes(b"1"),
        lambda: os.utime(file, ns=(0, 5)),
        lambda: file.chmod(0o755),
        lambda: file.rename(tree / "deep" / "renamed"),
        lambda: (tree / "new").write_bytes(b""),
        (tree / "hollow").mkdir,
        (tree / "hollow").rmdir,
        (tree / "new").unlink,
    ]
    for change in changes:
        change()
        seen.append(list_shares([tmp_path]).entries[str(tree)])
        assert seen[-1] != seen[-2]
        assert list_shares([tmp_path]).entries[str(tree)] == seen[-1]


def test_name_that_is_no_text_is_reported_and_left_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"latin\xe9")).write_bytes(b"x")
    listing = list_shares([tmp_path])
    assert listing.entries == {}
    ((path, reason),) = listing.unknown.items()
    assert path.isascii()
    assert "not valid UTF-8" in reason


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> list[str]:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("node.agent.share_scan.os.listdir", fail)
    assert list_shares([tmp_path]).unknown == {str(tmp_path): "cannot be read: Permission denied"}


def test_what_is_no_entry_of_a_folder_is_counted_unless_it_is_a_link_that_may_be_followed(tmp_path: Path) -> None:
    folder, store = tmp_path / "folder", tmp_path / "store"
    (store / "big").mkdir(parents=True)
    (store / "big/f").write_bytes(b"x")
    (store / "other").write_bytes(b"x")
    folder.mkdir()
    (folder / "file").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / "big").symlink_to("../store/big")
    (folder / "out").symlink_to("/etc")
    listing = list_shares([folder])
    assert list(listing.entries) == [str(folder / "file")]
    assert listing.skipped == {str(folder): Skipped(2, 1, ("big", "out", "pipe"))}
    listing = list_shares([folder], link_roots=lambda _: [str(store)])
    assert list(listing.entries) == [str(folder / "big"), str(folder / "file")]
    assert listing.skipped == {str(folder): Skipped(1, 1, ("out", "pipe"))}


@pytest.mark.parametrize(
    ("ignore", "found"),
    [
        ((".*", "*.tmp", "*.part"), ["a", "b.TMP"]),
        (("[ab]*",), [".hidden", "c.tmp", "d.part"]),
        ((), [".hidden", "a", "b.TMP", "c.tmp", "d.part"]),
    ],
)
def test_entries_that_are_to_be_ignored_are_none_unless_they_are_shared_by_name(
    tmp_path: Path, ignore: tuple[str, ...], found: list[str]
) -> None:
    for name in (".a.part", ".hidden", "a", "b.TMP", "c.tmp", "d.part"):
        (tmp_path / name).write_bytes(b"x")
    listing = list_shares([tmp_path], ignore=ignore)
    assert list(listing.entries) == [str(tmp_path / name) for name in found]
    named = str(tmp_path / "c.tmp")
    assert named in list_shares([tmp_path, Path(named)], ignore=ignore).entries
    assert named in list_shares([tmp_path], [named], ignore=ignore).entries
