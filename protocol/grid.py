"""The grid of a large swarm: each of its receivers has a cell (PROTOCOL.md, section 6.4). Pure.

Cells are numbered shell by shell around a square: the first ``k * k`` of them are a square of ``k`` rows and columns,
whose places stay the same when others come. Those that do not fill another shell are guests: each is in a row and a
column too, besides the one whose place that is. So no place is empty, except where one has left.
"""

from __future__ import annotations

from math import isqrt
from typing import Literal, NamedTuple

Mate = Literal["row", "column"]


class Place(NamedTuple):
    row: int
    column: int
    is_guest: bool = False


def place_of(cell: int, cells: int) -> Place:
    """Where ``cell`` is while there are so many ``cells``, of which it is one."""
    side = isqrt(cells)
    guest = cell - side * side
    if guest >= 0:
        turn, row = divmod(guest, side)
        return Place(row, (row + turn) % side, is_guest=True)
    shell = isqrt(cell)
    rest = cell - shell * shell
    return Place(shell, rest) if rest <= shell else Place(rest - shell - 1, shell)


def mate(cell: int, other: int, cells: int) -> Mate | None:
    """What ``other`` is to ``cell``, which follows it as that. A guest gets from its row all that is handed on there,
    and follows nobody in its column."""
    cells = max(cells, cell + 1, other + 1)
    own, others = place_of(cell, cells), place_of(other, cells)
    if own.row == others.row:
        return "row"
    return "column" if own.column == others.column and not own.is_guest else None
