"""Kept seeds: written whole or not at all, checked when read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from node.disk.seed_store import load_seed, seed_path, store_seed
from node.disk.unused import collect_unused
from protocol.digest import format_digest
from protocol.errors import DiskError, NotFoundError, SeedError
from protocol.manifest import FileEntry, Manifest, encode_manifest, manifest_digest

MANIFEST = Manifest(5, 65_536, format_digest("sha256", bytes(32)), bytes(32), None, ())
ENCODED = encode_manifest(MANIFEST)


def test_store_and_load(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = store_seed(tmp_path / "data", ENCODED)
    assert path == seed_path(tmp_path / "data", manifest_digest(ENCODED, "sha256"))
    assert path.read_bytes() == ENCODED
    assert load_seed(path) == MANIFEST


def test_storing_again_writes_nothing(tmp_path: Path) -> None:
    path = store_seed(tmp_path, ENCODED)
    before = path.stat()
    assert store_seed(tmp_path, ENCODED) == path
    assert path.stat().st_ino == before.st_ino
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_storing_mends_a_damaged_one(tmp_path: Path) -> None:
    path = store_seed(tmp_path, ENCODED)
    path.write_bytes(ENCODED[:-1])
    assert load_seed(store_seed(tmp_path, ENCODED)) == MANIFEST


def test_unsafe_seed_is_not_stored(tmp_path: Path) -> None:
    files = (FileEntry("../a.bin", MANIFEST.length, False),)
    with pytest.raises(SeedError, match="points elsewhere"):
        store_seed(tmp_path, encode_manifest(msgspec.structs.replace(MANIFEST, files=files)))
    assert list(tmp_path.iterdir()) == []


def test_damaged_or_missing_seed(tmp_path: Path) -> None:
    path = store_seed(tmp_path, ENCODED)
    path.write_bytes(ENCODED.replace(MANIFEST.pieces, b"x" * 32))
    with pytest.raises(SeedError, match="its digest is not its name"):
        load_seed(path)
    path.unlink()
    with pytest.raises(NotFoundError, match="is gone"):
        load_seed(path)


def test_disk_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("node.disk.seed_store.os.fsync", fail)
    with pytest.raises(DiskError, match="the disk is full; free some space"):
        store_seed(tmp_path, ENCODED)
    assert list((tmp_path / "seeds").iterdir()) == []
    with pytest.raises(DiskError, match="Is a directory"):
        load_seed(tmp_path)


def test_unused_seeds_are_not_deleted_through_a_link(tmp_path: Path) -> None:
    shared, data_dir = tmp_path / "shared", tmp_path / "data"
    shared.mkdir()
    data_dir.mkdir()
    path = store_seed(shared, ENCODED)
    (data_dir / "seeds").symlink_to(path.parent)
    assert collect_unused(data_dir, (), dry_run=False) == []
    assert [unused.path for unused in collect_unused(shared, (), dry_run=False)] == [str(path)]
