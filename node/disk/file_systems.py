"""Which file system a path is on, found without waiting for one whose server or disk may be gone.

The kernel's table of mounts says it for a path without symbolic links. Links are followed one at a time, each on the
one file system that the caller names, so this can be done in a thread that hangs with that file system alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_IN_MEMORY = frozenset({"ramfs", "tmpfs"})
_CACHED = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs"})


class Mount(NamedTuple):
    """A file system of ``type`` (``ext4``, ``nfs4``), mounted at ``point``."""

    point: str
    type: str

    @property
    def is_in_memory(self) -> bool:
        """Nothing on it has to be waited for."""
        return self.type in _IN_MEMORY

    @property
    def is_cached(self) -> bool:
        """The attributes of a file that is open are in memory, and ``RWF_NOWAIT`` tells whether its bytes are. The
        attributes of a file on NFS, FUSE or a cluster's file system may have to be asked for each time."""
        return self.type in _CACHED


def mount_of(path: str) -> Mount:
    """The mount that ``path``, an absolute one without ``..``, is on if no part of it is a symbolic link. Its type is
    empty where there is no table."""
    found = Mount("/", "")
    try:
        table = _TABLE.read_bytes()
    except OSError:
        return found
    for line in table.splitlines():
        before, _, after = line.partition(b" - ")
        point = os.fsdecode(_ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), before.split()[4]))
        # Of several at one point the last covers the others.
        if len(point) >= len(found.point) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            found = Mount(point, after.split()[0].decode())
    return found


def follow_link(path: str, mount: Mount) -> str:
    """``path`` with its first symbolic link on ``mount`` replaced by what it leads to; the same when there is none. May
    take as long as this file system takes, and touches no other."""
    above = mount.point.rstrip("/")
    names = path.removeprefix(above).strip("/").split("/")
    for number, name in enumerate(names, 1):
        try:
            target = os.readlink(f"{above}/{name}")  # noqa: PTH115 - paths are text here
        except OSError:  # no link, or nothing: whoever opens it will say so
            above = f"{above}/{name}"
            continue
        return os.path.normpath("/".join([target if target.startswith("/") else f"{above}/{target}", *names[number:]]))
    return path
