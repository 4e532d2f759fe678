"""The grid of a large swarm: each of its receivers has a cell (PROTOCOL.md, section 6.6). Pure.

Cells are numbered shell by shell around a square: the first ``k * k`` of them are a square of ``k`` rows and columns,
however many there are in all, so nobody's row or column changes when others come.
"""

from __future__ import annotations

from math import isqrt
from typing import Literal

Mate = Literal["row", "column"]


def row_and_column(cell: int) -> tuple[int, int]:
    side = isqrt(cell)
    rest = cell - side * side
    return (side, rest) if rest <= side else (rest - side - 1, side)


def has_holes(cell: int, cells: int) -> bool:
    """Whether a column has nobody in the row of ``cell``, where the first ``cells`` are taken."""
    last, row = isqrt(max(0, cells - 1)), row_and_column(cell)[0]
    corner = last * last + last
    return corner < cells <= corner + 1 + row if row < last else cells <= corner


def mate(cell: int, other: int) -> Mate | None:
    """What two cells have in common."""
    (row, column), (other_row, other_column) = row_and_column(cell), row_and_column(other)
    if row == other_row:
        return "row"
    return "column" if column == other_column else None
