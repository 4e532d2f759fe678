"""Stamps: how a peer notices that shared content changed under it without reading it again.

A stamp is a file's modification time, change time and inode when it was hashed: ``<qqQ``, int64 ``st_mtime_ns``, int64
``st_ctime_ns`` and uint64 ``st_ino``, 24 bytes for each file in the manifest's order (one file: its own). The length is
in the manifest. A writer can put the modification time back, but not the change time. A file whose stamp differs may
still hold the same bytes (it was touched, linked or copied back): whoever sees that reads it again before it is
believed or given up. What a failing disk does to bytes shows in no stamp; the receivers' digests catch it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from node.disk.errors import ContentChangedError, disk_error
from node.disk.layout import Layout
from protocol.manifest import Manifest

_STAMP = struct.Struct("<qqQ")
STAMP_BYTES = _STAMP.size


def take_stamps(root: Path, manifest: Manifest) -> bytes:
    """Stamps of the content at ``root`` now. Take them before the content is read for hashing: a change meanwhile
    then shows. Raises `ContentChangedError` when a file is missing, is no regular file or has another length."""
    layout = Layout(manifest)
    base = os.fspath(root)
    stamps = bytearray(STAMP_BYTES * len(layout.files))
    for index, entry in enumerate(layout.files):
        path = layout.path_under(base, index)
        try:
            # Links are followed: whoever scanned the tree decided which may be, and this is about what they lead to.
            found = os.stat(path)  # noqa: PTH116 - plain strings, many files
        except (FileNotFoundError, NotADirectoryError):
            raise ContentChangedError(f"{path} is gone") from None
        except OSError as error:
            raise disk_error(error, "look at", path) from error
        if not stat.S_ISREG(found.st_mode):
            raise ContentChangedError(f"{path} is no longer a regular file")
        if found.st_size != entry.length:
            raise ContentChangedError(f"{path} has {found.st_size} bytes instead of {entry.length}")
        _STAMP.pack_into(stamps, index * STAMP_BYTES, *_stamp_of(found))
    return bytes(stamps)


def is_unwritten(before: bytes, now: bytes) -> bool:
    """Whether stamps ``now`` are those of the files of ``before`` that nobody meant to write to since: the same inodes
    and modification times. The change time may differ: that of a file changes with its mode, and when it is mended."""
    if len(before) != len(now) or len(now) % STAMP_BYTES:
        return False
    pairs = zip(_STAMP.iter_unpack(before), _STAMP.iter_unpack(now), strict=True)
    return all((old[0], old[2]) == (new[0], new[2]) for old, new in pairs)


def is_file_unwritten(found: os.stat_result, stamps: bytes, file_index: int) -> bool:
    """`is_unwritten` of one file."""
    at = file_index * STAMP_BYTES
    return is_unwritten(stamps[at : at + STAMP_BYTES], _STAMP.pack(*_stamp_of(found)))


def put_back_times(paths: Sequence[str], before: bytes, stamps: bytes) -> bool:
    """Give the files at ``paths``, which have ``stamps``, the modification times of the stamps ``before``. False, and
    nothing done, if one is another file by now, has been changed, or cannot be opened; False, too, if the file system
    does not take a time."""
    if not len(before) == len(stamps) == STAMP_BYTES * len(paths):
        return False
    late: list[tuple[int, int]] = []
    with ExitStack() as opened:
        for path, old, new in zip(paths, _STAMP.iter_unpack(before), _STAMP.iter_unpack(stamps), strict=True):
            if old[2] != new[2]:
                return False
            if old[0] == new[0]:
                continue
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                return False
            opened.callback(os.close, fd)
            if _stamp_of(os.fstat(fd)) != new:
                return False
            late.append((fd, old[0]))
        try:
            for fd, mtime in late:
                os.utime(fd, ns=(os.fstat(fd).st_atime_ns, mtime))
        except OSError:  # read-only, for example, or the file is another user's
            return False
    return True


def stamp_difference(found: os.stat_result, stamps: bytes, file_index: int, expected_length: int) -> str:
    """How a file differs from what it was when it was hashed, for a person; empty when it has the same length and
    stamp. Stamps of another format than this one's differ."""
    if found.st_size != expected_length:
        return f"has {found.st_size} bytes instead of {expected_length}"
    at = file_index * STAMP_BYTES
    before, now = stamps[at : at + STAMP_BYTES], _stamp_of(found)
    if before == _STAMP.pack(*now):
        return ""
    same_inode = len(before) == STAMP_BYTES and _STAMP.unpack(before)[2] == now[2]
    return "was written to after it was hashed" if same_inode else "was replaced after it was hashed"


def _stamp_of(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino & 0xFFFF_FFFF_FFFF_FFFF
