"""What a piece server has on its shelf: manifests it hands out."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.disk.content import ContentChangedError
from node.disk.seed_store import store_seed
from node.disk.stamps import take_stamps
from node.local_messages import Serve
from node.piece_server.disk_files import DiskFiles
from node.piece_server.shelf import BOOKS_COUNT_MAX, Shelf
from protocol.bitfield import Bitfield
from protocol.errors import NotFoundError
from protocol.limits import MANIFEST_PAGE_BYTES
from protocol.manifest import encode_manifest
from protocol.messages import GetManifest, ManifestPage
from tests.node.disk.made_content import made_file
from tests.node.scene_pictures import bits, picture

CONTENT = "blake3:" + 64 * "c"
FIRST, SECOND, THIRD = ("blake3:" + 64 * letter for letter in "123")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name in ("first", "second", "third"):
        (tmp_path / name).write_bytes(name.encode())
    shelf = Shelf(DiskFiles())
    more = {SECOND: str(tmp_path / "second")}
    shelf.put_item(Serve(CONTENT, FIRST, str(tmp_path / "first"), "/content", more=more))
    return shelf


def handed_out(shelf: Shelf, manifest: str) -> bytes | None:
    """None: the content is not here."""
    page = shelf.manifest_page(GetManifest(1, CONTENT, manifest, 0))
    return None if page is None else page.data


def test_all_manifests_of_an_item_are_handed_out(shelf: Shelf) -> None:
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND, THIRD)] == [b"first", b"second", b""]
    shelf.remove_item(CONTENT)
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND)] == [None, None]


def test_another_item_in_place_takes_the_manifest_with_it(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put_item(Serve(CONTENT, THIRD, str(tmp_path / "third"), "/content"))
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND, THIRD)] == [b"", b"", b"third"]


def test_an_item_that_goes_leaves_a_download_its_manifest(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put_partial(Serve(CONTENT, FIRST, str(tmp_path / "first"), "/growing", b""))
    shelf.remove_item(CONTENT)
    assert handed_out(shelf, FIRST) == b"first"
    shelf.remove_partial(CONTENT)
    assert handed_out(shelf, FIRST) is None


def test_a_published_download_is_served_as_long_as_it_is_an_item(tmp_path: Path) -> None:
    made = made_file(1000)
    path, seed = made.put(tmp_path / "data.bin"), store_seed(tmp_path, encode_manifest(made.manifest))
    digest, stamps = made.manifest.digest, take_stamps(path, made.manifest)
    bits = Bitfield.full_of(1).to_bytes()
    shelf = Shelf(DiskFiles())
    shelf.put_partial(Serve(digest, FIRST, str(seed), str(path), bits, stamps))
    book = shelf.open(digest)
    assert book is not None
    assert book.content.read(0) == made.data
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ContentChangedError):
        book.content.read(0)
    shelf.remove_item(digest)
    assert shelf.open(digest) is None
    shelf.put_partial(Serve(digest, FIRST, str(seed), str(path), bits, stamps))
    shelf.put_item(Serve(digest, FIRST, str(seed), str(path), stamps=stamps))
    shelf.remove_item(digest)
    assert shelf.open(digest) is None


def test_a_download_says_which_of_its_pieces_others_relay(tmp_path: Path) -> None:
    made = made_file()
    seed = str(store_seed(tmp_path, encode_manifest(made.manifest)))

    def said(have: str, spread: bytes) -> Serve:
        return Serve(
            made.manifest.digest, FIRST, seed, str(made.put(tmp_path / "f")), bits(have).to_bytes(), spread=spread
        )

    shelf = Shelf(DiskFiles())

    def spread() -> str:
        book = shelf.open(made.manifest.digest)
        assert book is not None
        assert book.spread is not None
        return picture(book.spread)

    shelf.put_partial(said("*** ", bits(" *  ").to_bytes()))
    shelf.gained(made.manifest.digest, [3])
    assert spread() == " * *"
    shelf.put_partial(said("****", bits("  * ").to_bytes()))
    assert spread() == "  * "
    shelf.put_partial(said("****", b""))
    assert spread() == "    "
    shelf.close()
    assert spread() == "    "


def test_books_nobody_uses_are_closed(tmp_path: Path) -> None:
    shelf = Shelf(DiskFiles())
    digests = []
    for number in range(BOOKS_COUNT_MAX + 3):
        made = made_file(100, seed=number)
        path, seed = made.put(tmp_path / str(number)), store_seed(tmp_path, encode_manifest(made.manifest))
        digests.append(made.manifest.digest)
        shelf.put_item(Serve(digests[-1], FIRST, str(seed), str(path), stamps=take_stamps(path, made.manifest)))
        shelf.open(digests[-1])
    shelf.open(digests[1])
    assert shelf.idle(lambda digest: digest == digests[0]) == digests[2:5]
    assert shelf.idle(lambda _: False) == []
    reopened = shelf.open(digests[2])
    assert reopened is not None
    shelf.close()


def test_a_manifest_is_handed_out_for_its_own_content_only(shelf: Shelf) -> None:
    assert shelf.manifest_page(GetManifest(1, SECOND, FIRST, 0)) is None


def test_a_manifest_is_read_page_by_page(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"a" * MANIFEST_PAGE_BYTES + b"rest")
    total = MANIFEST_PAGE_BYTES + 4

    def page(number: int) -> ManifestPage | None:
        return shelf.manifest_page(GetManifest(1, CONTENT, FIRST, number))

    assert page(0) == ManifestPage(1, 0, total, b"a" * MANIFEST_PAGE_BYTES)
    assert page(1) == ManifestPage(1, 1, total, b"rest")
    assert page(2) == ManifestPage(1, 2, total, b"")
    assert page(2**53) == ManifestPage(1, 2**53, total, b""), "no file has such an offset"
    (tmp_path / "first").unlink()
    with pytest.raises(NotFoundError):
        page(0)
