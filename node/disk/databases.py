"""Errors of SQLite as those of `node.disk.errors`."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from node.disk.errors import AwayError, NoSpaceError
from protocol.errors import DiskError
from protocol.limits import KIB

LOG_INDEX_BYTES = 64 * KIB
"""More than the index of a write-ahead log takes at first."""


def database_error(error: sqlite3.Error, path: Path) -> DiskError:
    """``error`` of the SQLite database at ``path`` as a `DiskError`, `NoSpaceError` when its disk is full, `AwayError`
    when that is read-only or gone."""
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the primary one; an error of our own has none
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent)):
        return NoSpaceError(f"cannot write {path}: the disk is full; free some space")
    if is_disk_trouble(error):
        return AwayError(f"cannot write {path}: {error}; is its disk there, and writable?")
    return DiskError(f"cannot use {path}: {error}; if it is damaged, move it away")


def is_disk_trouble(error: sqlite3.Error) -> bool:
    """Whether it is about the disk and not the database. Its file may be another one when the disk is well again, so it
    has to be opened anew then."""
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
    return code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)


def _is_full(directory: Path) -> bool:
    """SQLite says "disk I/O error" when there is no room for the index of its log."""
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_blocks > 0 and room.f_bavail * room.f_frsize < LOG_INDEX_BYTES
