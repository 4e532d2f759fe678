"""Disks that fill up, fail or lie: nothing wrong is ever published, nothing verified and synced is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from node.disk.errors import NoSpaceError
from node.disk.piece_work import check_pieces, verify_and_write, whole_digest
from node.disk.storage import Partial
from protocol.errors import DiskError
from tests.node.disk.made_content import PIECE, Made, made_file, made_tree

FILE = made_file(8 * PIECE + 10)
TREE = made_tree({f"d{index % 3}/{index:02}": PIECE // 7 for index in range(60)})
BOTH = pytest.mark.parametrize("made", [FILE, TREE], ids=["file", "tree"])


class Disk:
    """Wraps the calls that write. Faults by name:

    ``space_left`` bytes until writes give ``full_errno``, the last one written in part (torn); ``sync_errno``: syncs
    give this error; ``write_most``: bytes that one call writes at most.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.space_left = 1 << 60
        self.full_errno = errno.ENOSPC
        self.sync_errno = 0
        self.write_most = 1 << 30
        pwrite, fsync = os.pwrite, os.fsync

        def faulty_pwrite(fd: int, data: memoryview, offset: int) -> int:
            data = data[: min(self.space_left, self.write_most)]
            if not data:
                raise OSError(self.full_errno, os.strerror(self.full_errno))
            self.space_left -= len(data)
            return pwrite(fd, data, offset)

        def faulty_fsync(fd: int) -> None:
            if self.sync_errno:
                raise OSError(self.sync_errno, os.strerror(self.sync_errno))
            fsync(fd)

        def faulty_syncfs(fd: int) -> bool:
            faulty_fsync(fd)
            return True

        monkeypatch.setattr(os, "pwrite", faulty_pwrite)
        monkeypatch.setattr(os, "fsync", faulty_fsync)
        monkeypatch.setattr("node.disk.durable.sync_file_system", faulty_syncfs)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@BOTH
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_midway_and_then_room_again(made: Made, code: int, disk: Disk, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    partial = Partial.open(made.manifest, dest)
    disk.space_left = int(1.5 * PIECE)
    disk.full_errno = code
    assert verify_and_write(partial, made.manifest, 0, made.piece(0))
    with pytest.raises(NoSpaceError, match="quota" if code == errno.EDQUOT else "full"):
        verify_and_write(partial, made.manifest, 1, made.piece(1))
    assert partial.sync() == [0]
    assert not partial.failed
    disk.space_left = 1 << 60
    for piece in range(1, made.manifest.piece_count):
        assert verify_and_write(partial, made.manifest, piece, made.piece(piece))
    assert len(partial.sync()) == made.manifest.piece_count - 1
    assert whole_digest(partial, made.manifest)
    partial.publish()


@BOTH
def test_full_midway_and_a_restart(made: Made, disk: Disk, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    disk.space_left = int(2.5 * PIECE)
    made.write(partial, [2, 0])
    with pytest.raises(NoSpaceError):
        made.write(partial, [1])
    assert sorted(partial.sync()) == [0, 2]
    partial.close()
    disk.space_left = 1 << 60
    partial = Partial.open(made.manifest, tmp_path / "dest")
    assert check_pieces(partial, made.manifest, range(made.manifest.piece_count)) == [0, 2]
    made.write(partial)
    partial.publish()


@BOTH
def test_writes_that_come_in_parts(made: Made, disk: Disk, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    disk.write_most = 10_007
    made.write(partial)
    assert whole_digest(partial, made.manifest)
    partial.discard()


@BOTH
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_sync_nothing_of_it_counts(made: Made, code: int, disk: Disk, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    partial = Partial.open(made.manifest, dest)
    made.write(partial, [0])
    journaled = partial.sync()
    made.write(partial, [1])
    disk.sync_errno = code
    with pytest.raises(NoSpaceError if code == errno.ENOSPC else DiskError, match="write out"):
        partial.sync()
    # The kernel would report success the next time, without the data.
    disk.sync_errno = 0
    assert partial.failed
    for refused in (partial.sync, lambda: made.write(partial), partial.publish):
        with pytest.raises(DiskError, match="taken up anew"):
            refused()
    assert not dest.exists()
    partial.close()
    partial = Partial.open(made.manifest, dest)
    assert check_pieces(partial, made.manifest, journaled) == [0]
    made.write(partial, range(1, made.manifest.piece_count))
    partial.publish()
    assert dest.exists()


@BOTH
def test_a_sync_that_fails_at_the_end(made: Made, disk: Disk, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    disk.sync_errno = errno.EIO
    with pytest.raises(DiskError):
        partial.publish()
    assert not (tmp_path / "dest").exists()
    partial.close()


def test_a_close_that_loses_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems do when a quota is used up."""
    made = made_tree({f"{index:03}": 10 for index in range(200)})
    partial = Partial.open(made.manifest, tmp_path / "dest")
    close = os.close

    def lossy(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "close", lossy)
    with pytest.raises(NoSpaceError):  # a file that is written whole is closed at once
        made.write(partial)
    monkeypatch.undo()
    assert partial.sync() == []
    made.write(partial)
    monkeypatch.setattr(os, "close", lossy)
    made.write(partial)  # files that are there already stay open until there are too many
    monkeypatch.undo()
    with pytest.raises(NoSpaceError):
        partial.sync()
    assert partial.failed
    partial.close()


@BOTH
def test_flipped_and_torn_bytes_are_found(made: Made, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    assert whole_digest(partial, made.manifest)
    index, offset, _ = partial.layout.spans(1)[0]
    with Path(partial.layout.path_under(partial.root, index)).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))
    pieces = range(made.manifest.piece_count)
    assert check_pieces(partial, made.manifest, pieces) == [piece for piece in pieces if piece != 1]
    assert not whole_digest(partial, made.manifest)
    os.truncate(partial.layout.path_under(partial.root, index), 3)
    assert 1 not in check_pieces(partial, made.manifest, pieces)
    partial.close()


@BOTH
def test_a_disk_that_cannot_be_read(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)

    def unreadable(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", unreadable)
    monkeypatch.setattr(os, "pread", unreadable)
    for read in (
        lambda: check_pieces(partial, made.manifest, [0]),
        lambda: whole_digest(partial, made.manifest),
    ):
        with pytest.raises(DiskError, match="Input/output"):
            read()
    partial.close()


def test_a_file_too_large_for_its_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    partial = Partial.open(FILE.manifest, tmp_path / "dest")
    monkeypatch.setattr(os, "ftruncate", limited)
    with pytest.raises(DiskError, match="too large for this file system"):
        FILE.write(partial, [0])
    partial.discard()
