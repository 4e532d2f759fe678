"""Database of what this peer shares and what it is to download, so that a restart hashes nothing and forgets nothing.

``DATA_DIR/library.db``, an SQLite database that the agent owns; while no peer runs, `node.stored` opens it. A killed
process loses nothing; a power cut may lose the last changes, which costs hashing them again. `node.agent.catalogue`
decides which items are announced; `node.disk.journal` has the progress of downloads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from msgspec import MsgspecError, Struct, convert, json

from node.disk.databases import database_error, is_disk_trouble
from node.disk.share_options import AS_USUAL, ShareOptions
from node.local_messages import Fetch
from protocol.errors import DiskError
from protocol.messages import Moment, Order

Origin = Literal["shared", "folder", "downloaded"]
"""Respectively: shared by command or configuration, or changed since it was fetched; found in a shared folder;
fetched."""

ItemState = Literal["", "missing", "changed", "damaged"]
"""Why an item is not served: nothing is at its path; a read found other bytes, and it is hashed again; it holds other
bytes though nobody wrote to it. Empty: it is served."""

SCHEMA_VERSION = 5
_SCHEMA = """
CREATE TABLE items (
    path TEXT PRIMARY KEY, origin TEXT NOT NULL, digest TEXT NOT NULL, manifest TEXT NOT NULL, name TEXT NOT NULL,
    length INTEGER NOT NULL, seed_path TEXT NOT NULL, stamps BLOB NOT NULL, fingerprint BLOB NOT NULL,
    options TEXT NOT NULL DEFAULT '{}', state TEXT NOT NULL, detail TEXT NOT NULL, since REAL NOT NULL,
    announced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_DOWNLOADS = """
CREATE TABLE downloads (
    dest TEXT PRIMARY KEY, digest TEXT NOT NULL, manifest TEXT NOT NULL, name TEXT NOT NULL, length INTEGER NOT NULL,
    seed_path TEXT NOT NULL, force INTEGER NOT NULL, sequential INTEGER NOT NULL, superseded INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE asked (path TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
_FROM_1 = f"""
ALTER TABLE downloads RENAME TO downloads_1;
{_DOWNLOADS}
INSERT OR REPLACE INTO downloads
    SELECT dest, digest, manifest, name, length, seed_path, 0, sequential, 0 FROM downloads_1;
DROP TABLE downloads_1;
"""
_FROM_2 = """
ALTER TABLE items ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE items ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN detail TEXT NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN since REAL NOT NULL DEFAULT 0;
"""
_KEEP = "ALTER TABLE downloads ADD COLUMN keep INTEGER NOT NULL DEFAULT 0;"
_FROM_3 = "ALTER TABLE items ADD COLUMN announced INTEGER NOT NULL DEFAULT 0;" + _KEEP
_FROM_4 = """
ALTER TABLE items ADD COLUMN signatures BLOB NOT NULL DEFAULT x'';
ALTER TABLE downloads ADD COLUMN signatures BLOB NOT NULL DEFAULT x'';
"""

_KEPT = "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID"
"""Other data, as JSON by name. Versions that do not know a name leave it alone."""
_ORDERS = "orders"

_FORGET_ASKED = """
DELETE FROM asked WHERE path = ? AND NOT EXISTS (SELECT 1 FROM items WHERE items.path = asked.path)
    AND NOT EXISTS (SELECT 1 FROM downloads WHERE dest = asked.path)
"""

LIBRARY_NAME = "library.db"
_SCRIPTS = {
    0: _SCHEMA + _DOWNLOADS + _KEEP + _FROM_4,
    1: _FROM_1 + _FROM_2 + _FROM_3 + _FROM_4,
    2: _FROM_2 + _FROM_3 + _FROM_4,
    3: _FROM_3 + _FROM_4,
    4: _FROM_4,
}
"""How to convert a database of each older version to this one; 0 is an empty one. Stamps of older versions have no
change time, so they differ and everything is hashed again."""
Row = TypeVar("Row", bound=Struct)
_BYTES = (bytes,)


class TakenOrder(Struct, frozen=True):
    """An order of another peer that is being, or was, carried out: content ``digest`` to path ``dest``."""

    order: str
    digest: str
    dest: str


class KeptOrders(Struct, frozen=True):
    """Orders that this peer gives, and that it has taken."""

    given: list[Order] = []
    taken: list[TakenOrder] = []


class LibraryItem(Struct, frozen=True):
    """Whole content at absolute ``path``. ``digest`` and ``manifest`` are written digests, ``length`` is in bytes.
    ``stamps`` (`node.disk.stamps`) and ``fingerprint`` (`node.disk.tree_scan`; empty: not known) are of when it was
    hashed, with ``options``. ``state`` says whether it is served, ``detail`` why not, for a person, and ``since`` when:
    `time.time`. ``announced`` is the tracker's timestamp, or `ANEW`. ``signatures``: verified signatures, one after
    another, each by another key."""

    path: str
    origin: Origin
    digest: str
    manifest: str
    name: str
    length: int
    seed_path: str
    stamps: bytes
    fingerprint: bytes = b""
    options: ShareOptions = AS_USUAL
    state: ItemState = ""
    detail: str = ""
    since: float = 0.0
    announced: Moment = 0
    signatures: bytes = b""


class Library:
    """Items by path, downloads by destination. Use it from one thread, and close it. Every method raises `DiskError`
    when the database cannot be read or written.

    ``run`` names the run of the peer, from the start of its supervisor to its end: items and downloads put into the
    library count as `asked` for in it. With ``read_only`` the agent may have the database open too.
    """

    def __init__(self, data_dir: Path, run: str = "", read_only: bool = False) -> None:
        self._data_dir = data_dir
        self._path = data_dir / LIBRARY_NAME
        self._run = run
        with self._translated():
            self._open("ro" if read_only else "rwc")
        try:
            with self._translated():
                self._check_version() if read_only else self._prepare()
        except BaseException:
            self._db.close()
            raise

    def items(self) -> list[LibraryItem]:
        """All items, by path."""
        return self._rows("items", LibraryItem, "path")

    def put_item(self, item: LibraryItem) -> None:
        """Keep ``item``, in place of what had its path."""
        self._put("items", item, item.path)

    def remove_item(self, path: str) -> None:
        """Forget the item at ``path``, if there is one."""
        self._remove("items", "path", path)

    def downloads(self) -> list[Fetch]:
        """All downloads, by destination."""
        return self._rows("downloads", Fetch, "dest")

    def put_download(self, download: Fetch) -> None:
        """Keep ``download``, in place of what had its destination."""
        self._put("downloads", download, download.dest)

    def remove_download(self, dest: str) -> None:
        """Forget the download to ``dest``, if there is one."""
        self._remove("downloads", "dest", dest)

    def orders(self) -> KeptOrders:
        """What was kept last."""
        rows = self._execute("SELECT value FROM kept WHERE name = ?", (_ORDERS,))
        with self._translated():
            return json.decode(rows[0][0], type=KeptOrders) if rows else KeptOrders()

    def keep_orders(self, orders: KeptOrders) -> None:
        """Keep ``orders``, in place of those that were kept."""
        self._execute(
            "INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)", (_ORDERS, json.encode(orders).decode())
        )

    def asked(self) -> frozenset[str]:
        """Paths of the items and downloads that there are and that were put in this run."""
        return frozenset(path for (path,) in self._execute("SELECT path FROM asked WHERE run = ?", (self._run,)))

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, mode: str) -> None:
        # Each statement is its own transaction.
        self._db = sqlite3.connect(f"file:{quote(str(self._path))}?mode={mode}", isolation_level=None, uri=True)
        self._is_stale = False

    def _reopen(self) -> None:
        """After the disk has failed. None is made where it is not: the disk may be away."""
        if self._is_stale:
            with suppress(sqlite3.Error):
                self._db.close()
            self._open("rw")
            self._db.execute("PRAGMA synchronous = NORMAL")

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version in _SCRIPTS:
            self._db.executescript(f"BEGIN; {_SCRIPTS[version]} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        self._check_version()
        self._db.execute(_KEPT)
        with suppress(sqlite3.OperationalError):  # a full disk: another time
            self._db.execute("DELETE FROM asked WHERE run != ?", (self._run,))

    def _check_version(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version in _SCRIPTS:
            raise DiskError(f"{self._path} has an older format; start a peer once to convert it")
        if version != SCHEMA_VERSION:
            raise DiskError(f"{self._path} has format {version}; this program knows {SCHEMA_VERSION}: move it away")

    def _rows(self, table: str, kind: type[Row], key: str) -> list[Row]:
        fields = kind.__struct_fields__
        rows = self._execute(f"SELECT {', '.join(fields)} FROM {table} ORDER BY {key}", ())
        with self._translated():
            # Not strict: SQLite has 0 and 1 for truth values.
            return [
                convert(self._loaded(dict(zip(fields, row, strict=True))), kind, strict=False, builtin_types=_BYTES)
                for row in rows
            ]

    def _put(self, table: str, row: Struct, path: str) -> None:
        fields = row.__struct_fields__
        values = tuple(self._stored(field, getattr(row, field)) for field in fields)
        marks = ", ".join("?" * len(fields))
        with self._translated(), self._transaction():
            self._db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(fields)}) VALUES ({marks})", values)
            self._db.execute("INSERT OR REPLACE INTO asked (path, run) VALUES (?, ?)", (path, self._run))

    def _remove(self, table: str, key: str, path: str) -> None:
        with self._translated(), self._transaction():
            self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (path,))
            self._db.execute(_FORGET_ASKED, (path,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._reopen()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back some errors by itself, a full disk among them
                self._db.execute("ROLLBACK")
            raise

    def _execute(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._translated():
            self._reopen()
            return self._db.execute(statement, values).fetchall()

    def _stored(self, field: str, value: object) -> object:
        """A field as SQLite has it: options as JSON, and seeds where they are in the data directory, which may be moved
        or copied."""
        if field == "seed_path" and Path(str(value)).is_relative_to(self._data_dir):
            return str(Path(str(value)).relative_to(self._data_dir))
        return json.encode(value).decode() if isinstance(value, ShareOptions) else value

    def _loaded(self, fields: dict[str, Any]) -> dict[str, Any]:
        if fields["seed_path"]:
            fields["seed_path"] = str(self._data_dir / fields["seed_path"])
        if "options" in fields:
            fields["options"] = json.decode(fields["options"])
        return fields

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise DiskError(f"{error.object!a} is not valid UTF-8; the library cannot keep it") from None
        except sqlite3.Error as error:
            self._is_stale = is_disk_trouble(error)
            raise database_error(error, self._path) from None
        except (MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DiskError(f"cannot use {self._path}: {error}; if it is damaged, move it away") from None
