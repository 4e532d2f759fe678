"""Where the bytes of a piece lie in the files of a seed. Pure.

The content of a tree is its files one after another in the manifest's order; a piece may cover many files, and a
file many pieces. Files of length 0 never occur in a span.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from protocol.manifest import FileEntry, Manifest


class Span(NamedTuple):
    """``length`` bytes at ``offset`` of file number ``file_index``."""

    file_index: int
    offset: int
    length: int


class Layout:
    """The files of a manifest and the spans of its pieces.

    ``files`` has an entry with the empty path when the content is a single file, whose path is the root itself.
    """

    def __init__(self, manifest: Manifest) -> None:
        if manifest.files is None:
            self.files: tuple[FileEntry, ...] = (FileEntry(path="", length=manifest.length, executable=False),)
        else:
            self.files = manifest.files
        self.is_tree = manifest.files is not None
        self._manifest = manifest
        self._starts = array("q")
        start = 0
        for entry in self.files:
            self._starts.append(start)
            start += entry.length

    def path_under(self, root: str, file_index: int) -> str:
        """The path of a file when the content lies at ``root``."""
        return f"{root}/{self.files[file_index].path}" if self.is_tree else root

    def spans(self, piece: int) -> list[Span]:
        """The parts of files that make up ``piece``, in order. ``IndexError`` when there is no such piece."""
        if not 0 <= piece < self._manifest.piece_count:
            raise IndexError(f"piece {piece} of {self._manifest.piece_count}")
        start = piece * self._manifest.piece_length
        end = start + self._manifest.piece_size(piece)
        # Of files that start at one place only the last has bytes, and bisect_right finds that one.
        index = bisect_right(self._starts, start) - 1
        found: list[Span] = []
        while start < end:
            offset = start - self._starts[index]
            length = min(end - start, self.files[index].length - offset)
            if length > 0:
                found.append(Span(index, offset, length))
                start += length
            index += 1
        return found

    def whole(self) -> Iterator[Span]:
        """One span for each file that has bytes: all of the content, in order."""
        for index, entry in enumerate(self.files):
            if entry.length:
                yield Span(index, 0, entry.length)
