"""Symbolic links in a tree that is shared: followed into directories that a person named, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.disk.content import Content, ContentChangedError
from node.disk.hashing import Hashed, hash_content
from node.disk.share_options import ShareOptions
from node.disk.tree_scan import UnstableContentError, scan
from protocol.errors import DiskError, UsageError


def put(root: Path, files: dict[str, str]) -> Path:
    """Files by path; a text of ``-> TARGET`` makes a link."""
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text[3:])
        else:
            place.write_text(text)
    return root


def hashed(path: Path, *link_roots: Path) -> Hashed:
    return hash_content(path, "blake3", options=ShareOptions(tuple(map(str, link_roots))))


def paths(found: Hashed) -> list[str]:
    return [file.path for file in found.manifest.files or ()]


CACHE = {
    "blobs/1": "one",
    "blobs/2": "two",
    "snapshots/REV/config": "-> ../../blobs/1",
    "snapshots/REV/deep/weights": "-> ../../../blobs/2",
}


def test_a_tree_of_links_is_refused_with_the_way_out(tmp_path: Path) -> None:
    snapshot = put(tmp_path, CACHE) / "snapshots/REV"
    with pytest.raises(UsageError, match=r"2 symbolic links .*config.*--follow-links"):
        hashed(snapshot)
    with pytest.raises(UsageError, match=r"2 symbolic links .*--link-root DIR"):
        hashed(snapshot, snapshot)


def test_links_into_a_named_root_are_what_they_lead_to(tmp_path: Path) -> None:
    cache = put(tmp_path / "models--x", CACHE)
    plain = put(tmp_path / "REV", {"config": "one", "deep/weights": "two"})
    found = hashed(cache / "snapshots/REV", cache)
    assert found.manifest == hashed(plain).manifest
    assert not found.skipped
    content = Content(found.manifest, cache / "snapshots/REV", found.stamps)
    assert content.read(0) == b"onetwo"
    content.close()


def test_the_root_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    put(tmp_path / "models--x", CACHE)
    (tmp_path / "cache").symlink_to("models--x")
    assert paths(hashed(tmp_path / "cache/snapshots/REV", tmp_path / "cache")) == ["config", "deep/weights"]


def test_what_leads_out_or_nowhere_is_left_out(tmp_path: Path) -> None:
    secret = put(tmp_path, {"secret": "s", "tree-2/secret": "s", "tree/real": "r"})
    tree = put(
        tmp_path / "tree",
        {
            "a": "-> ../secret",
            "b": "-> /etc",
            "c": "-> nothing",
            "d": "-> d",
            "e": "-> ../tree-2/secret",
            "f": "-> g",
            "g": "-> ../secret",
            "in": f"-> {tmp_path}/tree/real",
        },
    )
    assert secret
    found = hashed(tree, tree)
    assert paths(found) == ["in", "real"]
    assert found.skipped.links == 7


def test_directories_too(tmp_path: Path) -> None:
    tree = put(tmp_path / "tree", {"one/x": "x", "one/sub/y": "y", "two": "-> one", "one/sub/z": "-> ../x"})
    found = hashed(tree, tree)
    assert paths(found) == ["one/sub/y", "one/sub/z", "one/x", "two/sub/y", "two/sub/z", "two/x"]
    content = Content(found.manifest, tree, found.stamps)
    assert content.read(0) == b"yxxyxx"
    content.close()


@pytest.mark.parametrize(
    "links",
    [
        {"loop": "-> ."},
        {"a/loop": "-> .."},
        {"a/b": "-> ../c", "c/d": "-> ../a"},
        {"a/up": "-> ../.."},
        {"a/b": "-> ../c", "c/d": "-> ../e", "e/f/g": "-> ../../c"},
    ],
)
def test_loops_are_refused(tmp_path: Path, links: dict[str, str]) -> None:
    put(tmp_path / "tree", {"file": "x", **links})
    with pytest.raises(DiskError, match="would never end"):
        hashed(tmp_path / "tree", tmp_path)


def test_a_tree_that_explodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.disk.tree_scan.FOLLOWED_COUNT_MAX", 1_000)
    links = {f"{level}/{side}": f"-> ../{level + 1}" for level in range(30) for side in "lr"}
    put(tmp_path, {**links, "30/file": "x"})
    with pytest.raises(DiskError, match="more than 1000"):
        hashed(tmp_path, tmp_path)


def test_a_fifo_behind_a_link_is_left_out(tmp_path: Path) -> None:
    tree = put(tmp_path / "tree", {"file": "x", "link": "-> fifo"})
    os.mkfifo(tree / "fifo")
    assert hashed(tree, tree).skipped.special == 2


def test_another_target_is_a_change(tmp_path: Path) -> None:
    tree = put(tmp_path / "tree", {"a": "1", "b": "1", "link": "-> a"})
    roots = [str(tree)]
    before = scan(tree, roots).fingerprint()
    found = hashed(tree, tree)
    (tree / "link").unlink()
    (tree / "link").symlink_to("b")
    assert scan(tree, roots).fingerprint() != before
    (tree / "b").write_text("2")
    content = Content(found.manifest, tree, found.stamps)
    with pytest.raises(ContentChangedError):
        content.read(0)
    content.close()


@pytest.mark.parametrize("link_roots", [(), ("tree",)])
def test_a_link_that_is_put_there_after_the_look_is_not_read(
    tmp_path: Path, link_roots: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it leads to, even if all is as it was at the end."""
    tree = put(tmp_path, {"secret": "s", "tree/a": "1"}) / "tree"

    def scan_and_swap(path: Path, roots: Sequence[str]) -> object:
        found = scan(path, roots)
        (tree / "a").rename(tmp_path / "away")
        (tree / "a").symlink_to(tmp_path / "secret")
        return found

    monkeypatch.setattr("node.disk.hashing.scan", scan_and_swap)
    with pytest.raises(UnstableContentError, match="replaced"):
        hashed(tree, *(tmp_path / root for root in link_roots))
