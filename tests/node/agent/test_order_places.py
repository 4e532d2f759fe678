"""Where orders are carried out: below one directory, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.agent.order_places import free_bytes, prepare_place
from protocol.errors import DiskError, SeedError
from protocol.orders import check_directory, is_for


def test_directories_are_made_as_far_as_they_are_missing(tmp_path: Path) -> None:
    base = tmp_path / "not" / "there"
    assert prepare_place(base, "") == base
    assert prepare_place(base, "a/b") == base / "a" / "b"
    assert prepare_place(base, "a/b").is_dir()


def test_the_base_may_be_a_link_and_nothing_below_it(tmp_path: Path) -> None:
    outside, base = tmp_path / "outside", tmp_path / "base"
    outside.mkdir()
    base.symlink_to(outside)
    assert prepare_place(base, "a") == base / "a"
    (outside / "way").symlink_to(tmp_path)
    (outside / "dangling").symlink_to(tmp_path / "nothing")
    for escape in ("way", "way/out", "dangling"):
        with pytest.raises(DiskError, match="symbolic link"):
            prepare_place(base, escape)
    (outside / "file").touch()
    with pytest.raises(DiskError, match="not a directory"):
        prepare_place(base, "file/x")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("directory", ["..", "a/../..", "/etc", "a//b", ".", "a/", "a\0b", "x" * 300])
def test_no_text_leads_out_of_it(tmp_path: Path, directory: str) -> None:
    with pytest.raises(SeedError):
        prepare_place(tmp_path, directory)
    with pytest.raises(SeedError):
        check_directory(directory)


def test_free_space_is_that_of_the_file_system_it_will_be_on(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "there") > 0
    (tmp_path / "file").touch()
    assert free_bytes(tmp_path / "file" / "x") == 0


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [("", "x", True), ("lab7", "Lab7", True), ("lab", "lab7", False), ("lab*", "lab7", True), ("[ab]?", "b1", True)],
)
def test_a_pattern_is_for_whole_names(pattern: str, name: str, expected: bool) -> None:
    assert is_for(pattern, name) is expected
