"""The grid of a large swarm: each of its receivers has a cell (PROTOCOL.md, section 6.4). Pure.

Cells are numbered shell by shell around a square: the first ``k * k`` of them are a square of ``k`` rows and columns,
whose places stay the same when more are added. Cells that do not fill another shell are guests: each shares a place of
the square, and so a row and a column, with the cell that has it. So no place is empty, except where a peer has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Literal, NamedTuple

Mate = Literal["row", "column"]


class Place(NamedTuple):
    row: int
    column: int
    is_guest: bool = False


def place_of(cell: int, cells: int) -> Place:
    """The place of ``cell`` in a grid of ``cells`` cells, of which it is one."""
    side = isqrt(cells)
    guest = cell - side * side
    if guest >= 0:
        turn, row = divmod(guest, side)
        return Place(row, (row + turn) % side, is_guest=True)
    shell = isqrt(cell)
    rest = cell - shell * shell
    return Place(shell, rest) if rest <= shell else Place(rest - shell - 1, shell)


def mate(cell: int, other: int, cells: int) -> Mate | None:
    """Whether ``cell`` follows ``other`` as one in its row, in its column, or not at all (None). A guest gets from its
    row all that is handed on there, and follows nobody in its column."""
    cells = max(cells, cell + 1, other + 1)
    own, others = place_of(cell, cells), place_of(other, cells)
    if own.row == others.row:
        return "row"
    return "column" if own.column == others.column and not own.is_guest else None


def mates(cell: int, cells: int) -> Iterator[int]:
    """The cells that ``cell`` follows in a grid of ``cells`` cells, and ``cell`` itself; some come twice. Takes time in
    proportion to the side of the square, not to the number of cells."""
    cells = max(cells, cell + 1)
    side, own = isqrt(cells), place_of(cell, cells)
    square = side * side
    guests = range(square, cells)
    yield from (_cell_at(own.row, column) for column in range(side))
    yield from guests[own.row :: side]
    if not own.is_guest:
        yield from (_cell_at(row, own.column) for row in range(side))
        in_column = (square + turn * side + (own.column - turn) % side for turn in range(2))
        yield from (guest for guest in in_column if guest in guests)


def _cell_at(row: int, column: int) -> int:
    """The cell whose place in the square that is."""
    return row * row + column if column <= row else column * column + column + 1 + row
