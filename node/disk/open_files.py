"""A bounded number of open files, least recently used closed first, and reading spans through them.

Several threads may use one `OpenFiles`: a descriptor is never closed between `acquire` and `release`. `OneOpenFile` is
for one pass over many files. How a file is opened is its owner's business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable

from node.disk.errors import NotThereError, OpenFilesError
from node.disk.layout import Span

OPEN_FILES_COUNT_MAX = 128
"""Of one download or share: a process has 1,024 descriptors by default, and many swarms."""


class OpenFiles:
    """Descriptors by file number. ``open_file(index)`` opens one; it is called with the lock held, so one at a time.

    ``gave_up``: fewer than ``capacity`` are kept open, for lack of descriptors.
    ``close_error`` is the first error a ``close`` returned: network file systems report lost writes there.
    """

    def __init__(self, open_file: Callable[[int], int], capacity: int = OPEN_FILES_COUNT_MAX) -> None:
        self._open_file = open_file
        self._capacity = capacity
        self._fds: OrderedDict[int, int] = OrderedDict()
        self._users: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.close_error: OSError | None = None
        self.gave_up = False

    def acquire(self, index: int) -> int:
        """The descriptor of file ``index``, opened if need be. Every acquire needs its `release`."""
        with self._lock:
            if self._closed:
                raise NotThereError("the files of this content are closed")
            fd = self._fds.get(index)
            if fd is None:
                self._make_room()
                fd = self._fds[index] = self._open(index)
            else:
                self._fds.move_to_end(index)
            self._users[index] = self._users.get(index, 0) + 1
            return fd

    def acquire_open(self, index: int) -> int | None:
        """As `acquire`, of a file that is open already; None, and nothing to release, when it is not. It waits only for
        other threads that use these files."""
        with self._lock:
            fd = self._fds.get(index)
            if fd is not None:
                self._fds.move_to_end(index)
                self._users[index] = self._users.get(index, 0) + 1
            return fd

    def release(self, index: int) -> None:
        with self._lock:
            users = self._users[index] - 1
            if users:
                self._users[index] = users
                return
            del self._users[index]
            if self._closed:
                self._close_fd(self._fds.pop(index))

    def sync(self, index: int) -> None:
        """``fsync`` file ``index``."""
        fd = self.acquire(index)
        try:
            os.fsync(fd)
        finally:
            self.release(index)

    def drop_cached(self, indices: Iterable[int]) -> None:
        """After a failed sync the cache may hold, as clean, what the disk never got: a check must read the disk."""
        with contextlib.suppress(OSError):  # the disk is failing already, and this is only for a better diagnosis
            for index in indices:
                fd = self.acquire(index)
                try:
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    self.release(index)

    def forget(self, index: int) -> None:
        """Close file ``index`` unless it is in use, so that the next acquire opens it anew."""
        with self._lock:
            if index in self._fds and index not in self._users:
                self._close_fd(self._fds.pop(index))

    def close(self) -> None:
        """Close what is not in use now, and the rest as it is released."""
        with self._lock:
            self._closed = True
            for index in [index for index in self._fds if index not in self._users]:
                self._close_fd(self._fds.pop(index))

    def _open(self, index: int) -> int:
        """Open a file. When the process has no descriptor left, half of those not in use are given up for good, so that
        there is one for whoever else needs it."""
        try:
            return self._open_file(index)
        except (OSError, OpenFilesError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            idle = [held for held in self._fds if held not in self._users]
            if not idle:
                raise
            given_up = idle[: (len(idle) + 1) // 2]
            for held in given_up:
                self._close_fd(self._fds.pop(held))
            self._capacity = len(self._fds) + 1
            self.gave_up = True
            return self._open_file(index)

    def _make_room(self) -> None:
        # With all in use the bound is exceeded by at most the number of threads.
        if len(self._fds) >= self._capacity:
            for index in self._fds:
                if index not in self._users:
                    self._close_fd(self._fds.pop(index))
                    return

    def _close_fd(self, fd: int) -> None:
        try:
            os.close(fd)
        except OSError as error:
            self.close_error = self.close_error or error


class OneOpenFile:
    """As `OpenFiles`, for one thread that goes through many files once: none stays open after its `release`."""

    def __init__(self, open_file: Callable[[int], int]) -> None:
        self._open_file = open_file
        self._fd = -1

    def acquire(self, index: int) -> int:
        """A new descriptor of file ``index``, until the `release` that it needs."""
        self._fd = self._open_file(index)
        return self._fd

    def release(self, _index: int) -> None:
        os.close(self._fd)


def read_span(fd: int, span: Span) -> bytes:
    """The bytes of ``span``; fewer when the file ends before it does."""
    data = os.pread(fd, span.length, span.offset)
    if len(data) in (0, span.length):
        return data
    parts = [data]
    got = len(data)
    while got < span.length and (data := os.pread(fd, span.length - got, span.offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)


def read_chunks(
    files: OpenFiles | OneOpenFile, spans: Iterable[Span], buffer: bytearray
) -> Generator[memoryview, None, None]:
    """The bytes of ``spans`` in order, each chunk half of ``buffer`` full of them and the last one less. A chunk stays
    as it is until the next but one is asked for, so one can be used while the next is read.
    Raises `NotThereError` when a file is too short, ``OSError`` when one cannot be read."""
    half = len(buffer) // 2
    view, other = memoryview(buffer)[:half], memoryview(buffer)[half : 2 * half]
    filled = 0
    for index, offset, length in spans:
        fd = files.acquire(index)
        try:
            position, end = offset, offset + length
            while position < end:
                count = os.preadv(fd, [view[filled : filled + end - position]], position)
                if count == 0:
                    raise NotThereError(f"file {index} of the content ends at byte {os.fstat(fd).st_size}")
                position += count
                filled += count
                if filled == half:
                    yield view
                    view, other, filled = other, view, 0
        finally:
            files.release(index)
    if filled:
        yield view[:filled]
