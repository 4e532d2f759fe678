"""Tables of text for a person: aligned columns that fit a width. Pure.

Numbers and short columns are never cut before long ones: a stranger's 255-byte name must not push sizes and digests off
the screen. If there is no room for all columns, the least important are dropped, in the order of `SPARE`. There may be
thousands of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size

Rows = Sequence[Sequence[str]]
Block = list[str]
"""The lines of one row."""

GAP = 2
"""Blanks between columns."""
SHORTEST = 8
"""Text columns are not made narrower than this to fit..."""
NAME_SHORTEST = 16
"""...and the first of them, which says what a row is about, not narrower than this, while others can go."""
DETAIL_SHORTEST = 20
"""A detail with less room than this gets lines of its own."""
ELLIPSIS = "…"
SPARE = (
    *("AGE", "PARTLY", "WANTED", "WANTS", "UPLOADS", "ORIGIN", "JOB", "PIECES", "RECEIVED", "SOURCES", "RATE", "LEFT"),
    *("HAVE", "HAS", "SENT", "TO", "PEER", "PATH", "SIZE"),
)
"""Columns that are left out on a narrow terminal, in this order."""


class _Column(NamedTuple):
    """A column at index ``place`` of the rows. A ``fixed`` one is never cut; one ``from_left`` is cut at its
    beginning."""

    place: int
    title: str
    right: bool
    fixed: bool
    from_left: bool
    natural: int
    shortest: int

    @property
    def least(self) -> int:
        return self.natural if self.fixed else min(self.natural, self.shortest)


def table_blocks(headers: Sequence[str], rows: Rows, width: int | None) -> list[Block]:
    """The header, and the lines of each row, without trailing blanks. ``width`` in terminal cells; None: nothing is
    cut. The first character of a header may say how its column is shown: ``>`` right-aligned, ``=`` never cut either,
    ``<`` cut at its beginning, ``~`` (the last only) a detail, which gets lines of its own below its row where it does
    not fit."""
    columns = [_column(headers, rows, place) for place in range(len(headers))]
    name = next((column for column in columns if not column.fixed), columns[0])
    columns[name.place] = name._replace(shortest=NAME_SHORTEST)
    table = [[column.title for column in columns], *rows]
    detail = columns.pop() if headers[-1].startswith("~") else None
    if width is None:
        shown = columns if detail is None else [*columns, detail]
        return [[_line(row, shown, [column.natural for column in shown])] for row in table]
    columns = _kept(columns, width)
    widths = _fitted(columns, width - GAP * (len(columns) - 1))
    room = 0 if detail is None else width - sum(widths) - GAP * len(columns)
    blocks = []
    for row in table:
        line, text = _line(row, columns, widths), "" if detail is None else row[detail.place]
        beside = bool(text) and cell_len(text) <= room and (row is not table[0] or room >= DETAIL_SHORTEST)
        if beside:
            line += " " * (sum(widths) + GAP * len(widths) - cell_len(line)) + text
        below = [] if beside or not text or row is table[0] else wrapped(text, max(1, width - GAP))
        blocks.append([shortened(line, width), *(shortened(GAP * " " + part, width) for part in below)])
    return blocks


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken at blanks where possible."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
            continue
        lines += chop_cells(word, width) if cell_len(word) > width else [word]
    return [line for line in lines if line]


def shortened(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, with an ellipsis if it was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + ELLIPSIS


def shortened_from_left(text: str, width: int) -> str:
    """The same, keeping the end of ``text``: the end of a path says more than its beginning."""
    if cell_len(text) <= width:
        return text
    return ELLIPSIS + set_cell_size(text[::-1], max(0, width - 1))[::-1].lstrip()


def _column(headers: Sequence[str], rows: Rows, place: int) -> _Column:
    mark, title = headers[place][0], headers[place].lstrip("<>=~")
    natural = max([cell_len(title), *(cell_len(row[place]) for row in rows)])
    return _Column(place, title, mark == ">", mark in ">=", mark == "<", natural, SHORTEST)


def _kept(columns: list[_Column], width: int) -> list[_Column]:
    """``columns`` without the spare ones for which there is no room."""
    for title in SPARE:
        if sum(column.least + GAP for column in columns) - GAP <= width:
            break
        columns = [column for column in columns if column.title != title]
    return columns


def _fitted(columns: list[_Column], room: int) -> list[int]:
    """Widths: text columns are narrowed, the widest first, until all fit into ``room`` cells or none can give more."""
    widths = [column.natural for column in columns]
    while sum(widths) > room:
        texts = [n for n, column in enumerate(columns) if not column.fixed and widths[n] > SHORTEST]
        if not texts:
            break
        widest = max(texts, key=widths.__getitem__)
        excess = sum(widths) - room
        others = [widths[n] for n in texts if n != widest]
        floor = max([*others, SHORTEST, widths[widest] - excess])
        widths[widest] = min(widths[widest] - 1, floor)
    return widths


def _line(row: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    cells = [_cell(row[column.place], width, column) for column, width in zip(columns, widths, strict=True)]
    return (GAP * " ").join(cells).rstrip()


def _cell(text: str, width: int, column: _Column) -> str:
    shown = shortened_from_left(text, width) if column.from_left else shortened(text, width)
    blanks = " " * (width - cell_len(shown))
    return blanks + shown if column.right else shown + blanks
