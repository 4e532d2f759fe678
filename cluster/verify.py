"""Is a copy the same as the original, byte for byte? For trees also: the same names, executable bits, directories.

Looks at the files and nothing else: no seed, no digest, nothing of what the product believes. Symbolic links and
special files of the original are not part of what is shared.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

BLOCK_BYTES = 1024 * 1024
FILE, EXECUTABLE, DIRECTORY, OTHER = "a file", "an executable file", "a directory", "a link or special file"


class Reference:
    """The original that copies are compared with. It is listed once; its bytes are read again for each copy."""

    def __init__(self, original: Path) -> None:
        """Raises `OSError` when it cannot be listed."""
        self._original = str(original)
        self._listing: dict[str, str] | None = None
        if original.is_dir():
            self._listing = {path: kind for path, kind in _walk(self._original).items() if kind != OTHER}

    def difference(self, copy: Path) -> str:
        """The first difference of ``copy``, for a person; empty when there is none."""
        try:
            mode = copy.lstat().st_mode
            if self._listing is not None:
                return self._tree_difference(self._listing, str(copy)) if stat.S_ISDIR(mode) else "is not a directory"
            return _file_difference(self._original, str(copy)) if stat.S_ISREG(mode) else "is not a regular file"
        except FileNotFoundError as error:
            return f"{error.filename} is missing"
        except OSError as error:
            return f"cannot be compared: {error}"

    def _tree_difference(self, wanted: dict[str, str], copy: str) -> str:
        found = _walk(copy)
        for path, kind in wanted.items():
            if path not in found:
                return f"{path} is missing"
            if found[path] != kind:
                return f"{path} is {found[path]} instead of {kind}"
            if kind == DIRECTORY:
                continue
            what = _file_difference(f"{self._original}/{path}", f"{copy}/{path}")
            if what:
                return f"{path} {what}"
        return next((f"{path} is too many" for path in found if path not in wanted), "")


def _file_difference(original: str, copy: str) -> str:
    left = os.open(original, os.O_RDONLY)
    try:
        right = os.open(copy, os.O_RDONLY)
        try:
            return _stream_difference(left, right)
        finally:
            os.close(right)
    finally:
        os.close(left)


def _stream_difference(left: int, right: int) -> str:
    wanted, found = os.fstat(left).st_size, os.fstat(right).st_size
    if wanted != found:
        return f"has {found} bytes instead of {wanted}"
    place = 0
    while block := os.read(left, BLOCK_BYTES):
        if os.read(right, BLOCK_BYTES) != block:
            return f"differs between bytes {place} and {place + len(block)}"
        place += len(block)
    return ""


def _walk(root: str) -> dict[str, str]:
    """Everything below ``root``: path inside it to what it is. Plain strings: there may be a million."""
    found = {}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(f"{root}/{prefix}") as entries:
            for entry in entries:
                kind = _kind(entry.stat(follow_symlinks=False).st_mode)
                found[prefix + entry.name] = kind
                if kind == DIRECTORY:
                    waiting.append(f"{prefix}{entry.name}/")
    return found


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return EXECUTABLE if mode & stat.S_IXUSR else FILE
    return DIRECTORY if stat.S_ISDIR(mode) else OTHER
