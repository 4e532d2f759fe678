"""The bytes of several files one after another, read block by block: content as `node.disk.hashing` takes it in.

What to do about a file that is not what it should be is the caller's decision. Reading pieces to send them is
`node.disk.content`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from node.disk.tree_scan import UnstableContentError
from protocol.errors import DiskError


class Part(NamedTuple):
    """A file: where it is, what to call it, the bytes it should have, and the inode where it has to be that very file
    whatever stands at ``where`` by now."""

    where: Path
    name: str
    length: int
    inode: int | None = None


Complain = Callable[[Part, DiskError], object]
"""Told what is wrong with a part: `UnstableContentError` when it is not what it should be, another `DiskError` when it
cannot be read. The error is a predicate ("is missing"), to go after a name."""


class Concatenation:
    """Reads ``parts`` in order. What cannot be read of one is told to ``complain`` and, when that returns instead of
    raising, replaced with zeros, so that what follows keeps its place. Close it, or use it in a ``with``."""

    def __init__(self, parts: Iterable[Part], complain: Complain) -> None:
        self._parts = iter(parts)
        self._complain = complain
        self._part = Part(Path(), "", 0)
        self._left = 0
        self._fd = -1
        self._odd_length = False

    def read_into(self, block: memoryview) -> int:
        """Fill ``block`` and return how many bytes that took: fewer than it has at the end only."""
        filled = 0
        while filled < len(block) and (self._left or self._next_part()):
            room = block[filled : filled + self._left]
            count = self._read(room)
            if not count:
                count = len(room)
                room[:] = bytes(count)
            filled += count
            self._left -= count
        return filled

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Concatenation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_part(self) -> bool:
        """Open the next file that should have bytes, or give it up; False when there is none."""
        while not self._left:
            self.close()
            part = next(self._parts, None)
            if part is None:
                return False
            self._part, self._left = part, part.length
            self._open()
        return True

    def _open(self) -> None:
        """Open the part. One of another length is complained about, and read as far as it goes."""
        try:
            # Not blocking: what was a file may have become a FIFO, whose open would wait for a writer.
            self._fd = os.open(self._part.where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            found = os.fstat(self._fd)
        except (FileNotFoundError, NotADirectoryError):
            return self._give_up(UnstableContentError("is missing"))
        except OSError as error:
            return self._give_up(DiskError(f"cannot be read: {error.strerror}"))
        if not stat.S_ISREG(found.st_mode):
            return self._give_up(UnstableContentError("is not a regular file"))
        if self._part.inode not in (None, found.st_ino):
            return self._give_up(UnstableContentError("was replaced"))
        self._odd_length = found.st_size != self._part.length
        if self._odd_length:
            self._complain(self._part, UnstableContentError(f"has {found.st_size} bytes, not {self._part.length}"))
        return None

    def _read(self, room: memoryview) -> int:
        """Read into ``room``; 0 when the part was given up."""
        if self._fd < 0:
            return 0
        try:
            count = os.readv(self._fd, [room])
        except OSError as error:
            self._give_up(DiskError(f"cannot be read: {error.strerror}"))
            return 0
        if not count:
            self.close()
            if not self._odd_length:  # or it has been complained about
                self._complain(self._part, UnstableContentError("ended early"))
        return count

    def _give_up(self, problem: DiskError) -> None:
        self.close()
        self._complain(self._part, problem)
