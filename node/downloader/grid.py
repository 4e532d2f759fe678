"""The place of this peer among the receivers of one content. PROTOCOL.md, section 6.4.

Pure. Owns which others it follows there, and as what. Leaves the order of the cells to `protocol.grid`, and who becomes
a source to `source`.
"""

from __future__ import annotations

from math import isqrt

from protocol.grid import Mate, mate
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX
from protocol.messages import Cell


class Grid:
    """Used where there are more receivers than one can have as sources, since else all follow all, and where a row and
    a column are at most half of those: in a simulated swarm of 300 the last was done later with it than without."""

    def __init__(self) -> None:
        self.limit = SOURCES_PER_DOWNLOAD_COUNT_MAX
        """How many sources there may be: fewer of longer pieces."""
        self._cell: Cell = None
        """This peer's, as far as it was told..."""
        self._cells = 0
        """...of at least so many."""

    def note(self, cell: Cell, cells: int) -> None:
        """The tracker says that there are ``cells`` at least, of which this peer has ``cell``; None: that was not
        said. After a restart it numbers them anew."""
        if cell is None or cell == self._cell:
            self._cells = max(self._cells, cells)
        else:
            self._cell, self._cells = cell, cells

    @property
    def is_used(self) -> bool:
        mates = 2 * isqrt(self._cells)
        return self._cell is not None and 2 * mates <= self.limit < self._cells

    def follows(self, other: Cell) -> tuple[bool, Mate | None]:
        """Whether a source with the cell ``other`` is to push to this peer, and what it is to it. One without a cell,
        which has the content from elsewhere, is followed by all."""
        if self._cell is None or other is None or not self.is_used:
            return True, None
        found = mate(self._cell, other, self._cells)
        return found is not None, found

    def rank(self, other: Cell) -> int:
        """The lower, the rather one with the cell ``other`` is to be a source."""
        if other is None or not self.is_used:
            return 0
        return 1 if self.follows(other)[0] else 2
