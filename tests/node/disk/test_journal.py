"""node.disk.journal: durable, and replaceable when it is damaged."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from node.disk.errors import NoSpaceError
from node.disk.journal import JOURNAL_NAME, Journal
from node.disk.store import JournalEntry
from protocol.errors import DiskError

A, B = "blake3:" + "a" * 64, "blake3:" + "b" * 64

ROWS = [f"blake3:{number:064}" for number in range(20)]


def test_rows_outlive_the_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(B, "/seeds/b", "/dest/b", b"\x00\x00")
    journal.start(A, "/seeds/a", "/dest/a", b"\x00")
    journal.record(B, b"\x80\x01")
    journal.record("blake3:unknown", b"\xff")
    journal.close()
    journal = Journal(tmp_path)
    b = JournalEntry(B, "/seeds/b", "/dest/b", b"\x80\x01")
    assert journal.get(A) == JournalEntry(A, "/seeds/a", "/dest/a", b"\x00")
    assert journal.get(B) == b
    journal.start(B, "/seeds/b", "/elsewhere", b"\x00\x00")
    assert journal.get(B) == JournalEntry(B, "/seeds/b", "/elsewhere", b"\x00\x00")
    journal.remove(B)
    assert journal.get(B) is None
    journal.close()


def test_it_is_durable_when_a_call_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal._connection().execute("PRAGMA synchronous").fetchone() == (2,)
    journal.close()


def test_any_thread_may_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(A, "s", "d", b"\x00")
    errors: list[BaseException] = []

    def record(number: int) -> None:
        try:
            for _ in range(10):
                journal.record(A, bytes([number]))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    entry = journal.get(A)
    assert entry is not None
    assert entry.bits[0] in range(4)
    journal.close()


@pytest.mark.parametrize("damage", ["garbage", "page", "version", "schema"])
def test_a_damaged_journal_is_moved_aside(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / JOURNAL_NAME
    journal = Journal(tmp_path)
    for digest in ROWS:
        journal.start(digest, "s", "d", bytes(10_000))
    journal.close()
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 1000)
    elif damage == "page":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(20 * 4096))
    elif damage == "schema":  # SQLite quotes it, in bytes that are no text
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE \xffABLE"))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    for number in (1, 2):
        journal = Journal(tmp_path)
        assert journal.get(ROWS[7]) is None
        journal.start(A, "s", "d", b"")
        journal.close()
        assert f"{JOURNAL_NAME}.damaged-{number}" in caplog.text
        path.write_bytes(b"again no database" * 1000)


def test_two_processes_cannot_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    monkeypatch.setattr("node.disk.journal.BUSY_SECONDS", 0.01)
    with pytest.raises(DiskError, match="locked"):
        Journal(tmp_path)
    assert (tmp_path / JOURNAL_NAME).exists()
    journal.close()
    Journal(tmp_path).close()


def test_a_place_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="unable to open"):
        Journal(tmp_path / "missing")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(A, "s", "d", b"\x01")
    (pages,) = journal._connection().execute("PRAGMA page_count").fetchone()
    journal._connection().execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NoSpaceError, match="full"):
        journal.record(A, bytes(100_000))
    entry = journal.get(A)
    assert entry is not None
    assert entry.bits == b"\x01"
    journal.close()


class FullAt:
    """A disk that has no room for journals of more than ``pages`` pages; SQLite says so as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
        self.pages = pages
        real = sqlite3.connect

        def connect(path: Path, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = real(path, **options)
            connection.execute(f"PRAGMA max_page_count = {self.pages}")
            return connection

        monkeypatch.setattr("node.disk.journal.sqlite3.connect", connect)


def test_opening_it_again_writes_nothing(tmp_path: Path) -> None:
    """A full disk would refuse even that, and a killed downloader could not come back."""
    journal = Journal(tmp_path)
    journal.start(A, "s", "d", b"\x01")
    journal.close()
    journal = Journal(tmp_path)
    assert journal.get(A) is not None
    assert not (tmp_path / f"{JOURNAL_NAME}-wal").stat().st_size
    journal.close()


def test_where_there_is_no_room_to_make_it_each_call_says_so_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullAt(monkeypatch, 1)
    journal = Journal(tmp_path)
    assert "full" in caplog.text
    with pytest.raises(NoSpaceError, match="full"):
        journal.start(A, "s", "d", b"")
    with pytest.raises(NoSpaceError, match="full"):
        journal.get(A)
    disk.pages = 1_000
    journal.start(A, "s", "d", b"\x01")
    assert journal.get(A) == JournalEntry(A, "s", "d", b"\x01")
    journal.close()
