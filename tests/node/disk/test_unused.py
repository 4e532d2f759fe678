"""`node.disk.unused`: which notes of mends go."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.disk.mend_notes import MendNote
from node.disk.unused import collect_unused

USED, STALE = ("blake3:" + digit * 64 for digit in "12")


@pytest.mark.parametrize("holds", [False, True])
def test_notes_of_mends_go_unless_they_are_in_use(tmp_path: Path, holds: bool) -> None:
    used, stale = (MendNote(tmp_path, digest) for digest in (USED, STALE))
    for note in (used, stale):
        note.draft("/data/a", b"")
        if holds:
            note.hold()
    gone, stays = (
        path.with_suffix("" if holds else ".new")
        for path in (tmp_path / "mends" / ("2" * 64), tmp_path / "mends" / ("1" * 64))
    )
    for dry_run in (True, False):
        assert gone.exists()
        found = collect_unused(tmp_path, {"1" * 64}, dry_run)
        assert [(unused.kind, unused.path) for unused in found] == [("mend", str(gone))]
    assert list((tmp_path / "mends").iterdir()) == [stays]


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for directory in (mine, other):
        directory.mkdir()
    MendNote(other, STALE).draft("/data/a", b"")
    (mine / "mends").symlink_to(other / "mends")
    assert collect_unused(mine, (), dry_run=False) == []
