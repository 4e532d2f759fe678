"""``gc`` as a person runs it, with and without a peer: what goes is what nobody uses, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from node.agent.library import Library, LibraryItem
from node.api_messages import ApiGetStatus
from node.disk.journal import Journal
from node.disk.mend_notes import MendNote
from node.disk.seed_store import store_seed
from node.disk.staging import staging_path
from node.disk.stamps import take_stamps
from node.disk.storage import Partial
from node.identity import load_identity
from node.local_messages import Fetch
from protocol.bitfield import Bitfield
from protocol.manifest import encode_manifest, manifest_digest
from tests.node.cli.test_process import Peer, running, until
from tests.node.disk.made_content import Made, made_file

pytestmark = pytest.mark.process

LENGTH = 200_000
NOBODY = "tcp://127.0.0.1:1"


class Left:
    """A data directory with an item, an interrupted download, one that nobody names any more, and other things."""

    def __init__(self, base: Path) -> None:
        self.peer = Peer(base / "alice", NOBODY)
        self.data_dir = self.peer.base / "data"
        self.data_dir.mkdir()
        load_identity(self.data_dir)
        shared, wanted, abandoned, stray = (made_file(LENGTH, seed=seed) for seed in range(4))
        self.kept_seed, self.wanted_seed, self.abandoned_seed, self.stray_seed = (
            store_seed(self.data_dir, encode_manifest(made.manifest)) for made in (shared, wanted, abandoned, stray)
        )
        self.wanted, self.abandoned, self.other = (self.peer.base / name for name in ("wanted", "abandoned", "other"))
        with closing(Journal(self.data_dir)) as journal, Library(self.data_dir) as library:
            path = self.peer.base / "shared"
            path.write_bytes(bytes(shared.data))
            digest = manifest_digest(encode_manifest(shared.manifest), "blake3")
            stamps = take_stamps(path, shared.manifest)
            library.put_item(
                LibraryItem(
                    str(path), "shared", shared.manifest.digest, digest, path.name, LENGTH, str(self.kept_seed), stamps
                )
            )
            self._begin(wanted, self.wanted, self.wanted_seed, journal)
            digest = manifest_digest(encode_manifest(wanted.manifest), "blake3")
            library.put_download(
                Fetch(
                    wanted.manifest.digest,
                    digest,
                    "wanted",
                    LENGTH,
                    str(self.wanted),
                    str(self.wanted_seed),
                    force=False,
                    sequential=False,
                )
            )
            self._begin(abandoned, self.abandoned, self.abandoned_seed, journal)
        self._begin(stray, self.other, self.stray_seed, None)
        self.notes = self.data_dir / "seeds" / "notes.seed"
        self.notes.write_text("a person's")
        self.damaged = self.data_dir / "journal.db.damaged-1"
        self.damaged.write_text("x")
        MendNote(self.data_dir, stray.manifest.digest).draft(str(self.other), b"")
        (self.note,) = (self.data_dir / "mends").iterdir()
        (self.data_dir / "mends" / "a person's").write_text("x")

    def _begin(self, made: Made, dest: Path, seed: Path, journal: Journal | None) -> None:
        """Have one piece of it; ``journal`` None: another peer's."""
        partial = Partial.open(made.manifest, dest, force=False)
        partial.write(0, made.piece(0))
        partial.sync()
        partial.close()
        bits = Bitfield(made.manifest.piece_count)
        bits.set(0)
        if journal is not None:
            journal.start(made.manifest.digest, str(seed), str(dest), bits.to_bytes())

    def check_untouched(self) -> None:
        """What must never go is there."""
        assert self.kept_seed.exists()
        assert self.wanted_seed.exists()
        assert staging_path(self.wanted).is_dir()
        assert staging_path(self.other).is_dir()
        assert self.notes.exists()
        assert (self.data_dir / "mends" / "a person's").exists()
        assert (self.peer.base / "shared").exists()


@pytest.fixture(params=["alone", "with a peer"])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    made = Left(tmp_path)
    if request.param == "alone":
        yield made
    else:
        with running("node", *made.peer.options):
            until(made.peer.is_up, "the peer")
            until(lambda: len(made.peer.ask(ApiGetStatus(1)).pids) == 3, "its processes")
            yield made


def test_what_nobody_uses_is_removed_and_named(left: Left) -> None:
    gone = {
        str(staging_path(left.abandoned)),
        str(left.abandoned_seed),
        str(left.stray_seed),
        str(left.damaged),
        str(left.note),
    }
    found = left.peer.json("gc", "--dry-run")
    assert {each["path"] for each in found["removed"]} == gone
    assert found["bytes"] > 65_536
    assert found["left"] == []
    assert all(Path(path).exists() for path in gone)
    said = left.peer.run("gc")
    assert {line.split("  ")[1] for line in said.stdout.splitlines()} == gone
    assert "removed 5 things" in said.stderr
    assert not any(Path(path).exists() for path in gone)
    left.check_untouched()
    assert left.peer.run("gc").stderr == "nothing to remove\n"
    left.check_untouched()


def test_in_a_directory_that_no_peer_had_nothing_is_touched(tmp_path: Path) -> None:
    peer = Peer(tmp_path / "alice", NOBODY)
    seeds = peer.base / "data" / "seeds"
    seeds.mkdir(parents=True)
    (seeds / f"{'a' * 64}.seed").write_text("somebody else's")
    assert peer.json("gc")["removed"] == []
    assert [path.name for path in (peer.base / "data").iterdir()] == ["seeds"]
    assert (seeds / f"{'a' * 64}.seed").exists()
