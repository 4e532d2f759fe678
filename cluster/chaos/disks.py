"""Small disks on one machine, which can be filled and made read-only: tmpfs mounts, made and removed as root.

They are gone when the block that uses them ends, however it ends. Those of a run that was killed are found by their
names, and removed by the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.interrupts import shielded
from cluster.namespaces import has_ended, run_as_root, this_process
from cluster.shaped_network import Owner, owner_of
from protocol.errors import NetworkError, UsageError

MOUNTS = Path("/proc/self/mounts")
FILLER = ".filler"
_NAME = "disk"
_ESCAPED = re.compile(r"\\([0-7]{3})")


class SmallDisk:
    """One that is mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> None:
        """Until not a byte is free. Raises `OSError`."""
        with (self._path / FILLER).open("ab") as filler:
            free = os.fstatvfs(filler.fileno())
            if free.f_bavail:
                place = filler.seek(0, os.SEEK_END)
                os.posix_fallocate(filler.fileno(), place, free.f_bavail * free.f_frsize)

    def clear(self) -> None:
        """Free what `fill` took. Raises `OSError`."""
        (self._path / FILLER).unlink(missing_ok=True)

    def set_read_only(self, read_only: bool) -> None:
        """Raises `NetworkError` while a process has a file open for writing."""
        run_as_root(("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(self._path)))
        # Only the disk, and not this mount of it: a process in a network namespace has a copy of the mount, which
        # would stay read-only.
        run_as_root(("mount", "-o", "remount,bind,rw", str(self._path)))


@contextmanager
def small_disks(directories: Iterable[Path], size: int) -> Iterator[dict[Path, SmallDisk]]:
    """A disk of ``size`` bytes at each of ``directories``, which are made. `UsageError` where none can be mounted."""
    if os.geteuid() != 0:
        raise UsageError("only root can mount disks")
    _unmount(path for path, owner in list(_mounted()) if has_ended(owner))
    us = this_process()
    disks = {}
    try:
        for path in directories:
            path.mkdir(parents=True)
            options = f"size={size},mode=0700"
            try:
                run_as_root(("mount", "-t", "tmpfs", "-o", options, us.namespace(_NAME), str(path)))
            except NetworkError as error:
                raise UsageError(f"no disks can be mounted: {error}") from None
            disks[path] = SmallDisk(path)
        yield disks
    finally:
        with shielded():
            _unmount(path for path, owner in list(_mounted()) if owner == us)


def _mounted() -> Iterator[tuple[str, Owner]]:
    """The disks of this and other runs: where they are mounted, and whose they are. See fstab(5)."""
    for line in MOUNTS.read_text().splitlines():
        source, path, *_ = line.split()
        owner = owner_of(source)
        if owner is not None and source == owner.namespace(_NAME):
            yield _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path), owner


def _unmount(paths: Iterable[str]) -> None:
    """At once for whoever looks; what a process still has open there goes with the process."""
    for path in paths:
        run_as_root(("umount", "--lazy", path))
