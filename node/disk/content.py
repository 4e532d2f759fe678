"""Reading pieces of content at a path: whole shared content, or a download that is still growing.

Shared content is checked against its stamps at each read. A piece of a file whose stamp differs is hashed before it is
given out: so what was touched, copied back or added to goes on being served as far as its bytes are the same, and
changed bytes are noticed rather than sent. Where the stamps are right verifying is left to whoever receives. Used by
one thread at a time.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from node.disk.errors import ContentChangedError, NotThereError, disk_error
from node.disk.layout import Layout, Span
from node.disk.open_files import OPEN_FILES_COUNT_MAX, OpenFiles, read_span
from node.disk.stamps import stamp_difference
from protocol.digest import raw_digest
from protocol.errors import DiskError
from protocol.manifest import Manifest

__all__ = ["Content", "ContentChangedError", "NotThereError"]

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ESTALE, errno.EISDIR, errno.ENXIO)
_DELETED = "was deleted or replaced"


class Content:
    """The content of ``manifest`` at ``root``.

    ``stamps`` are `node.disk.stamps` of content that was hashed. None means a download under way: files may not exist
    yet or be short, and the caller asks only for pieces it knows to be there. ``layout`` is that of the manifest, where
    there is one already: to make it takes a while for a large tree.
    """

    def __init__(self, manifest: Manifest, root: Path, stamps: bytes | None, layout: Layout | None = None) -> None:
        self.manifest = manifest
        self._layout = Layout(manifest) if layout is None else layout
        self._root = os.fspath(root)
        self._stamps = stamps
        self._files = OpenFiles(self._open)
        self._many = len(self._layout.files) > OPEN_FILES_COUNT_MAX
        self._doubt = ""

    def read(self, piece: int) -> bytes:
        """The bytes of ``piece``, exactly its size. Raises `ContentChangedError` when shared content is not what was
        hashed, `NotThereError` when a download does not have the bytes, `DiskError` when the disk fails."""
        data = self._read_all(piece)
        if self._doubt and not self._is_right(piece, data):
            raise ContentChangedError(self._doubt)
        return data

    def read_cached(self, piece: int) -> bytes | bytearray | None:
        """The bytes of ``piece`` if its files are open and unchanged and the page cache has them; None if not, and
        `read` gives the reason. Waits for no disk where the attributes of an open file are in memory."""
        parts: list[bytearray] = []
        for span in self._layout.spans(piece):
            fd = self._files.acquire_open(span.file_index)
            if fd is None:
                return None
            try:
                data = bytearray(span.length)
                got = os.preadv(fd, [data], span.offset, os.RWF_NOWAIT)
                if got != span.length or (self._stamps is not None and self._difference(fd, span.file_index)):
                    return None
            except OSError:
                return None
            finally:
                self._files.release(span.file_index)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check(self, piece: int) -> None:
        """Read ``piece`` and compare its digest, whatever the stamps say. Raises as `read` does."""
        data = self._read_all(piece)
        if not self._is_right(piece, data):
            raise self._missing(self._doubt or self._damage(piece))

    def move(self, root: Path | str) -> None:
        """The content was renamed to ``root``; files that are open stay so."""
        self._root = os.fspath(root)

    def close(self) -> None:
        self._files.close()

    def _read_all(self, piece: int) -> bytes:
        """The bytes of ``piece``. What differs in a stamp meanwhile is in ``_doubt`` afterwards."""
        self._doubt = ""
        spans = self._layout.spans(piece)
        if len(spans) == 1:
            return self._read(spans[0])
        return b"".join([self._read(span) for span in spans])

    def _is_right(self, piece: int, data: bytes) -> bool:
        return raw_digest(self.manifest.algorithm, data) == self.manifest.piece_digest(piece)

    def _damage(self, piece: int) -> str:
        spans = self._layout.spans(piece)
        first, last = spans[0], spans[-1]
        where, look = f"piece {piece}, from byte {first.offset} of {self._path(first.file_index)}", "file looks"
        if last.file_index != first.file_index:
            where += f" to byte {last.offset + last.length} of {self._path(last.file_index)}"
            look = "files look"
        return f"{where}, is not what was hashed, though the {look} unchanged"

    def _read(self, span: Span) -> bytes:
        index = span.file_index
        if self._many and span.length == self._layout.files[index].length:
            fd = self._open(index)  # not kept: it would only put another out
            try:
                return self._read_from(fd, span)
            finally:
                os.close(fd)
        fd = self._files.acquire(index)
        if self._stamps is not None and os.fstat(fd).st_nlink == 0:  # another file may have its place
            self._files.release(index)
            self._files.forget(index)
            fd = self._files.acquire(index)
        before, good = self._doubt, False
        try:
            data = self._read_from(fd, span)
            good = True
        finally:
            self._files.release(index)
            if not good or self._doubt != before:  # the right file may be in its place at the next read
                self._files.forget(index)
        return data

    def _read_from(self, fd: int, span: Span) -> bytes:
        try:
            if self._stamps is not None:
                self._check(fd, span.file_index)
            data = read_span(fd, span)
        except OSError as error:
            raise disk_error(error, "read", self._path(span.file_index)) from error
        if len(data) != span.length:
            raise self._missing(f"{self._path(span.file_index)} ends at byte {os.fstat(fd).st_size}")
        return data

    def _check(self, fd: int, index: int) -> None:
        difference = self._difference(fd, index)
        if difference == _DELETED:
            raise ContentChangedError(f"{self._path(index)} {difference}")
        if difference:
            self._doubt = f"{self._path(index)} {difference}"

    def _difference(self, fd: int, index: int) -> str:
        """How an open file is not what was hashed, for a person; empty when it is."""
        assert self._stamps is not None
        found = os.fstat(fd)
        if found.st_nlink == 0:
            return _DELETED
        return stamp_difference(found, self._stamps, index, self._layout.files[index].length)

    def _open(self, index: int) -> int:
        path = self._path(index)
        # O_NONBLOCK: opening a pipe that took a file's place must not hang. Of shared content a link may have been
        # followed when it was hashed; where it leads by now does not matter, as the stamp of what was opened tells.
        no_follow = os.O_NOFOLLOW if self._stamps is None and self._layout.is_tree else 0
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | no_follow
        try:
            fd = os.open(path, flags)
        except OSError as error:
            if error.errno in _GONE:
                raise self._missing(f"{path} cannot be opened: {error.strerror}") from error
            raise disk_error(error, "open", path) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise self._missing(f"{path} is not a regular file")
        return fd

    def _path(self, index: int) -> str:
        return self._layout.path_under(self._root, index)

    def _missing(self, detail: str) -> DiskError:
        return NotThereError(detail) if self._stamps is None else ContentChangedError(detail)
