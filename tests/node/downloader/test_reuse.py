"""`node.downloader.reuse`: which pieces other content has, and what becomes of reading them."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.disk.seed_store import store_seed
from node.downloader.reuse import BATCH_BYTES, FRUITLESS_COUNT, PATIENCE_SECONDS, Batch, Reuse, find
from node.local_messages import LocalCopy
from protocol.bitfield import Bitfield
from protocol.limits import PIECE_BYTES_MIN, PIECES_WANTED_COUNT
from protocol.manifest import encode_manifest
from tests.node.disk.made_content import Made, made_file, made_sparse, made_tree, open_fds, some_bytes, tree_on_disk

PIECE = PIECE_BYTES_MIN
PER_BATCH = BATCH_BYTES // PIECE
BLOCKS = [some_bytes(PIECE, seed) for seed in range(20, 46)]


def of(blocks: str) -> Made:
    """A file of pieces, each named by a letter."""
    return made_sparse([BLOCKS[ord(letter) - ord("a")] for letter in blocks])


class Place:
    """A data directory, and files beside it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._journal = Journal(base)
        self.store = DiskStore(base, self._journal)
        self.dest = str(base / "new")

    def copy(self, made: Made, name: str) -> LocalCopy:
        """``made`` is shared, and stands beside the data directory."""
        return LocalCopy(str(store_seed(self._base, encode_manifest(made.manifest))), str(made.put(self._base / name)))

    def find(self, new: Made, *copies: LocalCopy, have: tuple[int, ...] = (), force: bool = False) -> list[Batch]:
        bits = Bitfield(new.manifest.piece_count)
        for piece in have:
            bits.set(piece)
        return find(new.manifest, bits, copies, self.dest, force, self.store)

    def close(self) -> None:
        self._journal.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def found(batches: list[Batch]) -> dict[str, list[tuple[int, int]]]:
    """By name of the content, which pieces of the new one are which of its own."""
    return {Path(batch.root).name: list(batch.pieces) for batch in batches}


# --- where pieces may be ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "old", "same"),
    [
        ("abcd", "abcd", [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ("abxd", "abcd", [(0, 0), (1, 1), (3, 3)]),
        ("xabcd", "abcd", [(1, 0), (2, 1), (3, 2), (4, 3)]),
        ("aaab", "ba", [(3, 0), (0, 1), (1, 1), (2, 1)]),
    ],
    ids=["the same", "one differs", "moved", "repeated"],
)
def test_pieces_are_found_by_their_digests(place: Place, new: str, old: str, same: list[tuple[int, int]]) -> None:
    assert found(place.find(of(new), place.copy(of(old), "old"))) == {"old": same}


def test_each_piece_is_looked_for_in_one_place_and_not_when_it_is_there(place: Place) -> None:
    one, other = place.copy(of("abc"), "one"), place.copy(of("bcd"), "other")
    assert found(place.find(of("abcd"), one, other, have=(0,))) == {"one": [(1, 1), (2, 2)], "other": [(3, 2)]}


def test_content_with_other_pieces_or_digests_or_without_its_seed_is_left_alone(place: Place) -> None:
    long = place.copy(made_file(2 * PIECES_WANTED_COUNT * PIECE), "long")
    other = place.copy(made_file(2 * PIECE, algorithm="sha256"), "sha256")
    assert place.find(made_file(2 * PIECE), long, other, LocalCopy("/gone.seed", "/gone")) == []


def test_pieces_of_a_tree_are_found_in_a_file_and_the_other_way_round(place: Place) -> None:
    tree = made_tree()
    file = made_sparse([tree.data])
    assert file.data == tree.data
    everything = [(piece, piece) for piece in range(tree.manifest.piece_count)]
    assert found(place.find(file, place.copy(tree, "tree"))) == {"tree": everything}
    (batch,) = place.find(tree, place.copy(file, "file"))
    assert [bytes(data or b"") for data in batch.read(place.store)] == [tree.piece(piece) for piece, _ in everything]


@pytest.mark.parametrize("force", [True, False])
def test_what_is_to_be_replaced_is_compared_place_by_place(place: Place, force: bool) -> None:
    of("abxde").put(Path(place.dest))
    everywhere = {"new": [(piece, piece) for piece in range(5)]} if force else {}
    assert found(place.find(of("abcde"), force=force)) == everywhere
    known = place.copy(of("abc"), "old")
    assert found(place.find(of("abcde"), known, force=force)) == {
        "old": [(0, 0), (1, 1), (2, 2)],
        **({"new": [(3, 3), (4, 4)]} if force else {}),
    }


@pytest.mark.parametrize("there", ["nothing", "a file like no other", "a pipe", "a directory"])
def test_what_is_to_be_replaced_and_has_nothing_in_common_is_not_read(place: Place, there: str) -> None:
    dest = Path(place.dest)
    if there == "a file like no other":
        of("pqrs").put(dest)
    elif there == "a pipe":
        os.mkfifo(dest)
    elif there == "a directory":
        dest.mkdir()
    assert place.find(of("abcd"), force=True) == []


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["whole", "short", "gone", "changed"])
def test_what_is_read_is_what_is_there_and_nothing_stays_open(place: Place, what: str) -> None:
    (batch,) = place.find(of("abc"), place.copy(of("abc"), "old"))
    gc.collect()  # what other tests left closes its files at any moment
    before, path = open_fds(), Path(batch.root)
    if what == "short":
        path.write_bytes(path.read_bytes()[: PIECE + 1])
    elif what == "gone":
        path.unlink()
    elif what == "changed":
        of("axc").put(path)
    there = tree_on_disk(path.parent)
    read = batch.read(place.store)
    expected = {"whole": "abc", "short": "a..", "gone": "...", "changed": "axc"}[what]
    assert read == [None if letter == "." else of(letter).data for letter in expected]
    assert open_fds() == before
    assert tree_on_disk(path.parent) == there


class Queue:
    """Threads that do what they were given when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[Any], None], Callable[[], object]]] = []

    def submit(self, done: Callable[[Any], None], work: Callable[[], object], /) -> None:
        self.waiting.append((done, work))

    def run(self) -> None:
        done, work = self.waiting.pop(0)
        done(work())

    def close(self, patience: float) -> bool:
        raise NotImplementedError(patience)


class Scene:
    """Reads ``count`` batches of one file. ``written`` is what the download was given, ``missed`` what it is told to
    fetch."""

    def __init__(self, place: Place, count: int) -> None:
        self.queue = Queue()
        self.new = made_file(count * BATCH_BYTES)
        copy = place.copy(self.new, "old")
        self.path = Path(copy.root)
        self.written: list[int] = []
        self.missed: list[int] = []
        self.reuse = Reuse(self.queue, place.store, self.write, self.missed.extend)
        self.reuse.begin(place.find(self.new, copy))
        self.reuse.tick(0.0)

    def write(self, piece: int, data: object) -> None:
        assert data == self.new.piece(piece)
        self.written.append(piece)


def test_one_batch_is_read_while_another_is_written_and_no_more(place: Place) -> None:
    scene = Scene(place, 3)
    scene.queue.run()
    assert len(scene.written) == PER_BATCH
    scene.reuse.tick(0.0)
    scene.queue.run()
    scene.reuse.tick(0.0)
    assert len(scene.written) == 2 * PER_BATCH
    assert scene.queue.waiting == [], "two are to be written"
    for piece in scene.written[:PER_BATCH]:
        scene.reuse.written(piece, good=True)
    scene.reuse.tick(0.0)
    scene.queue.run()
    assert sorted(scene.written) == list(range(3 * PER_BATCH))
    for piece in scene.written[PER_BATCH:]:
        scene.reuse.written(piece, good=True)
    assert not scene.reuse.under_way
    assert scene.missed == []
    assert scene.reuse.good == {str(scene.path): 3 * PER_BATCH}


def test_a_disk_that_hangs_is_given_up_and_what_it_gives_later_is_dropped(place: Place) -> None:
    scene = Scene(place, 3)
    scene.reuse.tick(PATIENCE_SECONDS - 0.1)
    assert scene.missed == []
    scene.reuse.tick(PATIENCE_SECONDS)
    assert sorted(scene.missed) == list(range(3 * PER_BATCH))
    assert not scene.reuse.under_way
    scene.queue.run()
    assert scene.written == []
    scene.reuse.tick(PATIENCE_SECONDS + 1.0)
    assert scene.queue.waiting == []


def test_after_a_stop_nothing_is_told(place: Place) -> None:
    scene = Scene(place, 2)
    scene.reuse.stop()
    scene.queue.run()
    scene.reuse.tick(2 * PATIENCE_SECONDS)
    assert (scene.written, scene.missed, scene.queue.waiting) == ([], [], [])


def test_content_that_gives_nothing_good_is_given_up(place: Place) -> None:
    scene = Scene(place, FRUITLESS_COUNT + 4)
    scene.path.unlink()
    reads = 0
    while scene.queue.waiting:
        scene.queue.run()
        reads += 1
        scene.reuse.tick(0.0)
    assert reads == FRUITLESS_COUNT + 1
    assert sorted(scene.missed) == list(range((FRUITLESS_COUNT + 4) * PER_BATCH))
    assert not scene.reuse.under_way
