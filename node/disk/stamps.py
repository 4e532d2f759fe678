"""Stamps: how a peer notices that shared content changed under it without reading it again.

A stamp is a file's modification time and inode when it was hashed: ``<qQ``, int64 ``st_mtime_ns`` and uint64
``st_ino``, 16 bytes for each file in the manifest's order (one file: its own). The length is in the manifest.
A writer who puts the old time back on the same inode goes unnoticed here; the receivers' digests catch it.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from node.disk.errors import ContentChangedError, disk_error
from node.disk.layout import Layout
from protocol.manifest import Manifest

_STAMP = struct.Struct("<qQ")
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
            raise ContentChangedError(f"{path} is no regular file any more")
        if found.st_size != entry.length:
            raise ContentChangedError(f"{path} has {found.st_size} bytes instead of {entry.length}")
        _STAMP.pack_into(stamps, index * STAMP_BYTES, found.st_mtime_ns, found.st_ino & 0xFFFF_FFFF_FFFF_FFFF)
    return bytes(stamps)


def stamp_difference(found: os.stat_result, stamps: bytes, file_index: int, expected_length: int) -> str:
    """How a file differs from what it was when it was hashed, for a person; empty when it has the same length and
    stamp."""
    if found.st_size != expected_length:
        return f"has {found.st_size} bytes instead of {expected_length}"
    mtime_ns, inode = _STAMP.unpack_from(stamps, file_index * STAMP_BYTES)
    if found.st_mtime_ns != mtime_ns:
        return "was written to after it was hashed"
    if found.st_ino & 0xFFFF_FFFF_FFFF_FFFF != inode:
        return "was replaced after it was hashed"
    return ""
