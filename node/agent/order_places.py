"""Where orders of other peers are carried out: directories below the one in the peer's configuration. For the agent's
threads. A symbolic link below it is never followed: it could lead anywhere."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path

from node.disk.errors import disk_error
from protocol.errors import DiskError
from protocol.orders import check_directory


def prepare_place(base: Path, directory: str) -> Path:
    """``directory`` (relative) below ``base``, made as far as it is missing. Raises `SeedError` for one that is not
    below it by its text, and `DiskError`."""
    place = base
    try:
        base.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            fd = _opened(opened, str(base), os.O_PATH, None)
            for part in check_directory(directory).split("/") if directory else ():
                place /= part
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
                fd = _opened(opened, part, os.O_PATH | os.O_NOFOLLOW, fd)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
            what = "a symbolic link, which orders do not follow" if place.is_symlink() else "not a directory"
            raise DiskError(f"{place} is {what}; remove it, or order to another directory") from None
        raise disk_error(error, "make", place) from error
    if not os.access(place, os.W_OK | os.X_OK):
        raise DiskError(f"cannot write to {place}, where orders are carried out; change its owner or mode")
    return place


def free_bytes(base: Path) -> int:
    """What the file system of ``base`` has left for its user; 0 when that cannot be told. It need not be there yet."""
    for place in (base, *base.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize
    return 0


def _opened(opened: ExitStack, name: str, flags: int, dir_fd: int | None) -> int:
    fd = os.open(name, flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    opened.callback(os.close, fd)
    return fd
