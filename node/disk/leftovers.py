"""What an earlier run of a download left in its staging directory: found again, and cleared of all else.

Only files and directories of the seed survive this, so a published tree has nothing in it that the seed has not.
Whether the bytes found are good is not looked at.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from node.disk.layout import Layout
from node.disk.staging import CONTENT, remove_at


class Found(NamedTuple):
    """``files``: bytes on disk by file number. ``dirs``: names from the staging directory on, ``content`` first."""

    files: dict[int, int]
    dirs: list[str]


def find_leftovers(staging_fd: int, layout: Layout, empty_dirs: tuple[str, ...]) -> Found | None:
    """What is in ``content``; None, and nothing there any more, when it is not even of the right kind."""
    try:
        found = os.stat(CONTENT, dir_fd=staging_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if layout.is_tree and stat.S_ISDIR(found.st_mode):
        return _walk(staging_fd, layout, empty_dirs)
    if not layout.is_tree and stat.S_ISREG(found.st_mode):
        return Found({0: _bytes_on_disk(found)}, [])
    remove_at(CONTENT, staging_fd)
    return None


def _walk(staging_fd: int, layout: Layout, empty_dirs: tuple[str, ...]) -> Found:
    files = {layout.path_under(CONTENT, index): index for index in range(len(layout.files))}
    dirs = _directories([*files, *(f"{CONTENT}/{path}/" for path in empty_dirs)])
    found = Found({}, [CONTENT])
    for directory in found.dirs:
        for name, entry in _entries(directory, staging_fd):
            path = f"{directory}/{name}"
            if stat.S_ISDIR(entry.st_mode) and path in dirs:
                found.dirs.append(path)
            elif stat.S_ISREG(entry.st_mode) and path in files:
                found.files[files[path]] = _bytes_on_disk(entry)
            else:
                remove_at(path, staging_fd)
    return found


def _directories(paths: list[str]) -> set[str]:
    """Every directory above one of ``paths``."""
    dirs: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in dirs:
            dirs.add(path)
    return dirs


def _entries(directory: str, dir_fd: int) -> list[tuple[str, os.stat_result]]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        with os.scandir(fd) as entries:
            return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    finally:
        os.close(fd)


def _bytes_on_disk(found: os.stat_result) -> int:
    return min(found.st_blocks * 512, found.st_size)
