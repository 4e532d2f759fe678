"""`node.downloader.pieces`: which state each piece is in, in pictures, and which is asked for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from node.downloader.pieces import SAMPLE_COUNT, Pieces
from node.downloader.source import Source
from protocol.bitfield import Bitfield
from tests.node.downloader.scene import PIECE_BYTES, entry
from tests.node.scene_pictures import bits


class Scene:
    """The pieces missing in ``have``, sources a to c, and what each of them is to be told."""

    def __init__(self, have: str, seed: int = 1) -> None:
        self.length = len(have) * PIECE_BYTES - 40
        self.pieces = Pieces(self.length, PIECE_BYTES, bits(have), Random(seed))
        self.sources = {name: Source(entry(name), number, 0.0, bits(have)) for number, name in enumerate("abc")}

    @property
    def picture(self) -> str:
        """``*`` had, ``w`` being written, a source's letter where it has promised the piece and its capital where it
        was asked for it; a space is an open piece."""
        pieces = self.pieces
        pieces.check_invariants(self.sources.values())
        marks = {piece: source.entry.peer for piece, source in pieces.promised.items()}
        marks |= {piece: source.entry.peer.upper() for piece, source in pieces.asked.items()}
        marks |= dict.fromkeys(pieces.open.indices(), " ") | dict.fromkeys(pieces.have.indices(), "*")
        return "".join(marks.get(piece, "w") for piece in range(len(pieces)))

    @property
    def cancelled(self) -> dict[str, list[int]]:
        return {source.entry.peer: pieces for source, pieces in self.pieces.cancelled.items()}

    def promise(self, name: str, *pieces: int) -> None:
        for piece in pieces:
            self.pieces.promise(piece, self.sources[name], 0.0)

    def ask(self, name: str, *pieces: int) -> None:
        for piece in pieces:
            self.pieces.ask(piece, self.sources[name], 0.0)

    def arrive(self, name: str, piece: int) -> None:
        self.pieces.arrive(piece, self.sources[name])


def test_from_open_to_had() -> None:
    scene = Scene("*     ")
    scene.promise("a", 1, 2)
    scene.ask("b", 3)
    assert scene.picture == "*aaB  "
    for name, piece in (("a", 1), ("b", 3), ("c", 4)):
        scene.arrive(name, piece)
    assert scene.picture == "*waww "
    scene.pieces.written(1, good=True)
    scene.pieces.written(3, good=False)
    assert scene.picture == "**a w "
    assert scene.cancelled == {}


def test_a_piece_that_is_asked_for_elsewhere_is_taken_back() -> None:
    scene = Scene("    ")
    scene.promise("a", 0, 1, 2)
    scene.ask("b", 1)
    assert scene.picture == "aBa "
    scene.ask("c", 1)
    assert scene.picture == "aCa "
    assert scene.cancelled == {"a": [1], "b": [1]}


def test_a_piece_that_came_from_another_is_taken_back() -> None:
    scene = Scene("   ")
    scene.promise("a", 0, 1)
    scene.ask("b", 2)
    scene.arrive("c", 1)
    scene.arrive("c", 2)
    assert scene.picture == "aww"
    assert scene.cancelled == {"a": [1], "b": [2]}


def test_what_the_sender_itself_takes_back_it_is_not_told() -> None:
    scene = Scene("   ")
    scene.promise("a", 0)
    scene.ask("a", 1)
    for piece in range(3):
        scene.pieces.expect_no_more(piece, scene.sources["a"])
    assert scene.picture == "   "
    assert scene.cancelled == {}


def test_a_source_that_is_gone_owes_nothing_and_is_told_nothing() -> None:
    scene = Scene("    ")
    scene.promise("a", 0, 1)
    scene.ask("a", 2)
    scene.ask("b", 1, 3)
    scene.pieces.release(scene.sources["a"])
    assert scene.picture == " B B"
    assert scene.cancelled == {}
    assert not scene.sources["a"].owes


def test_the_last_piece_is_short() -> None:
    pieces = Scene("* *").pieces
    assert [pieces.size(piece) for piece in range(3)] == [100, 100, 60]
    assert pieces.done_bytes == 160
    pieces.arrive(1, Source(entry("a"), 1, 0.0, bits("   ")))
    pieces.written(1, good=True)
    assert pieces.done_bytes == 260


@pytest.mark.parametrize(
    ("had", "bits_of", "piece"), [("", "***", 0), ("**", "***", 2), ("* ", "* *", 2), ("", "", None)]
)
def test_the_first_open_piece_of_a_source(had: str, bits_of: str, piece: int | None) -> None:
    assert Scene(had.ljust(3)).pieces.first(bits(bits_of.ljust(3))) == piece


# --- rarest -----------------------------------------------------------------------------------------------


def chosen(scene: Scene, of: str, *held: str, tries: int = 200) -> Counter[int | None]:
    """How often each piece is chosen of a source that has ``of``, where others have what ``held`` says."""
    sources = [Source(entry(f"s{number}"), number, 0.0, bits(one)) for number, one in enumerate(held)]
    return Counter(scene.pieces.rarest(bits(of), sources) for _ in range(tries))


def test_the_rarest_of_a_few_is_taken() -> None:
    had = "*" * 60
    others = [had + held for held in ("** ***", "****  ", "*    *")]
    taken = chosen(Scene(had + "      "), had + "******", *others, had + "******")
    assert taken.keys() == {62, 64}, "all of six are looked at, and one other has these"


def test_only_open_pieces_of_the_source_are_taken() -> None:
    scene = Scene("*     ")
    scene.promise("a", 1)
    scene.ask("b", 2)
    scene.arrive("c", 3)
    assert chosen(scene, "***** ").keys() == {4}
    assert chosen(scene, "****  ").keys() == {None}


def test_where_all_are_as_rare_chance_decides() -> None:
    for others in ([], ["*" * 20], [" " * 20]):
        taken = chosen(Scene(" " * 20), "*" * 20, *others, tries=2_000)
        assert len(taken) == 20
        assert max(taken.values()) < 200


def test_few_pieces_among_many_are_found() -> None:
    scene = Scene("*" * 500 + " " + "*" * 499)
    assert chosen(scene, "*" * 1_000, tries=1) == {500: 1}


def test_of_many_pieces_the_one_taken_is_rare_though_only_a_few_are_looked_at() -> None:
    common = Bitfield.full_of(1_000)
    for piece in range(0, 1_000, 2):
        common.clear(piece)
    scene = Scene(" " * 1_000)
    sources = [Source(entry("s"), 1, 0.0, common)]
    taken = [scene.pieces.rarest(Bitfield.full_of(1_000), sources) for _ in range(1_000)]
    odd = sum(1 for piece in taken if piece is not None and piece % 2)
    assert odd <= 3 * 1_000 * 0.5**SAMPLE_COUNT + 3
