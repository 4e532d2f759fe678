"""Content that stands under its final name and has wrong pieces: they are written over, where they are.

Bytes that rotted on a disk are nobody's work, so there is no old version to keep, and a copy of a terabyte is too much
for one wrong piece. Only verified pieces are written, so the content never becomes worse than it is; modes, owners,
links and everything that is no part of the content stay. The modification time is put back after each write: the bytes
are those of that time again, and a file that somebody else writes to meanwhile is known by it and not touched any more.
After a kill between the two `node.disk.mend_notes` tells whose write it was.
`node.disk.storage` has downloads to where nothing is, or something else.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Generator, Iterable
from pathlib import Path

from node.disk.errors import ContentChangedError, NotThereError, StoppedError, disk_error
from node.disk.layout import Layout, Span
from node.disk.mend_notes import MendNote
from node.disk.open_files import OPEN_FILES_COUNT_MAX, OneOpenFile, OpenFiles, read_chunks
from node.disk.sparse import write_all
from node.disk.stamps import is_file_unwritten, is_unwritten, take_stamps
from node.disk.store import Buffer
from protocol.errors import DiskError, LocalError
from protocol.manifest import Manifest

_WRITTEN = "was written to after it was hashed; it is left as it is"


class InPlace:
    """The content of ``manifest`` at ``root``, to be mended; as `node.disk.store.PartialContent`. ``stamps`` are of
    when it was right. Raises `ContentChangedError` when somebody wrote to it since, `DiskError` when it cannot be
    looked at.

    `write` may be called by several threads at once. `discard` deletes nothing. ``note``, drafted before the first
    `write`, holds from a `write` to the next `sync`, and is forgotten at the end."""

    left_behind = ""
    resumed = True

    def __init__(self, manifest: Manifest, root: Path, stamps: bytes, note: MendNote | None = None) -> None:
        self.manifest = manifest
        self.layout = Layout(manifest)
        self.root = os.fspath(root)
        self._stamps = stamps
        self._files = OpenFiles(self._open_to_write, OPEN_FILES_COUNT_MAX)
        self._lock = threading.Lock()
        self._dirty: dict[int, None] = {}
        self._written: list[int] = []
        self._failed = ""
        self._interrupted = self._closed = self._noted = self._in_doubt = False
        self._note = note
        self._check_unwritten()

    @property
    def failed(self) -> bool:
        """As `node.disk.storage.Partial.failed`."""
        return bool(self._failed)

    def write(self, piece: int, data: Buffer) -> None:
        """Write the verified bytes of ``piece`` over those that are there. Raises as `node.disk.storage.Partial.write`
        does, and `ContentChangedError` when somebody else has written to the file."""
        self._check_usable()
        view = memoryview(data).cast("B")
        start = 0
        for span in self.layout.spans(piece):
            if self._interrupted:
                raise StoppedError("stopped while writing")
            self._write_span(span, view[start : start + span.length])
            start += span.length
        with self._lock:
            self._written.append(piece)

    def interrupt(self) -> None:
        """Have `write` give up before its next file."""
        self._interrupted = True

    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]:
        """As `node.disk.storage.Partial.chunks`."""
        try:
            yield from read_chunks(OneOpenFile(self._open_to_read), spans, buffer)
        except (FileNotFoundError, NotADirectoryError):
            raise NotThereError(f"a file of {self.root} was deleted") from None
        except OSError as error:
            if error.errno != errno.EIO:
                raise disk_error(error, "read", self.root) from error
            raise NotThereError(f"a file of {self.root} cannot be read: {error.strerror}") from error

    def sync(self) -> list[int]:
        """As `node.disk.storage.Partial.sync`."""
        with self._lock:
            if self._closed:
                return []
            self._check_usable()
            pieces, self._written = self._written, []
            dirty, self._dirty = self._dirty, {}
            try:
                for index in dirty:
                    self._files.sync(index)
                if self._files.close_error is not None:
                    raise self._files.close_error
            except OSError as error:
                self._failed = f"writing {self.root} out failed: {error.strerror}; it has to be taken up anew"
                self._files.drop_cached(dirty)
                raise disk_error(error, "write out", self.root) from error
            if self._note is not None and self._noted and not self._in_doubt:
                self._note.rest()
                self._noted = False
        return pieces

    def publish(self) -> str:
        """The content is right again."""
        self._check_usable()
        self._check_unwritten()
        self.sync()
        self.close()
        return self.root

    def discard(self) -> None:
        """Close it: what is there is not ours to delete."""
        self.close()

    def close(self) -> None:
        self._closed = True
        self._files.close()
        if self._note is not None and not self._in_doubt:
            self._note.forget()

    def _check_usable(self) -> None:
        if self._closed:
            raise LocalError(f"{self.root} is closed")
        if self._failed:
            raise DiskError(self._failed)

    def _check_unwritten(self) -> None:
        if not is_unwritten(self._stamps, take_stamps(Path(self.root), self.manifest)):
            raise ContentChangedError(f"{self.root} {_WRITTEN}")

    def _write_span(self, span: Span, view: memoryview) -> None:
        index = span.file_index
        try:
            fd = self._files.acquire(index)
            try:
                with self._lock:  # of two threads one would see the time of the other's write
                    before = os.fstat(fd)
                    if not (self._is_there(before, index) and is_file_unwritten(before, self._stamps, index)):
                        raise ContentChangedError(f"{self._path(index)} {_WRITTEN}")
                    if self._note is not None and not self._noted:
                        self._note.hold()
                        self._noted = True
                    self._dirty[index] = None
                    was_in_doubt, self._in_doubt = self._in_doubt, True
                    try:
                        write_all(fd, view, span.offset)
                    finally:  # a write that failed would look like somebody else's
                        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
                        self._in_doubt = was_in_doubt
            finally:
                self._files.release(index)
        except OSError as error:
            raise disk_error(error, "mend", self._path(index)) from error

    def _is_there(self, opened: os.stat_result, index: int) -> bool:
        """Whether the ``opened`` file is the one at its path: editors put a new one in its place."""
        try:
            return os.path.samestat(opened, Path(self._path(index)).stat())
        except FileNotFoundError:
            return True  # it was deleted, which `chunks` finds

    def _open_to_write(self, index: int) -> int:
        return self._open(index, os.O_WRONLY)

    def _open_to_read(self, index: int) -> int:
        return self._open(index, os.O_RDONLY)

    def _open(self, index: int, flags: int) -> int:
        # O_NONBLOCK: a pipe that took a file's place must not hang.
        fd = os.open(self._path(index), flags | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != self.layout.files[index].length:
            os.close(fd)
            raise NotThereError(f"{self._path(index)} is not the file that was hashed")
        return fd

    def _path(self, index: int) -> str:
        return self.layout.path_under(self.root, index)
