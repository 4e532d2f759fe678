"""node.disk.storage: partial content hidden beside its destination, and one atomic step to the final name."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from node.disk.errors import NoSpaceError, NotThereError
from node.disk.staging import remove_at, staging_path
from node.disk.storage import Partial
from protocol.errors import DiskError, LocalError
from tests.node.disk.made_content import (
    PIECE,
    Made,
    made_file,
    made_sparse,
    made_tree,
    names,
    open_fds,
    tree_expected,
    tree_on_disk,
)

FILE = made_file()
TREE = made_tree()
EMPTY_FILE = made_file(0)
EMPTY_TREE = made_tree({})
BOTH = pytest.mark.parametrize("made", [FILE, TREE], ids=["file", "tree"])


def matches(dest: Path, made: Made) -> bool:
    if made.files is None:
        return dest.read_bytes() == made.data
    return tree_on_disk(dest) == tree_expected(made)


def read(partial: Partial, piece: int) -> bytes:
    return b"".join([bytes(chunk) for chunk in partial.chunks(partial.layout.spans(piece), bytearray(PIECE))])


# --- from nothing to the final name ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [FILE, TREE, EMPTY_FILE, EMPTY_TREE, made_tree({"a": 0}, ["b"])],
    ids=["file", "tree", "empty file", "empty tree", "tree of nothing"],
)
def test_a_whole_download(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    partial = Partial.open(made.manifest, dest)
    assert not partial.resumed
    pieces = list(range(made.manifest.piece_count))
    made.write(partial, reversed(pieces))
    assert not dest.exists()
    assert sorted(partial.sync()) == pieces
    assert partial.sync() == []
    for piece in pieces:
        assert read(partial, piece) == made.piece(piece)
    assert partial.publish() == partial.root == str(dest)
    assert matches(dest, made)
    assert names(tmp_path) == ["dest"]


def test_modes_are_those_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        dest = tmp_path / "tree"
        partial = Partial.open(TREE.manifest, dest)
        assert stat.S_IMODE(staging_path(dest).stat().st_mode) == 0o700
        TREE.write(partial)
        partial.publish()
        modes = {path: stat.S_IMODE((dest / path).stat().st_mode) for path in ("a", "a/tool", "a/empty", "big", "void")}
        assert modes == {"a": 0o750, "a/tool": 0o750, "a/empty": 0o640, "big": 0o640, "void": 0o750}
        assert stat.S_IMODE(dest.stat().st_mode) == 0o750
    finally:
        os.umask(old)


def test_unfinished_content_cannot_be_published(tmp_path: Path) -> None:
    partial = Partial.open(TREE.manifest, tmp_path / "tree")
    TREE.write(partial, [0])
    with pytest.raises(LocalError, match="never written"):
        partial.publish()
    TREE.write(partial)
    os.truncate(f"{partial.root}/big", 10)
    with pytest.raises(DiskError, match="big was cut short"):
        partial.publish()
    assert not (tmp_path / "tree").exists()
    partial.close()


def test_a_piece_has_its_size(tmp_path: Path) -> None:
    partial = Partial.open(FILE.manifest, tmp_path / "file")
    with pytest.raises(LocalError):
        partial.write(0, FILE.piece(0)[1:])
    partial.discard()


def test_pieces_that_are_not_there(tmp_path: Path) -> None:
    partial = Partial.open(TREE.manifest, tmp_path / "tree")
    with pytest.raises(NotThereError):
        list(partial.chunks(partial.layout.whole(), bytearray(1000)))
    partial.discard()
    assert names(tmp_path) == []


def test_threads_write_at_once(tmp_path: Path) -> None:
    """More files than may be open, pieces that share files, syncs in between."""
    made = made_tree({f"{index % 7}/{index:04}": 3_001 for index in range(700)})
    partial = Partial.open(made.manifest, tmp_path / "tree")
    synced: list[int] = []
    errors: list[BaseException] = []

    def work(pieces: list[int]) -> None:
        try:
            for piece in pieces:
                partial.write(piece, memoryview(made.piece(piece)))
                synced.extend(partial.sync())
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(list(range(start, made.manifest.piece_count, 3)),)) for start in (0, 1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(synced) == list(range(made.manifest.piece_count))
    partial.publish()
    assert matches(tmp_path / "tree", made)


# --- what is at the destination --------------------------------------------------------------------------


@BOTH
def test_what_exists_is_refused_and_left_alone(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    other = made_file(10, seed=5) if made is FILE else made_tree({"x": 10}, seed=5)
    other.put(dest)
    with pytest.raises(DiskError, match="--force"):
        Partial.open(made.manifest, dest)
    assert matches(dest, other)
    assert names(tmp_path) == ["dest"]


@BOTH
@pytest.mark.parametrize("swap", [True, False], ids=["exchange", "two renames"])
def test_force_replaces_only_at_the_end(
    made: Made, swap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swap:
        monkeypatch.setattr("node.disk.durable._renameat2", lambda *_: False)
    dest = tmp_path / "dest"
    other = made_file(10, seed=5) if made is FILE else made_tree({"x": 10, "sub/y": 5}, seed=5)
    other.put(dest)
    partial = Partial.open(made.manifest, dest, force=True)
    made.write(partial)
    assert matches(dest, other)
    partial.publish()
    assert matches(dest, made)
    assert names(tmp_path) == ["dest"]


@pytest.mark.parametrize("force", [False, True])
def test_one_kind_never_replaces_another(force: bool, tmp_path: Path) -> None:
    directory, file, link, pipe = (tmp_path / name for name in ("directory", "file", "link", "pipe"))
    directory.mkdir()
    file.write_text("mine")
    link.symlink_to(file)
    os.mkfifo(pipe)
    for made, dest, why in [
        (FILE, directory, "is a directory and the content is a file"),
        (TREE, file, "is a file and the content is a directory"),
        (FILE, link, "symbolic link"),
        (TREE, link, "symbolic link"),
        (FILE, pipe, "neither a file nor a directory"),
    ]:
        with pytest.raises(DiskError, match=why):
            Partial.open(made.manifest, dest, force)
    assert file.read_text() == "mine"
    assert names(tmp_path) == ["directory", "file", "link", "pipe"]


@BOTH
@pytest.mark.parametrize("swap", [True, False], ids=["renameat2", "checked rename"])
def test_what_somebody_made_meanwhile_stays(
    made: Made, swap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swap:
        monkeypatch.setattr("node.disk.durable._renameat2", lambda *_: False)
    dest = tmp_path / "dest"
    partial = Partial.open(made.manifest, dest)
    made.write(partial)
    other = made_file(10, seed=5) if made is FILE else made_tree({"x": 10}, seed=5)
    # It appears between the last look and the rename.
    monkeypatch.setattr("node.disk.storage.check_destination", lambda *_: other.put(dest))
    with pytest.raises(DiskError, match="made by somebody else"):
        partial.publish()
    assert matches(dest, other)
    monkeypatch.undo()
    with pytest.raises(DiskError, match="--force"):
        partial.publish()
    dest.rename(tmp_path / "elsewhere")
    partial.publish()
    assert matches(dest, made)


def test_parents_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="does not exist"):
        Partial.open(FILE.manifest, tmp_path / "no" / "dest")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="is not a directory"):
        Partial.open(FILE.manifest, tmp_path / "file" / "dest")
    with pytest.raises(DiskError, match="too long"):
        Partial.open(FILE.manifest, tmp_path / ("n" * 256))


def test_a_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:  # root, who may run this, is denied nothing
        raise PermissionError(13, "Permission denied")

    before = open_fds()
    monkeypatch.setattr(os, "mkdir", denied)
    with pytest.raises(DiskError, match=r"cannot write to .*: Permission denied"):
        Partial.open(FILE.manifest, tmp_path / "dest")
    assert open_fds() == before


def test_a_directory_that_moved_away(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    partial = Partial.open(FILE.manifest, tmp_path / "here" / "dest")
    FILE.write(partial)
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "here").mkdir()
    with pytest.raises(DiskError, match="moved or replaced"):
        partial.publish()
    partial.close()


def test_the_longest_name(tmp_path: Path) -> None:
    dest = tmp_path / ("ü" * 127)
    partial = Partial.open(FILE.manifest, dest)
    FILE.write(partial)
    partial.publish()
    assert names(tmp_path) == [dest.name]


def test_a_path_too_long_to_be_served(tmp_path: Path) -> None:
    made = made_tree({"/".join(["d" * 200] * 15 + ["x"]): 1})
    deep = tmp_path
    for _ in range(4):
        deep = deep / ("p" * 250)
        deep.mkdir()
    with pytest.raises(DiskError, match="too long"):
        Partial.open(made.manifest, deep / "dest")
    assert names(deep) == []


def test_two_downloads_to_one_place(tmp_path: Path) -> None:
    partial = Partial.open(FILE.manifest, tmp_path / "dest")
    for made in (FILE, TREE):
        with pytest.raises(DiskError, match="another download is writing to"):
            Partial.open(made.manifest, tmp_path / "dest", force=True)
    FILE.write(partial)
    partial.publish()
    assert matches(tmp_path / "dest", FILE)


# --- taking up --------------------------------------------------------------------------------------------


@BOTH
def test_partial_content_is_taken_up(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    partial = Partial.open(made.manifest, dest)
    made.write(partial, [1])
    partial.close()
    partial.close()
    assert partial.sync() == []
    with pytest.raises(LocalError, match="closed"):
        made.write(partial, [0])
    partial = Partial.open(made.manifest, dest)
    assert partial.resumed
    assert read(partial, 1) == made.piece(1)
    made.write(partial, [piece for piece in range(made.manifest.piece_count) if piece != 1])
    partial.publish()
    assert matches(dest, made)


def test_a_tree_that_was_taken_up_is_synced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The killed run may not have synced what this one finds good."""
    dest = tmp_path / "dest"
    partial = Partial.open(TREE.manifest, dest)
    TREE.write(partial)
    partial.close()
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
    partial = Partial.open(TREE.manifest, dest)
    root = Path(partial.root)
    assert partial.sync() == []
    assert TREE.files is not None
    assert set(synced) >= {root, *(root / path for path, data in TREE.files.items() if data)}
    partial.discard()


def test_only_what_the_seed_names_is_taken_up(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    partial = Partial.open(TREE.manifest, dest)
    TREE.write(partial, [1])
    root = Path(partial.root)
    partial.close()
    (root / "stranger").write_text("x")
    (root / "strangers" / "deep").mkdir(parents=True)
    (root / "a").rename(tmp_path / "a")
    (root / "a").symlink_to(outside)
    (root / "big").unlink()
    (root / "big").symlink_to(outside / "victim")
    (root / "void").write_text("a file where a directory belongs")
    partial = Partial.open(TREE.manifest, dest)
    assert partial.resumed
    TREE.write(partial)
    partial.publish()
    assert matches(dest, TREE)
    assert (outside / "victim").read_text() == "mine"


@BOTH
def test_partial_content_of_something_else_is_given_up(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    for other in (made_file(PIECE, seed=9), made_tree({"big": 5, "other": 5})):
        partial = Partial.open(other.manifest, dest)
        other.write(partial)
        partial.close()
        partial = Partial.open(made.manifest, dest)
        assert not partial.resumed
        partial.close()
    partial = Partial.open(made.manifest, dest)
    made.write(partial)
    partial.publish()
    assert matches(dest, made)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_in_the_way_and_not_ours_stays(kind: str, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    hidden = staging_path(dest)
    if kind == "file":
        hidden.write_text("mine")
    elif kind == "link":
        (tmp_path / "target").mkdir()
        hidden.symlink_to(tmp_path / "target")
    else:
        hidden.mkdir()
        (hidden / "content").write_text("mine")
    with pytest.raises(DiskError, match="in the way and not ours"):
        Partial.open(FILE.manifest, dest)
    assert names(tmp_path) == sorted({hidden.name, *(["target"] if kind == "link" else [])})
    if kind == "directory":
        assert names(hidden) == ["content"]


def test_killed_before_the_claim_was_written(tmp_path: Path) -> None:
    for left in ([], ["lock"], ["lock", "claim.new"]):
        hidden = staging_path(tmp_path / "dest")
        hidden.mkdir()
        for name in left:
            (hidden / name).write_text("")
        Partial.open(FILE.manifest, tmp_path / "dest").discard()
        assert names(tmp_path) == []


# --- space ------------------------------------------------------------------------------------------------


class Room:
    """Stands for statvfs: ``free`` bytes in blocks of 4 KiB, ``inodes`` free of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int = 1000, blocks: int = 1_000_000) -> None:
        real = os.fstatvfs

        def fstatvfs(fd: int) -> os.statvfs_result:
            found = list(real(fd))
            found[0:5] = [4096, 4096, blocks, self.free // 4096, self.free // 4096]
            found[5:8] = [2 * self.inodes, self.inodes, self.inodes]
            return os.statvfs_result(found)

        self.free = free
        self.inodes = inodes
        monkeypatch.setattr(os, "fstatvfs", fstatvfs)


@BOTH
def test_too_little_space_is_said_before_anything_is_written(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [entry.length for entry in made.manifest.files or ()] or [made.manifest.length]
    exactly = sum(-(-length // 4096) * 4096 for length in lengths)
    room = Room(monkeypatch, exactly - 4096)
    with pytest.raises(NoSpaceError, match=r"iB needed, .*iB more than is available"):
        Partial.open(made.manifest, tmp_path / "dest")
    assert names(tmp_path) == []
    room.free = exactly
    Partial.open(made.manifest, tmp_path / "dest").discard()


@BOTH
def test_a_file_system_that_has_no_size_is_not_full(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Room(monkeypatch, 0, inodes=0, blocks=0)
    Partial.open(made.manifest, tmp_path / "dest").discard()


def test_pieces_of_zeros_need_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_sparse([b"\0" * PIECE] * 7 + [b"x" * PIECE])
    room = Room(monkeypatch, PIECE - 4096)
    with pytest.raises(NoSpaceError, match=r"64.0 KiB needed"):
        Partial.open(made.manifest, tmp_path / "dest")
    room.free = PIECE
    Partial.open(made.manifest, tmp_path / "dest").discard()


def test_what_is_on_disk_needs_no_space_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_file(40 * PIECE)
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial, range(30))
    partial.sync()
    partial.close()
    room = Room(monkeypatch, 9 * PIECE)
    with pytest.raises(NoSpaceError):
        Partial.open(made.manifest, tmp_path / "dest")
    room.free = 10 * PIECE
    partial = Partial.open(made.manifest, tmp_path / "dest")
    assert partial.resumed
    partial.close()


# --- names -----------------------------------------------------------------------------------------------

POSIX_TREE = made_tree({"a:b": 10, "A": 5, "a": 7, "new\nline/q?": 3}, posix_names=True)


def test_names_that_only_posix_systems_can_store(tmp_path: Path) -> None:
    partial = Partial.open(POSIX_TREE.manifest, tmp_path / "dest")
    POSIX_TREE.write(partial)
    partial.publish()
    assert matches(tmp_path / "dest", POSIX_TREE)
    assert names(tmp_path) == ["dest"]


@pytest.mark.parametrize("how", ["refused", "not told apart"])
def test_a_file_system_that_cannot_store_them_is_told(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def open_(path: str | Path, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if ":" in str(path):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(path, flags, *more, dir_fd=dir_fd)

    if how == "refused":
        monkeypatch.setattr(os, "open", open_)
    else:
        monkeypatch.setattr("node.disk.durable.exists_at", lambda *_: True)
    with pytest.raises(DiskError, match="only POSIX systems can store"):
        Partial.open(POSIX_TREE.manifest, tmp_path / "dest")
    assert names(tmp_path) == []
    Partial.open(TREE.manifest, tmp_path / "dest").discard()


# --- depth -----------------------------------------------------------------------------------------------


def test_a_tree_of_1500_levels_is_written_replaced_and_deleted(tmp_path: Path) -> None:
    """Deeper than Python's recursion goes, and than there are descriptors."""
    made = made_tree({"d/" * 1_500 + "f": 10, "d/" * 700 + "e/f": 10})
    for _ in range(2):
        partial = Partial.open(made.manifest, tmp_path / "t", force=True)
        made.write(partial)
        partial.publish()
        assert names(tmp_path) == ["t"]
    again = Partial.open(made.manifest, tmp_path / "other")
    made.write(again)
    again.discard()
    assert names(tmp_path) == ["t"]
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_at("t", parent)  # pytest could not
    os.close(parent)


def test_too_few_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Room(monkeypatch, 1 << 40, inodes=3)
    with pytest.raises(DiskError, match="inodes"):
        Partial.open(TREE.manifest, tmp_path / "dest")
    assert names(tmp_path) == []
