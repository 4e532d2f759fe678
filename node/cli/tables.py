"""Tables of text for a person: aligned columns that fit a width by shortening the longest texts. Pure.

Numbers and short columns are never cut before long ones: a stranger's 255-byte name must not push sizes and digests
off the screen. Rows may be many thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

Rows = Sequence[Sequence[str]]

GAP = 2
"""Blanks between columns."""
SHORTEST = 8
"""Text columns are not made narrower than this to fit."""
ELLIPSIS = "…"


def table_lines(headers: Sequence[str], rows: Rows, width: int | None) -> list[str]:
    """The header line and a line for each row, without trailing blanks. A header that starts with ``>`` is
    right-aligned. ``width`` in terminal cells; None: nothing is cut."""
    right = [header.startswith(">") for header in headers]
    titles = [header.removeprefix(">") for header in headers]
    table = [titles, *rows]
    widths = [max(cell_len(row[place]) for row in table) for place in range(len(titles))]
    if width is not None:
        _fit(widths, right, width - GAP * (len(widths) - 1))
    lines = [(GAP * " ").join(map(_cell, row, widths, right)).rstrip() for row in table]
    return lines if width is None else [_shortened(line, width) for line in lines]


def _fit(widths: list[int], right: Sequence[bool], room: int) -> None:
    """Narrow text columns, the widest first, until all fit into ``room`` cells or none can give any more."""
    while sum(widths) > room:
        texts = [place for place, numeric in enumerate(right) if not numeric and widths[place] > SHORTEST]
        if not texts:
            return
        widest = max(texts, key=widths.__getitem__)
        excess = sum(widths) - room
        others = [widths[place] for place in texts if place != widest]
        floor = max([*others, SHORTEST, widths[widest] - excess])
        widths[widest] = min(widths[widest] - 1, floor)


def _cell(text: str, width: int, right: bool) -> str:
    blanks = width - cell_len(text)
    if blanks < 0:
        return set_cell_size(_shortened(text, width), width)
    return " " * blanks + text if right else text + " " * blanks


def _shortened(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + ELLIPSIS
