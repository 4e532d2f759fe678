"""What the downloader knows to be on disk, for the run after a crash: one SQLite row for each download.

Owned by the downloader of a data directory. A row says which seed goes where and which pieces are durable there;
they are hashed again before they are believed. The file losing its mind costs no data: it is moved aside, and a
download without a row has the whole of its partial content checked. One that cannot be made or written, on a full disk
above all, is an error of each call until it can: the process that owns it goes on.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from node.disk.databases import database_error, is_disk_trouble
from node.disk.store import JournalEntry

JOURNAL_NAME = "journal.db"
_VERSION = 1
BUSY_SECONDS = 5.0
"""How long to wait for the downloader before us to let go of it."""
_TABLE = """
CREATE TABLE IF NOT EXISTS downloads (
    digest TEXT PRIMARY KEY, seed_path TEXT NOT NULL, dest TEXT NOT NULL, bits BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""

log = logging.getLogger(__name__)


class Journal:
    """``data_dir/journal.db``. Any thread may call; each call is one transaction, durable when it returns, or raises
    `DiskError` (`NoSpaceError` when the data directory's disk is full) and has changed nothing."""

    def __init__(self, data_dir: Path) -> None:
        """Open or make the journal; a damaged one is moved aside with a line in the log, and one that the disk does not
        allow now is tried again at each call. Raises `DiskError` when there is no ``data_dir``, or another process has
        its journal."""
        self._path = data_dir / JOURNAL_NAME
        self._lock = threading.Lock()
        self._open_connection: sqlite3.Connection | None = None
        self._is_made = False
        """There was one, so none is made where it is not: its disk may be away."""
        try:
            self._connection()
        except sqlite3.Error as error:
            if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or not data_dir.is_dir():
                raise database_error(error, self._path) from error
            log.warning("downloads wait: %s", database_error(error, self._path))

    def start(self, digest: str, seed_path: str, dest: str, bits: bytes) -> None:
        """``digest`` is being downloaded to ``dest``, and of it the pieces of ``bits`` are durable. Replaces what was
        noted of that content before."""
        with self._lock:
            self._do("INSERT OR REPLACE INTO downloads VALUES (?, ?, ?, ?)", digest, seed_path, dest, bits)

    def record(self, digest: str, bits: bytes) -> None:
        """The pieces of ``bits`` are durable (`Partial.sync` returned them). Nothing happens without a row."""
        with self._lock:
            self._do("UPDATE downloads SET bits = ? WHERE digest = ?", bits, digest)

    def get(self, digest: str) -> JournalEntry | None:
        with self._lock:
            rows = self._do("SELECT digest, seed_path, dest, bits FROM downloads WHERE digest = ?", digest)
        return JournalEntry(*rows[0]) if rows else None

    def entries(self) -> list[JournalEntry]:
        """All rows."""
        with self._lock:
            return [JournalEntry(*row) for row in self._do("SELECT digest, seed_path, dest, bits FROM downloads")]

    def remove(self, digest: str) -> None:
        """The download is published or cancelled."""
        with self._lock:
            self._do("DELETE FROM downloads WHERE digest = ?", digest)

    def close(self) -> None:
        with self._lock:
            if self._open_connection is not None:
                self._open_connection.close()

    def _connection(self) -> sqlite3.Connection:
        if self._open_connection is None:
            try:
                self._open_connection = _open(self._path, self._is_made)
            except sqlite3.DatabaseError as error:
                # An OperationalError is about the disk or the directory, not about what is in the file.
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._replace(error)
                self._open_connection = _open(self._path)
            self._is_made = True
        return self._open_connection

    def _replace(self, damage: sqlite3.DatabaseError) -> None:
        try:
            aside = _move_aside(self._path)
        except OSError as error:
            raise sqlite3.OperationalError(f"it is damaged ({damage}) and in the way: {error.strerror}") from error
        log.warning("the journal was damaged (%s) and is now %s; partial downloads are checked in full", damage, aside)

    def _do(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if is_disk_trouble(error) and self._open_connection is not None:
                with contextlib.suppress(sqlite3.Error):  # what it could not write is lost with the disk it was on
                    self._open_connection.close()
                self._open_connection = None
            raise database_error(error, self._path) from error


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite; 0 for an error of our own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _open(path: Path, is_there: bool = False) -> sqlite3.Connection:
    # One process uses it: exclusive locking needs no shared memory, which a data directory on NFS could not give.
    uri = f"file:{quote(str(path))}?mode={'rw' if is_there else 'rwc'}"
    connection = sqlite3.connect(uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"written by another version of this program ({version})")
        if version == 0:  # a full disk must not keep us from reading what is there
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _move_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm", "-journal"):
        extra = path.with_name(path.name + suffix)
        if extra.exists():
            extra.rename(aside.with_name(aside.name + suffix))
    return aside
