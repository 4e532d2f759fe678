"""node.disk.content: right bytes, or an error that says which file and how."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.disk.content import Content, ContentChangedError, NotThereError
from node.disk.file_systems import mount_of
from node.disk.hashing import hash_path
from node.disk.open_files import OPEN_FILES_COUNT_MAX
from node.disk.stamps import take_stamps
from node.disk.storage import Partial
from protocol.errors import DiskError
from tests.node.disk.made_content import PIECE, Made, made_file, made_tree, open_fds

MADE = [made_file(), made_tree(), made_tree({f"{index:03}": 3000 for index in range(300)})]


def shared(made: Made, root: Path) -> Content:
    made.put(root)
    return Content(made.manifest, root, take_stamps(root, made.manifest))


@pytest.mark.parametrize("made", MADE)
def test_every_piece_as_it_was_hashed(made: Made, tmp_path: Path) -> None:
    content = shared(made, tmp_path / "root")
    for piece in range(made.manifest.piece_count):
        data = content.read(piece)
        assert type(data) is bytes
        assert data == made.piece(piece)
    content.close()


def test_few_files_stay_open(tmp_path: Path) -> None:
    made = MADE[2]
    before = open_fds()
    content = shared(made, tmp_path / "root")
    for piece in range(made.manifest.piece_count):
        content.read(piece)
    assert len(open_fds() - before) <= OPEN_FILES_COUNT_MAX
    content.close()
    assert open_fds() == before


@pytest.mark.parametrize("opened", [False, True], ids=["not open", "open"])
@pytest.mark.parametrize("change", ["overwrite", "shorten", "delete", "replace"])
def test_a_changed_file_is_not_served(change: str, opened: bool, tmp_path: Path) -> None:
    made = MADE[0]
    root = tmp_path / "root"
    content = shared(made, root)
    if opened:
        content.read(0)
    if change == "overwrite":
        overwrite(root)
    elif change == "shorten":
        os.truncate(root, 5)
    elif change == "delete":
        root.unlink()
    else:
        made_file(made.manifest.length, seed=9).put(tmp_path / "new").rename(root)
    with pytest.raises(ContentChangedError, match=str(root)):
        content.read(0)
    content.close()


@pytest.mark.parametrize("opened", [False, True], ids=["not open", "open"])
@pytest.mark.parametrize("change", ["touch", "link", "append", "replace"])
def test_a_file_that_only_looks_different_is_served(change: str, opened: bool, tmp_path: Path) -> None:
    made = MADE[0]
    root = tmp_path / "root"
    content = shared(made, root)
    if opened:
        content.read(0)
    if change == "touch":
        os.utime(root, ns=(1, 1))
    elif change == "link":
        (tmp_path / "link").hardlink_to(root)
    elif change == "append":
        with root.open("ab") as file:
            file.write(b"more")
    else:
        made.put(tmp_path / "new").rename(root)
    for piece in range(made.manifest.piece_count):
        assert content.read(piece) == made.piece(piece)
    content.close()


def test_what_was_written_with_its_time_put_back_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    content = shared(MADE[0], root)
    overwrite(root)
    with pytest.raises(ContentChangedError, match="was written to after it was hashed"):
        content.read(0)
    content.close()


def test_a_check_reads_what_the_stamps_vouch_for(tmp_path: Path) -> None:
    made = MADE[0]
    root = made.put(tmp_path / "root")
    overwrite(root)
    content = Content(made.manifest, root, take_stamps(root, made.manifest))
    content.read(0)
    content.check(1)
    with pytest.raises(ContentChangedError, match=r"piece 0, from byte 0 of .*root, is not what was hashed"):
        content.check(0)
    content.close()


def test_a_piece_in_several_files_is_named_with_its_ends(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 10)
    manifest = hash_path(tmp_path)
    overwrite(tmp_path / "b")
    content = Content(manifest, tmp_path, take_stamps(tmp_path, manifest))
    with pytest.raises(ContentChangedError, match=r"piece 0, from byte 0 of .*/a to byte 10 of .*/c, is not .* files"):
        content.check(0)
    content.close()


def overwrite(path: Path) -> None:
    """Change a byte in place, and put the modification time back; not in the same tick of the clock as before."""
    found = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    while path.stat().st_ctime_ns == found.st_ctime_ns or path.stat().st_mtime_ns != found.st_mtime_ns:
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("change", ["overwrite", "shorten", "replace"])
def test_a_changed_file_of_many_is_not_served(change: str, tmp_path: Path) -> None:
    """Which are not kept open; neither are those that are wrong."""
    made = MADE[2]
    content = shared(made, tmp_path / "root")
    assert content.read(0) == made.piece(0)
    before = open_fds()
    path = tmp_path / "root" / "007"
    if change == "overwrite":
        overwrite(path)
    elif change == "shorten":
        os.truncate(path, 5)
    else:
        (tmp_path / "other").write_bytes(bytes(path.stat().st_size))
        (tmp_path / "other").rename(path)
    with pytest.raises(ContentChangedError, match=r"root/007"):
        content.read(0)
    assert open_fds() == before
    content.close()


def test_a_file_that_became_something_else(tmp_path: Path) -> None:
    made = made_tree({"x": 10, "y": 10})
    root = tmp_path / "root"
    content = shared(made, root)
    (root / "y").rename(tmp_path / "y")
    with pytest.raises(ContentChangedError, match=r"root/y cannot be opened"):
        content.read(0)
    (tmp_path / "other").write_bytes(b"0123456789")
    (root / "y").symlink_to(tmp_path / "other")
    with pytest.raises(ContentChangedError, match=r"root/y was"):
        content.read(0)
    (root / "y").unlink()
    os.mkfifo(root / "y")
    with pytest.raises(ContentChangedError, match=r"root/y is not a regular file"):
        content.read(0)
    content.close()


def test_stamps_of_another_format_vouch_for_nothing(tmp_path: Path) -> None:
    made = MADE[1]
    content = Content(made.manifest, made.put(tmp_path / "root"), bytes(16))
    assert content.read(0) == made.piece(0)
    content.close()


def test_a_failing_disk_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = shared(MADE[0], tmp_path / "root")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(DiskError, match="Input/output") as caught:
        content.read(0)
    assert not isinstance(caught.value, ContentChangedError)
    content.close()


def test_a_short_read_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MADE[0]
    content = shared(made, tmp_path / "root")
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: whole(fd, min(length, 100_001), offset))
    assert content.read(1) == made.piece(1)
    content.close()


def in_page_cache(content: Content, made: Made, path: Path) -> None:
    """Have all of ``content`` read once; skip where nobody can tell what is in the page cache."""
    if not mount_of(str(path)).is_cached:
        pytest.skip(f"{mount_of(str(path)).type} does not tell what is in memory")
    for piece in range(made.manifest.piece_count):
        content.read(piece)


@pytest.mark.parametrize("made", MADE[:2])
def test_what_is_in_memory_is_read_without_waiting(made: Made, tmp_path: Path) -> None:
    content = shared(made, tmp_path / "root")
    assert content.read_cached(0) is None  # no file is open yet
    in_page_cache(content, made, tmp_path)
    for piece in range(made.manifest.piece_count):
        assert content.read_cached(piece) == made.piece(piece)
    content.close()


def test_files_that_are_not_kept_open_have_to_be_waited_for(tmp_path: Path) -> None:
    made = MADE[2]
    content = shared(made, tmp_path / "root")
    in_page_cache(content, made, tmp_path)
    before = open_fds()
    assert content.read_cached(0) is None
    assert open_fds() == before
    content.close()


@pytest.mark.parametrize("change", ["overwrite", "shorten", "delete"])
def test_what_changed_is_not_read_without_waiting(change: str, tmp_path: Path) -> None:
    made, root = MADE[0], tmp_path / "root"
    content = shared(made, root)
    in_page_cache(content, made, tmp_path)
    if change == "overwrite":
        overwrite(root)
    elif change == "shorten":
        os.truncate(root, 5)
    else:
        root.unlink()
    assert content.read_cached(0) is None
    content.close()


def test_what_is_not_in_memory_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MADE[0]
    content = shared(made, tmp_path / "root")
    in_page_cache(content, made, tmp_path)
    whole = os.preadv

    def half(fd: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        return whole(fd, [memoryview(buffers[0])[:4096]], offset, flags)

    def nothing(*_call: object) -> int:
        raise BlockingIOError

    for found in (half, nothing):
        monkeypatch.setattr(os, "preadv", found)
        assert content.read_cached(0) is None
    content.close()


@pytest.mark.parametrize("made", MADE[:2])
def test_a_growing_download_and_its_move(made: Made, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "root")
    content = Content(made.manifest, Path(partial.root), None)
    with pytest.raises(NotThereError):
        content.read(1)
    made.write(partial, [1])
    assert content.read(1) == made.piece(1)
    made.write(partial)
    content.move(Path(partial.publish()))
    for piece in range(made.manifest.piece_count):
        assert content.read(piece) == made.piece(piece)
    content.close()


def test_a_growing_file_that_is_too_short(tmp_path: Path) -> None:
    made = made_file(2 * PIECE)
    root = tmp_path / "root"
    root.write_bytes(made.piece(0) + b"x")
    content = Content(made.manifest, root, None)
    assert content.read(0) == made.piece(0)
    with pytest.raises(NotThereError, match="ends at byte"):
        content.read(1)
    root.write_bytes(b"x" * 10)
    with pytest.raises(NotThereError, match=r"ends at byte 10$"):
        content.read(1)
    root.write_bytes(made.data)
    assert content.read(1) == made.piece(1)
    content.close()
