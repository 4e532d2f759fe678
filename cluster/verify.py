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


def difference(original: Path, copy: Path) -> str:
    """The first difference of ``copy``, for a person; empty when there is none."""
    try:
        if original.is_dir():
            return _tree_difference(original, copy)
        mode = copy.lstat().st_mode
        return _file_difference(original, copy) if stat.S_ISREG(mode) else "is not a regular file"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except OSError as error:
        return f"cannot be compared: {error}"


def _tree_difference(original: Path, copy: Path) -> str:
    if not stat.S_ISDIR(copy.lstat().st_mode):
        return "is not a directory"
    wanted = {path: kind for path, kind in _walk(original).items() if kind != OTHER}
    found = _walk(copy)
    for path, kind in wanted.items():
        if path not in found:
            return f"{path} is missing"
        if found[path] != kind:
            return f"{path} is {found[path]} instead of {kind}"
        what = _file_difference(original / path, copy / path) if kind != DIRECTORY else ""
        if what:
            return f"{path} {what}"
    return next((f"{path} is too many" for path in found if path not in wanted), "")


def _walk(root: Path) -> dict[str, str]:
    """Everything below ``root``: path inside it to what it is."""
    found = {}
    for where, directories, files in os.walk(root, onerror=_raise):
        inside = os.path.relpath(where, root)
        for name in directories + files:
            path = os.path.normpath(f"{inside}/{name}")
            found[path] = _kind((root / path).lstat().st_mode)
    return found


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return EXECUTABLE if mode & stat.S_IXUSR else FILE
    return DIRECTORY if stat.S_ISDIR(mode) else OTHER


def _raise(error: OSError) -> None:
    raise error


def _file_difference(original: Path, copy: Path) -> str:
    left_block, right_block = bytearray(BLOCK_BYTES), bytearray(BLOCK_BYTES)
    place = 0
    with original.open("rb", buffering=0) as left, copy.open("rb", buffering=0) as right:
        wanted, found = os.fstat(left.fileno()).st_size, os.fstat(right.fileno()).st_size
        if wanted != found:
            return f"has {found} bytes instead of {wanted}"
        while count := left.readinto(left_block):
            if right.readinto(right_block) != count or left_block[:count] != right_block[:count]:
                return f"differs between bytes {place} and {place + count}"
            place += count
    return ""
