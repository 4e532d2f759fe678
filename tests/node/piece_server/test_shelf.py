"""What a piece server has on its shelf: manifests it hands out."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.local_messages import Serve, SharedItem
from node.piece_server.shelf import Shelf
from protocol.messages import GetManifest

CONTENT = "blake3:" + 64 * "c"
FIRST, SECOND, THIRD = ("blake3:" + 64 * letter for letter in "123")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name in ("first", "second", "third"):
        (tmp_path / name).write_bytes(name.encode())
    shelf = Shelf()
    shelf.put_item(SharedItem(CONTENT, FIRST, str(tmp_path / "first"), "/content", b""))
    shelf.put_seed(SECOND, str(tmp_path / "second"))
    return shelf


def handed_out(shelf: Shelf, manifest: str) -> bytes:
    return shelf.manifest_page(GetManifest(1, CONTENT, manifest, 0)).data


def test_a_second_name_has_its_manifest_handed_out(shelf: Shelf) -> None:
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND, THIRD)] == [b"first", b"second", b""]
    shelf.remove_item(CONTENT)
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND)] == [b"", b"second"]
    shelf.remove_seed(SECOND)
    assert handed_out(shelf, SECOND) == b""


def test_another_item_in_place_takes_the_manifest_with_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put_item(SharedItem(CONTENT, THIRD, str(tmp_path / "third"), "/content", b""))
    assert [handed_out(shelf, manifest) for manifest in (FIRST, THIRD)] == [b"", b"third"]


def test_an_item_that_goes_leaves_a_download_its_manifest(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put_partial(Serve(CONTENT, FIRST, str(tmp_path / "first"), "/growing", b""))
    shelf.remove_item(CONTENT)
    assert handed_out(shelf, FIRST) == b"first"
    shelf.remove_partial(CONTENT)
    assert handed_out(shelf, FIRST) == b""


def test_a_manifest_is_handed_out_for_its_own_content_only(shelf: Shelf) -> None:
    assert shelf.manifest_page(GetManifest(1, SECOND, FIRST, 0)).total == 0
