"""The library: what it keeps survives being closed, or not closed at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from node.agent.library import SCHEMA_VERSION, KeptOrders, Library, LibraryItem, TakenOrder
from node.disk.share_options import ShareOptions
from node.local_messages import Fetch
from protocol.errors import DiskError
from protocol.messages import Order

DIGEST = "blake3:" + "00" * 32
ITEM = LibraryItem("/data/a b/ü", "folder", DIGEST, DIGEST, "ü", 2**42, "/seeds/0.seed", b"\0\xff" * 8, b"print")
JOB = Fetch(DIGEST, DIGEST, "ü", 2**42, "/data/ü", "", force=True, sequential=False)


def test_what_is_put_survives_a_restart(tmp_path: Path) -> None:
    other = msgspec.structs.replace(ITEM, path="/data/0", origin="downloaded", signatures=bytes(range(208)))
    signed = msgspec.structs.replace(JOB, dest="/data/0", signatures=bytes(range(104)))
    with Library(tmp_path) as library:
        library.put_item(ITEM)
        library.put_item(other)
        library.put_download(JOB)
        library.put_download(signed)
    with Library(tmp_path) as library:
        assert library.items() == [other, ITEM]
        assert library.downloads() == [signed, JOB]


def test_orders_survive_a_restart_and_there_are_none_at_first(tmp_path: Path) -> None:
    order = Order("o1", DIGEST, DIGEST, "ü", 5, directory="a/b", cancelled=True)
    kept = KeptOrders([order], [TakenOrder("o2", DIGEST, "/rollouts/ü")])
    with Library(tmp_path) as library:
        assert library.orders() == KeptOrders()
        library.keep_orders(KeptOrders([], kept.taken))
        library.keep_orders(kept)
    with Library(tmp_path) as library:
        assert library.orders() == kept


def test_seeds_are_found_where_the_data_directory_is_now(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    with Library(before) as library:
        library.put_item(msgspec.structs.replace(ITEM, seed_path=str(before / "seeds/0.seed")))
        library.put_download(msgspec.structs.replace(JOB, seed_path=str(before / "seeds/1.seed")))
    before.rename(after)
    with Library(after) as library:
        assert [item.seed_path for item in library.items()] == [str(after / "seeds/0.seed")]
        assert [download.seed_path for download in library.downloads()] == [str(after / "seeds/1.seed")]


def test_put_replaces_and_remove_forgets(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        library.put_item(ITEM)
        changed = msgspec.structs.replace(ITEM, stamps=b"", length=0)
        library.put_item(changed)
        assert library.items() == [changed]
        library.put_download(JOB)
        stored = msgspec.structs.replace(JOB, seed_path="/seeds/0.seed")
        library.put_download(stored)
        assert library.downloads() == [stored]
        for _ in range(2):
            library.remove_item(ITEM.path)
            library.remove_download(JOB.dest)
        assert (library.items(), library.downloads()) == ([], [])


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.node.agent.test_library import ITEM, JOB\n"
        "from node.agent.library import Library\n"
        "library = Library(Path(sys.argv[1]))\n"
        "library.put_item(ITEM)\n"
        "library.put_download(JOB)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False, timeout=30)
    assert ended.returncode == -9
    with Library(tmp_path) as library:
        assert (library.items(), library.downloads()) == ([ITEM], [JOB])


def test_what_was_put_in_this_run_is_told_from_the_rest(tmp_path: Path) -> None:
    with Library(tmp_path, "one") as library:
        library.put_item(ITEM)
        library.put_download(JOB)
    other = msgspec.structs.replace(JOB, dest="/data/other")
    with Library(tmp_path, "two") as library:
        assert library.asked() == frozenset()
        library.put_download(other)
        library.put_item(ITEM)
    with Library(tmp_path, "two") as library:
        assert library.asked() == {ITEM.path, other.dest}


def test_what_was_asked_for_is_kept_for_what_there_is_and_for_the_present_run_alone(tmp_path: Path) -> None:
    download = msgspec.structs.replace(JOB, dest=ITEM.path)
    with Library(tmp_path, "one") as library:
        library.put_download(download)
        library.put_item(ITEM)
        library.put_download(JOB)
        library.remove_download(download.dest)
        assert library.asked() == {ITEM.path, JOB.dest}, "it was completed"
        library.remove_item(ITEM.path)
        assert library.asked() == {JOB.dest}
    with Library(tmp_path, "two"):
        pass
    with Library(tmp_path, "one") as library:
        assert library.asked() == frozenset()


def test_downloads_of_the_first_format_are_taken_over_without_force(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "library.db")
    database.executescript(
        "CREATE TABLE items (path TEXT PRIMARY KEY, origin TEXT NOT NULL, digest TEXT NOT NULL, manifest TEXT NOT NULL,"
        " name TEXT NOT NULL, length INTEGER NOT NULL, seed_path TEXT NOT NULL, stamps BLOB NOT NULL,"
        " fingerprint BLOB NOT NULL) STRICT, WITHOUT ROWID;"
        "CREATE TABLE downloads (digest TEXT PRIMARY KEY, manifest TEXT NOT NULL, name TEXT NOT NULL,"
        " length INTEGER NOT NULL, dest TEXT NOT NULL, seed_path TEXT NOT NULL, force INTEGER NOT NULL,"
        " sequential INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
        "INSERT INTO downloads VALUES ('d', 'm', 'n', 1, '/n', '', 1, 0); PRAGMA user_version = 1;"
    )
    database.close()
    with Library(tmp_path) as library:
        assert library.downloads() == [Fetch("d", "m", "n", 1, "/n", "", force=False, sequential=False)]
        library.put_item(ITEM)


def test_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    Library(tmp_path).close()
    database = sqlite3.connect(tmp_path / "library.db")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(DiskError, match=f"has format {SCHEMA_VERSION + 1}; this program knows {SCHEMA_VERSION}"):
        Library(tmp_path)


def test_damaged_database_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(DiskError, match="move it away"):
        Library(tmp_path)


def test_row_that_makes_no_sense(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        library.put_item(ITEM)
        library._db.execute("UPDATE items SET origin = 'elsewhere'")
        with pytest.raises(DiskError, match=r"Invalid enum value 'elsewhere'.*move it away"):
            library.items()


@pytest.mark.parametrize("text", ["", "{", "[" * 10_000])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    with Library(tmp_path) as library:
        library.put_item(ITEM)
        library.keep_orders(library.orders())
        library._db.execute("UPDATE items SET options = ?", (text,))
        library._db.execute("UPDATE kept SET value = ?", (text,))
        for read in (library.items, library.orders):
            with pytest.raises(DiskError, match="move it away"):
                read()


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="unable to open"):
        Library(tmp_path / "absent")


def test_path_that_is_no_text(tmp_path: Path) -> None:
    with Library(tmp_path) as library, pytest.raises(DiskError, match="not valid UTF-8"):
        library.put_item(msgspec.structs.replace(ITEM, path="/data/\udce9"))


def test_options_are_kept_and_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    item = msgspec.structs.replace(ITEM, options=ShareOptions(("/a", "/b"), posix_names=True))
    with Library(tmp_path) as library:
        library.put_item(item)
        assert library.items() == [item]
    database = sqlite3.connect(tmp_path / "library.db")
    for column in ("options", "state", "detail", "since", "announced", "signatures"):
        database.execute(f"ALTER TABLE items DROP COLUMN {column}")
    for column in ("keep", "signatures"):
        database.execute(f"ALTER TABLE downloads DROP COLUMN {column}")
    database.executescript("PRAGMA user_version = 2;")
    database.close()
    with Library(tmp_path) as library:
        assert library.items() == [ITEM]
