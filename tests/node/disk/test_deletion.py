"""`node.disk.deletion`: what was downloaded goes; what anybody changed or added stays, all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.disk import deletion
from node.disk.deletion import delete_content, delete_rest
from node.disk.staging import Staging, staging_path
from node.disk.stamps import take_stamps
from node.disk.storage import Partial
from protocol.errors import DiskError
from tests.node.disk.made_content import Made, made_file, made_tree, names, tree_on_disk


def downloaded(made: Made, dest: Path) -> bytes:
    """Its stamps."""
    partial = Partial.open(made.manifest, dest)
    for piece in range(made.manifest.piece_count):
        partial.write(piece, made.piece(piece))
    partial.sync()
    partial.publish()
    return take_stamps(dest, made.manifest)


@pytest.mark.parametrize("make", [made_file, made_tree])
def test_nothing_is_left(make: Callable[[], Made], tmp_path: Path) -> None:
    made, dest = make(), tmp_path / "x"
    stamps = downloaded(made, dest)
    (tmp_path / "beside").touch()
    delete_content(dest, made.manifest, stamps)
    assert names(tmp_path) == ["beside"]


def rewrite(dest: Path) -> None:
    file = dest if dest.is_file() else dest / "big"
    file.write_bytes(bytes(file.stat().st_size))


def replace(dest: Path) -> None:
    file = dest if dest.is_file() else dest / "big"
    copy = dest.parent / "copy"
    copy.write_bytes(file.read_bytes())
    copy.rename(file)


def link(dest: Path) -> None:
    dest.rename(dest.parent / "elsewhere")
    dest.symlink_to(dest.parent / "elsewhere")


@pytest.mark.parametrize("make", [made_file, made_tree])
@pytest.mark.parametrize("change", [rewrite, replace])
def test_what_was_changed_stays(change: Callable[[Path], None], make: Callable[[], Made], tmp_path: Path) -> None:
    made, dest = make(), tmp_path / "x"
    stamps = downloaded(made, dest)
    change(dest)
    with pytest.raises(DiskError, match="changed since"):
        delete_content(dest, made.manifest, stamps)
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("extra", ["notes", "a/b/notes", "more/notes"])
def test_a_directory_that_somebody_added_to_stays(extra: str, tmp_path: Path) -> None:
    made, dest = made_tree(), tmp_path / "x"
    stamps = downloaded(made, dest)
    (dest / extra).parent.mkdir(exist_ok=True)
    (dest / extra).write_text("mine")
    before = tree_on_disk(dest)
    with pytest.raises(DiskError, match=f"also has {extra}"):
        delete_content(dest, made.manifest, stamps)
    assert tree_on_disk(dest) == before


def test_a_directory_in_whose_place_somebody_put_a_link_stays(tmp_path: Path) -> None:
    made, dest = made_tree(), tmp_path / "x"
    stamps = downloaded(made, dest)
    (dest / "a").rename(tmp_path / "mine")
    (dest / "a").symlink_to(tmp_path / "mine")
    with pytest.raises(DiskError, match="a is a symbolic link now"):
        delete_content(dest, made.manifest, stamps)
    assert names(tmp_path) == ["mine", "x"]


def test_where_a_directory_is_protected_nothing_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, dest = made_tree(), tmp_path / "x"
    stamps = downloaded(made, dest)
    before = tree_on_disk(dest)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("/a/b"))  # root may do anything
    with pytest.raises(DiskError, match="a/b may not be written to"):
        delete_content(dest, made.manifest, stamps)
    assert tree_on_disk(dest) == before
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("make", [made_file, made_tree])
def test_what_changes_in_the_last_moment_gets_its_name_back(
    make: Callable[[], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, dest = make(), tmp_path / "x"
    stamps = downloaded(made, dest)
    check = deletion._check

    def then_change(path: Path, *rest: object, **more: bool) -> None:
        check(path, *rest, **more)  # type: ignore[arg-type]
        if not more:
            rewrite(path)

    monkeypatch.setattr(deletion, "_check", then_change)
    with pytest.raises(DiskError, match="changed since"):
        delete_content(dest, made.manifest, stamps)
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("make", [made_file, made_tree])
def test_what_a_kill_left_is_deleted_later_and_nothing_else(
    make: Callable[[], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, dest = make(), tmp_path / "x"
    stamps = downloaded(made, dest)
    with pytest.raises(DiskError, match="x is there"):
        delete_rest(dest)
    with monkeypatch.context() as killed:
        killed.setattr(Staging, "remove", Staging.close)
        delete_content(dest, made.manifest, stamps)
    assert names(tmp_path) == [".x.part"]
    delete_rest(dest)
    assert names(tmp_path) == []
    delete_rest(dest)  # it was killed just after that
    Partial.open(made.manifest, dest).close()
    with pytest.raises(DiskError, match="interrupted download"):
        delete_rest(dest)
    assert names(tmp_path) == [".x.part"]


def test_beside_an_interrupted_download_it_stays(tmp_path: Path) -> None:
    made, dest = made_file(), tmp_path / "x"
    stamps = downloaded(made, dest)
    Partial.open(made_file(seed=2).manifest, dest, force=True).close()
    with pytest.raises(DiskError, match="interrupted download"):
        delete_content(dest, made.manifest, stamps)
    assert dest.exists()
    assert (staging_path(dest) / "claim").exists()


def test_while_a_download_is_at_work_it_stays(tmp_path: Path) -> None:
    made, dest = made_file(), tmp_path / "x"
    stamps = downloaded(made, dest)
    partial = Partial.open(made_file(seed=2).manifest, dest, force=True)
    with pytest.raises(DiskError, match="another download"):
        delete_content(dest, made.manifest, stamps)
    partial.close()
    assert dest.exists()


@pytest.mark.parametrize("make", [made_file, made_tree])
def test_what_a_link_leads_to_stays(make: Callable[[], Made], tmp_path: Path) -> None:
    made, dest = make(), tmp_path / "x"
    stamps = downloaded(made, dest)
    link(dest)
    with pytest.raises(DiskError):
        delete_content(dest, made.manifest, stamps)
    assert (tmp_path / "elsewhere").exists()
    assert dest.is_symlink()
