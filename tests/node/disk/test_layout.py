"""node.disk.layout: every byte of a piece is in exactly one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.disk.layout import Layout, Span
from protocol.manifest import FileEntry, Manifest, piece_length_for
from tests.node.disk.made_content import PIECE


def manifest_of(lengths: list[int] | None, length: int = 0) -> Manifest:
    """No content behind it: a layout looks at lengths only."""
    total = length if lengths is None else sum(lengths)
    size = piece_length_for(total)
    files = None
    if lengths is not None:
        files = tuple(FileEntry(f"{index:04}", part, False) for index, part in enumerate(lengths))
    return Manifest(total, size, "blake3:" + "0" * 64, bytes(32 * -(-total // size)), files, ())


def test_a_file_is_one_span_in_each_piece() -> None:
    layout = Layout(manifest_of(None, 2 * PIECE + 1))
    assert layout.spans(1) == [Span(0, PIECE, PIECE)]
    assert layout.spans(2) == [Span(0, 2 * PIECE, 1)]
    assert layout.path_under("/somewhere/data.bin", 0) == "/somewhere/data.bin"


def test_a_piece_covers_many_files_and_skips_empty_ones() -> None:
    layout = Layout(manifest_of([0, PIECE - 2, 0, 0, 1, 3, 0]))
    assert layout.spans(0) == [Span(1, 0, PIECE - 2), Span(4, 0, 1), Span(5, 0, 1)]
    assert layout.spans(1) == [Span(5, 1, 2)]
    assert layout.path_under("/root", 5) == "/root/0005"
    assert list(layout.whole()) == [Span(1, 0, PIECE - 2), Span(4, 0, 1), Span(5, 0, 3)]


@pytest.mark.parametrize("manifest", [manifest_of(None, 0), manifest_of([]), manifest_of([0, 0])])
def test_no_bytes_no_pieces(manifest: Manifest) -> None:
    layout = Layout(manifest)
    assert list(layout.whole()) == []
    with pytest.raises(IndexError):
        layout.spans(0)


@pytest.mark.parametrize("piece", [-1, 3])
def test_a_piece_that_is_not_there(piece: int) -> None:
    with pytest.raises(IndexError):
        Layout(manifest_of(None, 3 * PIECE)).spans(piece)


LENGTHS = st.lists(st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 3 * PIECE), st.just(PIECE)), max_size=40)


@given(LENGTHS)
def test_the_spans_of_all_pieces_are_all_bytes_in_order(lengths: list[int]) -> None:
    manifest = manifest_of(lengths)
    layout = Layout(manifest)
    reached = {index: 0 for index, length in enumerate(lengths) if length}
    order = []
    for piece in range(manifest.piece_count):
        spans = layout.spans(piece)
        assert sum(span.length for span in spans) == manifest.piece_size(piece)
        for index, offset, length in spans:
            assert length > 0
            assert offset == reached[index]
            reached[index] += length
            order.append(index)
    assert order == sorted(order)
    assert reached == {index: length for index, length in enumerate(lengths) if length}
