"""node.disk.open_files: bounded, and nothing is closed under whoever reads it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from node.disk.errors import NotThereError
from node.disk.layout import Span
from node.disk.open_files import OpenFiles, read_chunks


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for index in range(40):
        (tmp_path / str(index)).write_bytes(str(index).encode() * 10)
    return tmp_path


class Counting:
    """An `OpenFiles` on numbered files that counts how often it opens one."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self.opened: list[int] = []
        self._directory = directory
        self.files = OpenFiles(self._open, capacity)

    def _open(self, index: int) -> int:
        self.opened.append(index)
        return os.open(self._directory / str(index), os.O_RDONLY)

    def use(self, *indices: int) -> None:
        for index in indices:
            self.files.acquire(index)
            self.files.release(index)


def test_the_least_recently_used_goes_first(directory: Path) -> None:
    counting = Counting(directory, 2)
    counting.use(1, 2, 1, 3)
    counting.use(1, 3)
    assert counting.opened == [1, 2, 3]
    counting.use(2)
    assert counting.opened == [1, 2, 3, 2]
    counting.files.close()


def test_out_of_descriptors_fewer_are_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(directory, 30)
    real, held = os.open, 8

    def scarce(path: Path, flags: int) -> int:
        if len(counting.files._fds) >= held:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, flags)

    monkeypatch.setattr(os, "open", scarce)
    counting.use(*range(20))
    assert counting.files.gave_up
    held = 0
    with pytest.raises(OSError, match="Too many open files"):
        counting.use(30)
    assert len(counting.files._fds) < 8
    counting.files.close()


def test_one_in_use_stays_open_beyond_the_bound(directory: Path) -> None:
    counting = Counting(directory, 1)
    fd = counting.files.acquire(7)
    counting.use(*range(20))
    assert os.pread(fd, 100, 0) == b"7" * 10
    counting.files.close()
    assert os.pread(fd, 100, 0) == b"7" * 10
    counting.files.release(7)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(NotThereError, match="closed"):
        counting.files.acquire(7)


def test_forget_opens_anew(directory: Path) -> None:
    counting = Counting(directory, 4)
    counting.use(1)
    counting.files.forget(1)
    counting.files.forget(2)
    counting.use(1)
    assert counting.opened == [1, 1]
    counting.files.close()


def test_a_close_that_fails_is_remembered(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(directory, 1)
    counting.use(1)
    close = os.close

    def lossy(fd: int) -> None:
        close(fd)
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "close", lossy)
    counting.use(2)
    monkeypatch.undo()
    assert counting.files.close_error is not None
    assert counting.files.close_error.errno == 122
    counting.files.close()


def test_many_threads_always_read_their_own_file(directory: Path) -> None:
    counting = Counting(directory, 3)
    wrong: list[tuple[int, bytes]] = []

    def read(start: int) -> None:
        for step in range(400):
            index = (start + step * 7) % 40
            fd = counting.files.acquire(index)
            data = os.pread(fd, 100, 0)
            counting.files.release(index)
            if data != str(index).encode() * 10:
                wrong.append((index, data))

    threads = [threading.Thread(target=read, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.files.close()
    assert wrong == []


def test_chunks_are_halves_of_one_buffer_in_turn(directory: Path) -> None:
    counting = Counting(directory, 2)
    spans = [Span(1, 0, 10), Span(2, 3, 4)]
    assert [bytes(chunk) for chunk in read_chunks(counting.files, spans, bytearray(9))] == [
        b"1111",
        b"1111",
        b"1122",
        b"22",
    ]
    with pytest.raises(NotThereError, match="ends at byte 10"):
        list(read_chunks(counting.files, [Span(3, 0, 11)], bytearray(16)))
    counting.files.close()


def test_a_chunk_stays_until_the_next_but_one(directory: Path) -> None:
    counting = Counting(directory, 3)
    chunks = read_chunks(counting.files, [Span(index, 0, 4) for index in range(4)], bytearray(8))
    before = next(chunks)
    for index in range(1, 4):
        chunk = next(chunks)
        assert (bytes(before), bytes(chunk)) == (str(index - 1).encode() * 4, str(index).encode() * 4)
        before = chunk
    counting.files.close()
