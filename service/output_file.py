"""The file that a person names for a result."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write all of ``data`` to ``path``, or leave what was there. A link stays, and leads to it; the mode of a file
    stays too. What is no regular file, such as a pipe or /dev/stdout, is written to as it is. Raises `OSError`."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    place = Path(os.path.realpath(path))
    fresh = place.with_name(f".zswarm-{secrets.token_hex(8)}")
    try:
        with fresh.open("xb") as file:
            if place.exists():
                shutil.copymode(place, fresh)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)


def check_whole(path: Path) -> None:
    """`OSError` if `write_whole` could not write to ``path``, for those who have a result only much later."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        return  # a pipe, for example: to open it would show whoever reads it an end
    with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
        pass
