"""What a piece server has on its shelf: manifests it hands out."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.disk.content import ContentChangedError
from node.disk.seed_store import store_seed
from node.disk.stamps import take_stamps
from node.local_messages import Serve
from node.piece_server.disk_files import DiskFiles
from node.piece_server.reading import InLoop, Reading
from node.piece_server.shelf import BOOKS_COUNT_MAX, Book, Shelf
from protocol.bitfield import Bitfield
from protocol.errors import NotFoundError
from protocol.limits import MANIFEST_PAGE_BYTES
from protocol.manifest import Manifest, encode_manifest
from protocol.messages import GetManifest
from tests.node.disk.made_content import made_file
from tests.node.scene_pictures import bits, picture

CONTENT = "blake3:" + 64 * "c"
FIRST, SECOND, THIRD = ("blake3:" + 64 * letter for letter in "123")


class Scene(Shelf):
    """What is asked for is read at once."""

    def __init__(self) -> None:
        self.results: list[object] = []
        super().__init__(DiskFiles(), Reading(InLoop(), lambda _, result: self.results.append(result)))

    def result(self) -> object:
        self._reading.deliver()
        return self.results.pop()

    def opened(self, digest: str) -> Book | None:
        book, path = self.book(digest), self.seed(digest)
        if book is not None or not path:
            return book
        self.load(path, "load")
        manifest = self.result()
        assert isinstance(manifest, Manifest)
        return self.open(digest, manifest)

    def page(self, manifest: str, number: int = 0, digest: str = CONTENT) -> object:
        """None: this manifest is not here."""
        return self.result() if self.read_page(GetManifest(1, digest, manifest, number), "page") else None


@pytest.fixture
def shelf(tmp_path: Path) -> Scene:
    for name in ("first", "second", "third"):
        (tmp_path / name).write_bytes(name.encode())
    shelf = Scene()
    more = {SECOND: str(tmp_path / "second")}
    shelf.put_item(Serve(CONTENT, FIRST, str(tmp_path / "first"), "/content", more=more))
    return shelf


def handed_out(shelf: Scene, manifest: str) -> bytes | None:
    """None: this manifest is not here."""
    page = shelf.page(manifest)
    assert page is None or isinstance(page, tuple)
    return None if page is None else page[1]


def test_all_manifests_of_an_item_are_handed_out(shelf: Scene) -> None:
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND, THIRD)] == [b"first", b"second", None]
    shelf.remove_item(CONTENT)
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND)] == [None, None]


def test_another_item_in_place_takes_the_manifest_with_it(shelf: Scene, tmp_path: Path) -> None:
    shelf.put_item(Serve(CONTENT, THIRD, str(tmp_path / "third"), "/content"))
    assert [handed_out(shelf, manifest) for manifest in (FIRST, SECOND, THIRD)] == [None, None, b"third"]


def test_an_item_that_goes_leaves_a_download_its_manifest(shelf: Scene, tmp_path: Path) -> None:
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
    shelf = Scene()
    shelf.put_partial(Serve(digest, FIRST, str(seed), str(path), bits, stamps))
    book = shelf.opened(digest)
    assert book is not None
    assert book.content.read(0) == made.data
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ContentChangedError):
        book.content.read(0)
    shelf.remove_item(digest)
    assert shelf.opened(digest) is None
    shelf.put_partial(Serve(digest, FIRST, str(seed), str(path), bits, stamps))
    shelf.put_item(Serve(digest, FIRST, str(seed), str(path), stamps=stamps))
    shelf.remove_item(digest)
    assert shelf.opened(digest) is None


def test_a_download_says_which_of_its_pieces_others_relay(tmp_path: Path) -> None:
    made = made_file()
    seed = str(store_seed(tmp_path, encode_manifest(made.manifest)))

    def said(have: str, spread: bytes) -> Serve:
        return Serve(
            made.manifest.digest, FIRST, seed, str(made.put(tmp_path / "f")), bits(have).to_bytes(), spread=spread
        )

    shelf = Scene()

    def spread() -> str:
        book = shelf.opened(made.manifest.digest)
        assert book is not None
        assert book.spread is not None
        return picture(book.spread)

    shelf.put_partial(said("*** ", bits(" *  ").to_bytes()))
    shelf.gained(made.manifest.digest, [3], [])
    assert spread() == " * *"
    shelf.put_partial(said("****", bits("  * ").to_bytes()))
    assert spread() == "  * "
    shelf.put_partial(said("****", b""))
    assert spread() == "    "


def test_a_piece_that_was_lost_is_not_back_when_the_download_is_opened_again(tmp_path: Path) -> None:
    made = made_file()
    digest, seed = made.manifest.digest, str(store_seed(tmp_path, encode_manifest(made.manifest)))
    shelf = Scene()
    shelf.put_partial(Serve(digest, FIRST, seed, str(made.put(tmp_path / "f")), bits("*** ").to_bytes()))
    shelf.gained(digest, [3], [])
    shelf.lost(digest, 1)
    shelf.lost(digest, 3)
    opened = shelf.opened(digest)
    assert opened is not None
    assert picture(opened.bits) == "* * "
    shelf.gained(digest, [3], [])
    shelf._close(digest)
    opened = shelf.opened(digest)
    assert opened is not None
    assert picture(opened.bits) == "* **"


def test_books_nobody_uses_are_closed(tmp_path: Path) -> None:
    shelf = Scene()
    digests = []
    for number in range(BOOKS_COUNT_MAX + 3):
        made = made_file(100, seed=number)
        path, seed = made.put(tmp_path / str(number)), store_seed(tmp_path, encode_manifest(made.manifest))
        digests.append(made.manifest.digest)
        shelf.put_item(Serve(digests[-1], FIRST, str(seed), str(path), stamps=take_stamps(path, made.manifest)))
        shelf.opened(digests[-1])
    shelf.opened(digests[1])
    assert shelf.idle([digests[0]]) == digests[2:5]
    assert shelf.idle(()) == []
    reopened = shelf.opened(digests[2])
    assert reopened is not None


def test_a_manifest_is_handed_out_for_its_own_content_only(shelf: Scene) -> None:
    assert shelf.page(FIRST, digest=SECOND) is None


def test_a_manifest_is_read_page_by_page(shelf: Scene, tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"a" * MANIFEST_PAGE_BYTES + b"rest")
    total = MANIFEST_PAGE_BYTES + 4

    assert shelf.page(FIRST, 0) == (total, b"a" * MANIFEST_PAGE_BYTES)
    assert shelf.page(FIRST, 1) == (total, b"rest")
    assert shelf.page(FIRST, 2) == (total, b"")
    assert shelf.page(FIRST, 2**53) == (total, b""), "no file has such an offset"
    (tmp_path / "first").unlink()
    assert isinstance(shelf.page(FIRST, 0), NotFoundError)
