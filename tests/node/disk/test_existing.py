"""node.disk.existing: what is there already is found out before anything is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.disk.errors import StoppedError
from node.disk.existing import existing_matches
from node.disk.staging import staging_path
from node.disk.storage import Partial
from tests.node.disk.made_content import Made, made_file, made_tree, names

FILE = made_file()
TREE = made_tree()


@pytest.mark.parametrize("made", [FILE, TREE, made_file(0), made_tree({}), made_tree({}, ["e"])])
def test_the_same_content(made: Made, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    assert not existing_matches(dest, made.manifest)
    made.put(dest)
    seen: list[int] = []
    assert existing_matches(dest, made.manifest, seen.append)
    assert seen == sorted(seen)
    assert seen[-1:] == ([made.manifest.length] if made.data else [])


def replace_by_link(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / path.name))


CHANGES: list[Callable[[Path], object]] = [
    lambda root: (root / "big").write_bytes(b"short"),
    lambda root: (root / "big").write_bytes(bytes((root / "big").stat().st_size)),
    lambda root: (root / "big").unlink(),
    lambda root: (root / "zero").write_bytes(b"1"),
    lambda root: (root / "void").rmdir(),
    lambda root: (root / "void" / "more").mkdir(),
    lambda root: (root / "void" / "more").write_text(""),
    lambda root: (root / "more").mkdir(),
    lambda root: (root / "more").write_text(""),
    lambda root: (root / "a" / "tool").chmod(0o644),
    lambda root: (root / "big").chmod(0o755),
    lambda root: replace_by_link(root / "big"),
    lambda root: replace_by_link(root / "a"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_tree_that_differs(change: Callable[[Path], object], tmp_path: Path) -> None:
    root = TREE.put(tmp_path / "dest")
    change(root)
    assert not existing_matches(root, TREE.manifest)


def test_a_file_that_differs(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.write_bytes(FILE.data[:-1] + b"?")
    assert not existing_matches(dest, FILE.manifest)
    dest.write_bytes(FILE.data + b"?")
    assert not existing_matches(dest, FILE.manifest)
    dest.unlink()
    os.mkfifo(dest)
    assert not existing_matches(dest, FILE.manifest)
    FILE.put(tmp_path / "other")
    dest.unlink()
    dest.symlink_to(tmp_path / "other")
    assert not existing_matches(dest, FILE.manifest)
    assert not existing_matches(tmp_path / "other" / "below", FILE.manifest)
    assert not existing_matches(tmp_path, FILE.manifest)
    assert not existing_matches(tmp_path / "other", TREE.manifest)


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    FILE.put(tmp_path / "dest")
    with pytest.raises(StoppedError):
        existing_matches(tmp_path / "dest", FILE.manifest, None, lambda: True)


def test_what_a_killed_publish_left_is_cleared(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    Partial.open(TREE.manifest, dest).close()
    TREE.put(dest)
    assert existing_matches(dest, TREE.manifest)
    assert names(tmp_path) == ["dest"]


def test_a_partial_of_something_else_is_left_alone(tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    Partial.open(FILE.manifest, dest).close()
    TREE.put(dest)
    assert existing_matches(dest, TREE.manifest)
    assert staging_path(dest).exists()
    dest.rename(tmp_path / "away")
    partial = Partial.open(TREE.manifest, dest)
    (tmp_path / "away").rename(dest)
    assert existing_matches(dest, TREE.manifest)
    assert staging_path(dest).exists()
    partial.discard()
