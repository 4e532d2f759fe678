"""node.disk.stamps: changed content shows without being read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.disk.errors import ContentChangedError
from node.disk.stamps import STAMP_BYTES, stamp_difference, take_stamps
from tests.node.disk.made_content import made_file, made_tree


def test_stamps_hold_while_nothing_changes(tmp_path: Path) -> None:
    made = made_tree()
    root = made.put(tmp_path / "tree")
    stamps = take_stamps(root, made.manifest)
    assert made.manifest.files is not None
    assert len(stamps) == STAMP_BYTES * len(made.manifest.files)
    assert stamps == take_stamps(root, made.manifest)
    for index, entry in enumerate(made.manifest.files):
        assert not stamp_difference((root / entry.path).stat(), stamps, index, entry.length)


def test_a_rename_of_a_tree_keeps_the_stamps(tmp_path: Path) -> None:
    made = made_tree()
    root = made.put(tmp_path / "tree")
    stamps = take_stamps(root, made.manifest)
    assert take_stamps(root.rename(tmp_path / "other"), made.manifest) == stamps


def test_write_replace_and_resize_show(tmp_path: Path) -> None:
    made = made_file()
    root = made.put(tmp_path / "file")
    length = made.manifest.length
    os.utime(root, ns=(5, 1_000_000_000))
    stamps = take_stamps(root, made.manifest)
    assert stamps[:8] == (1_000_000_000).to_bytes(8, "little")
    os.utime(root, ns=(5, 1_000_000_001))
    assert stamp_difference(root.stat(), stamps, 0, length)
    before = root.stat().st_ctime_ns
    while root.stat().st_ctime_ns == before:
        os.utime(root, ns=(5, 1_000_000_000))
    assert stamp_difference(root.stat(), stamps, 0, length), "the time was put back, the change time shows it"
    stamps = take_stamps(root, made.manifest)
    assert not stamp_difference(root.stat(), stamps, 0, length)
    assert stamp_difference(root.stat(), stamps, 0, length - 1)
    assert stamp_difference(root.stat(), stamps[:16], 0, length), "stamps of an older format"
    made.put(tmp_path / "new").rename(root)
    os.utime(root, ns=(5, 1_000_000_000))
    assert stamp_difference(root.stat(), stamps, 0, length)


def test_a_time_before_1970_fits(tmp_path: Path) -> None:
    made = made_file(10)
    root = made.put(tmp_path / "file")
    os.utime(root, ns=(0, -1))
    assert not stamp_difference(root.stat(), take_stamps(root, made.manifest), 0, 10)


def test_what_cannot_be_stamped(tmp_path: Path) -> None:
    made = made_tree()
    root = made.put(tmp_path / "tree")
    big = root / "big"
    big.rename(tmp_path / "away")
    with pytest.raises(ContentChangedError, match=r"big is gone"):
        take_stamps(root, made.manifest)
    big.symlink_to(tmp_path)
    with pytest.raises(ContentChangedError, match="no longer a regular file"):
        take_stamps(root, made.manifest)
    big.unlink()
    big.write_bytes(b"short")
    with pytest.raises(ContentChangedError, match="has 5 bytes instead of"):
        take_stamps(root, made.manifest)


def test_a_single_file_may_be_reached_through_a_link(tmp_path: Path) -> None:
    made = made_file()
    root = made.put(tmp_path / "file")
    (tmp_path / "link").symlink_to(root)
    assert take_stamps(tmp_path / "link", made.manifest) == take_stamps(root, made.manifest)
