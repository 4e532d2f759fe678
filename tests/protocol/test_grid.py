"""The grid: who follows whom, for any number of cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.grid import mate, mates, place_of

CELLS = st.integers(1, 300)


def picture(cells: int) -> str:
    """Rows of cells, guests behind their row, in brackets."""
    rows: dict[int, dict[int, int]] = {}
    guests: dict[int, list[int]] = {}
    for cell in range(cells):
        place = place_of(cell, cells)
        if place.is_guest:
            guests.setdefault(place.row, []).append(cell)
        else:
            rows.setdefault(place.row, {})[place.column] = cell
    lines = []
    for row, there in sorted(rows.items()):
        assert sorted(there) == list(range(len(rows))), "a place of the square is empty, or somebody is outside it"
        words = [str(there[column]) for column in sorted(there)]
        lines.append(" ".join([*words, *(f"({cell})" for cell in guests.get(row, []))]))
    return "\n".join(lines)


def test_cells_are_numbered_in_shells() -> None:
    assert picture(9) == "0 3 7\n1 2 8\n4 5 6"
    assert picture(16) == "0 3 7 13\n1 2 8 14\n4 5 6 15\n9 10 11 12"


def test_those_that_do_not_fill_a_shell_are_guests_in_the_rows() -> None:
    assert picture(11) == "0 3 7 (9)\n1 2 8 (10)\n4 5 6"
    assert picture(15) == "0 3 7 (9) (12)\n1 2 8 (10) (13)\n4 5 6 (11) (14)"


@given(CELLS, st.data())
def test_each_gets_what_any_other_relays_once_in_one_step_or_two(cells: int, data: st.DataObject) -> None:
    """From it, or from one in its column that hands on along the row."""
    relay = data.draw(st.integers(0, cells - 1))
    hands_on = [other for other in range(cells) if other != relay and mate(other, relay, cells) == "column"]
    for cell in range(cells):
        if cell != relay:
            direct = mate(cell, relay, cells) is not None
            through = [other for other in hands_on if other != cell and mate(cell, other, cells) == "row"]
            assert len(through) + direct == 1, f"{relay} to {cell} of {cells}"


@given(CELLS, st.data())
def test_mates_are_those_with_a_row_or_column_in_common(cells: int, data: st.DataObject) -> None:
    cell = data.draw(st.integers(0, cells - 1))
    assert set(mates(cell, cells)) == {other for other in range(cells) if mate(cell, other, cells)}


@given(st.integers(65, 1_000))
def test_nobody_follows_many(cells: int) -> None:
    side = int(cells**0.5)
    for cell in (0, side * side - 1, cells - 1):
        mates = sum(mate(cell, other, cells) is not None for other in range(cells) if other != cell)
        assert side - 1 <= mates <= 2 * side + 4


@given(CELLS)
def test_whose_place_is_in_the_square_keeps_it(cells: int) -> None:
    for cell in range(cells):
        place = place_of(cell, cells)
        if not place.is_guest:
            assert place_of(cell, cells + 50) == place


@pytest.mark.parametrize(
    ("cell", "other", "cells"), [(2**53, 0, 0), (5, 2**53, 2), (2**53, 2**53 - 1, 2**53), (3, 4, 0)]
)
def test_nonsense_is_no_error(cell: int, other: int, cells: int) -> None:
    assert mate(cell, other, cells) in ("row", "column", None)
