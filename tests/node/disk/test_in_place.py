"""Mending in place: only wrong pieces change, nobody else's writes are touched, modes and times stay."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.disk.errors import ContentChangedError
from node.disk.hashing import hash_path, rot_between
from node.disk.in_place import InPlace
from node.disk.mend_notes import MendNote
from node.disk.piece_work import check_pieces, whole_digest
from node.disk.stamps import is_unwritten, take_stamps
from protocol.bitfield import Bitfield
from protocol.errors import DiskError
from protocol.manifest import Manifest

PIECE = 64 * 1024


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d").mkdir(parents=True)
    (root / "a").write_bytes(os.urandom(PIECE // 2))
    (root / "d/b").write_bytes(os.urandom(3 * PIECE))
    (root / "d/c").write_bytes(b"")
    return root


def content_of(root: Path, manifest: Manifest) -> bytes:
    assert manifest.files is not None
    return b"".join((root / file.path).read_bytes() for file in manifest.files)


def flip(path: Path, at: int) -> None:
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_wrong_pieces_are_written_over_and_all_else_stays(tree: Path) -> None:
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right = content_of(tree, manifest)
    (tree / "d/b").chmod(0o640)
    flip(tree / "a", 5)
    flip(tree / "d/b", 2 * PIECE)
    assert rot_between(manifest, hash_path(tree)) == "2 pieces of 4, the first piece 0 in a or d/b"
    before = (tree / "d/b").stat()
    content = InPlace(manifest, tree, stamps)
    good = check_pieces(content, manifest, range(manifest.piece_count))
    assert good == [1, 3]
    for piece in (0, 2):
        content.write(piece, right[piece * PIECE :][: manifest.piece_size(piece)])
    assert content.sync() == [0, 2]
    assert whole_digest(content, manifest)
    assert content.publish() == str(tree)
    after = (tree / "d/b").stat()
    assert (after.st_mtime_ns, after.st_ino, after.st_mode) == (before.st_mtime_ns, before.st_ino, before.st_mode)
    assert hash_path(tree) == manifest
    assert is_unwritten(stamps, take_stamps(tree, manifest))


def test_what_somebody_writes_to_is_left_as_it_is(tree: Path) -> None:
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right = content_of(tree, manifest)
    content = InPlace(manifest, tree, stamps)
    with (tree / "d/b").open("r+b") as file:
        file.write(b"their work")
    with pytest.raises(ContentChangedError, match="left as it is"):
        content.write(1, right[PIECE : 2 * PIECE])
    assert (tree / "d/b").read_bytes().startswith(b"their work")
    with pytest.raises(ContentChangedError):
        content.publish()
    content.close()
    with pytest.raises(ContentChangedError):
        InPlace(manifest, tree, stamps)


def test_a_file_that_takes_the_place_of_another_during_a_mend_ends_it(tree: Path) -> None:
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right = content_of(tree, manifest)
    content = InPlace(manifest, tree, stamps)
    content.write(1, right[PIECE : 2 * PIECE])
    (tree / "new").write_bytes(b"their work")
    (tree / "new").replace(tree / "d/b")
    with pytest.raises(ContentChangedError, match="left as it is"):
        content.write(1, right[PIECE : 2 * PIECE])
    assert (tree / "d/b").read_bytes() == b"their work"
    content.close()


def test_a_file_that_took_the_place_of_another_is_not_mended(tree: Path) -> None:
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    found = (tree / "a").stat()
    (tree / "new").write_bytes(bytes(found.st_size))
    os.utime(tree / "new", ns=(found.st_atime_ns, found.st_mtime_ns))
    (tree / "new").replace(tree / "a")
    with pytest.raises(ContentChangedError):
        InPlace(manifest, tree, stamps)


@pytest.mark.parametrize("somebody", ["", "writes", "writes over what was rotten", "replaces"])
def test_after_a_kill_within_a_write_times_are_put_back_unless_somebody_has_written_too(
    tree: Path, somebody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What outlives the process is what is on disk: the bytes, the times, and the note."""
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right, path = content_of(tree, manifest), tree / "d/b"
    flip(path, 2 * PIECE)
    flip(path, PIECE)
    note = MendNote(tree.parent, manifest.digest)
    content, utime = InPlace(manifest, tree, stamps, note), os.utime
    good = Bitfield(manifest.piece_count)
    for piece in check_pieces(content, manifest, range(manifest.piece_count)):
        good.set(piece)
    note.draft(str(tree), good.to_bytes())

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "utime", killed)
    with pytest.raises(KeyboardInterrupt):
        content.write(2, right[2 * PIECE : 3 * PIECE])
    content.close()
    monkeypatch.setattr(os, "utime", utime)
    assert not is_unwritten(stamps, take_stamps(tree, manifest))
    with path.open("r+b") as file:
        file.seek(0 if somebody == "writes" else PIECE)
        file.write(b"their work" if somebody.startswith("writes") else b"")
    if somebody == "replaces":
        (tree / "new").write_bytes(path.read_bytes())
        (tree / "new").replace(path)
    found = hash_path(tree), take_stamps(tree, manifest)
    put_back = note.put_back(str(tree), manifest, found[0], stamps, found[1])
    assert put_back == (somebody in ("", "writes over what was rotten")), "nobody can tell in the second case"
    assert is_unwritten(stamps, take_stamps(tree, manifest)) == put_back


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_person_writes_while_a_mend_waits_for_its_sources_is_theirs(tree: Path, begun: bool) -> None:
    """Even if the process was killed while it waited, and they wrote over nothing but rotten pieces."""
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right, path = content_of(tree, manifest), tree / "d/b"
    flip(path, PIECE)
    flip(path, 2 * PIECE)
    note = MendNote(tree.parent, manifest.digest)
    content, good = InPlace(manifest, tree, stamps, note), Bitfield(manifest.piece_count)
    for piece in (0, 3):
        good.set(piece)
    note.draft(str(tree), good.to_bytes())
    note.hold()  # as a process left it that was killed at that time
    note.draft(str(tree), good.to_bytes())
    if begun:
        content.write(2, right[2 * PIECE : 3 * PIECE])
        content.sync()
    with path.open("r+b") as file:
        file.seek(PIECE)
        file.write(b"their work")
    written = take_stamps(tree, manifest)
    assert not note.put_back(str(tree), manifest, hash_path(tree), stamps, written)
    assert take_stamps(tree, manifest) == written
    content.close()
    assert not list((tree.parent / "mends").iterdir())


def refusing(code: int) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


def test_after_a_failed_write_it_is_still_known_that_nobody_else_wrote(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right = content_of(tree, manifest)
    content, pwrite = InPlace(manifest, tree, stamps), os.pwrite

    def write_half(fd: int, data: memoryview, offset: int) -> int:
        monkeypatch.setattr(os, "pwrite", refusing(errno.EIO))
        return pwrite(fd, data[: len(data) // 2], offset)

    monkeypatch.setattr(os, "pwrite", write_half)
    with pytest.raises(DiskError, match="cannot mend"):
        content.write(1, right[PIECE : 2 * PIECE])
    monkeypatch.setattr(os, "pwrite", pwrite)
    assert is_unwritten(stamps, take_stamps(tree, manifest))
    content.write(1, right[PIECE : 2 * PIECE])
    assert content.publish() == str(tree)


def test_after_a_failed_sync_nothing_counts_and_the_disk_is_read_again(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would report success the next time, and read back what the disk never got."""
    manifest, stamps = hash_path(tree), take_stamps(tree, hash_path(tree))
    right = content_of(tree, manifest)
    content, fsync, dropped = InPlace(manifest, tree, stamps), os.fsync, []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, *_: dropped.append(os.fspath(Path(f"/proc/self/fd/{fd}").readlink()))
    )
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    content.write(1, right[PIECE : 2 * PIECE])
    with pytest.raises(DiskError, match="write out"):
        content.sync()
    assert content.failed
    assert dropped == [str(tree / "d/b")]
    monkeypatch.setattr(os, "fsync", fsync)
    for refused in (content.sync, lambda: content.write(1, right[PIECE : 2 * PIECE]), content.publish):
        with pytest.raises(DiskError, match="taken up anew"):
            refused()
    content.close()


def test_giving_up_deletes_nothing(tree: Path) -> None:
    manifest = hash_path(tree)
    content = InPlace(manifest, tree, take_stamps(tree, manifest))
    content.discard()
    assert hash_path(tree) == manifest
