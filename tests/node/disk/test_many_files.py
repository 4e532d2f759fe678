"""node.disk.storage with trees of many files: how they are synced."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from node.disk.storage import SYNC_EACH_COUNT_MAX, Partial
from tests.node.disk.made_content import PIECE, made_tree, open_fds, tree_expected, tree_on_disk


@pytest.mark.parametrize("there_is_syncfs", [True, False])
def test_many_small_files_are_synced_at_once(
    there_is_syncfs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_tree({f"{index:04}": 2_000 for index in range(400)})
    calls = itertools.count()
    partial = Partial.open(made.manifest, tmp_path / "tree")
    monkeypatch.setattr(os, "fsync", lambda _: next(calls))
    if not there_is_syncfs:
        monkeypatch.setattr("node.disk.durable.sync_file_system", lambda _: False)
    made.write(partial)
    assert len(partial.sync()) == made.manifest.piece_count
    partial.publish()
    assert (next(calls) < SYNC_EACH_COUNT_MAX) == there_is_syncfs
    assert tree_on_disk(tmp_path / "tree") == tree_expected(made)


def test_files_that_were_closed_are_synced_through_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lost of them before they are opened again would go unnoticed otherwise."""
    made = made_tree({f"{index:04}": PIECE // 2 for index in range(200)})
    partial = Partial.open(made.manifest, tmp_path / "tree")
    before = open_fds()
    synced: list[int] = []

    def sync_file_system(fd: int) -> bool:
        synced.append(fd)
        return True

    monkeypatch.setattr("node.disk.durable.sync_file_system", sync_file_system)
    for piece in range(3):
        made.write(partial, [piece])
        assert open_fds() == before
        assert partial.sync() == [piece]
        assert len(synced) == piece + 1
    partial.discard()
