"""A copy is compared with the original: every byte, every name, every executable bit, every directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.content import Original, check_space, copy_content, existing
from cluster.verify import BLOCK_BYTES, Reference
from protocol.errors import DiskError, NotFoundError


def _put_file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"a")
    (root / "none").touch()
    (root / "sub" / "deep" / "größe").write_bytes(os.urandom(3_000))
    (root / "sub" / "run").write_bytes(b"#!")
    (root / "sub" / "run").chmod(0o755)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return copy_content(existing(tree), _new(tmp_path / "copies"))


def _new(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_copy_is_the_same(tree: Path, copy: Path) -> None:
    assert Reference(tree).difference(copy) == ""
    assert copy.name == tree.name
    assert not copy.samefile(tree)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda copy: (copy / "a").unlink(), "a is missing"),
        (lambda copy: (copy / "a").write_bytes(b"b"), "a differs between bytes 0 and 1"),
        (lambda copy: (copy / "a").write_bytes(b"aa"), "a has 2 bytes instead of 1"),
        (lambda copy: (copy / "new").touch(), "new is too many"),
        (lambda copy: (copy / "empty").rmdir(), "empty is missing"),
        (lambda copy: (copy / "more").mkdir(), "more is too many"),
        (lambda copy: (copy / "sub" / "run").chmod(0o644), "sub/run is a file instead of an executable file"),
        (lambda copy: (copy / "a").chmod(0o755), "a is an executable file instead of a file"),
        (lambda copy: ((copy / "none").unlink(), (copy / "none").mkdir()), "none is a directory instead of a file"),
        (
            lambda copy: ((copy / "a").unlink(), (copy / "a").symlink_to("none")),
            "a is a link or special file instead of a file",
        ),
        (shutil.rmtree, "{copy} is missing"),
        (_put_file, "is not a directory"),
    ],
)
def test_any_damage_is_found(tree: Path, copy: Path, damage: Callable[[Path], object], what: str) -> None:
    damage(copy)
    assert Reference(tree).difference(copy) == what.format(copy=copy)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1])
def test_a_file_is_compared_to_its_last_byte(tmp_path: Path, size: int) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.write_bytes(bytes(size))
    copy.write_bytes(bytes(size))
    assert Reference(original).difference(copy) == ""
    if size:
        copy.write_bytes(bytes(size - 1) + b"x")
        start = (size - 1) // BLOCK_BYTES * BLOCK_BYTES
        assert Reference(original).difference(copy) == f"differs between bytes {start} and {size}"


def test_a_link_to_the_original_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"x")
    (tmp_path / "copy").symlink_to("original")
    assert Reference(tmp_path / "original").difference(tmp_path / "copy") == "is not a regular file"


def test_links_and_special_files_are_not_part_of_what_is_shared(tree: Path, tmp_path: Path) -> None:
    (tree / "link").symlink_to("a")
    (tree / "out").symlink_to("..")
    os.mkfifo(tree / "pipe")
    copy = copy_content(existing(tree), _new(tmp_path / "copies"))
    assert not {"link", "out", "pipe"} & {path.name for path in copy.iterdir()}
    assert Reference(tree).difference(copy) == ""


def test_content_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="do not fit into"):
        check_space(tmp_path, 1 << 50, 3)
    check_space(tmp_path, 1, 3)


def test_content_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        existing(tmp_path / "nowhere")
    assert existing(tmp_path).size == 0
    with pytest.raises(DiskError, match="cannot copy"):
        copy_content(Original(tmp_path / "nowhere", "nowhere", 1), tmp_path)
