"""Cells of the grid of one swarm: which of its receivers has which (`protocol.grid`). Pure."""

from __future__ import annotations

from collections.abc import Iterable


class Cells:
    """Those of a swarm's receivers, who keep theirs when they have all of it: others follow them there."""

    __slots__ = ("_free", "_taken", "of")

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        """By peer."""
        self._taken: dict[int, None] = {}
        self._free = 0
        """No cell below this one is free."""

    def free(self) -> int:
        """The lowest that nobody has."""
        while self._free in self._taken:
            self._free += 1
        return self._free

    def set(self, peer: str, cell: int | None) -> None:
        """``peer`` has that ``cell`` from now on; None: it has none."""
        before = self.of.pop(peer, None)
        if before is not None:
            self._taken.pop(before, None)
            self._free = min(self._free, before)
        if cell is not None:
            self.of[peer] = cell
            self._taken[cell] = None

    def count(self) -> int:
        """How many there are, those included that were left and are lower than one that is taken."""
        return 1 + max(self._taken, default=-1)

    def check_invariants(self, members: Iterable[str]) -> None:
        """Assert that ``members`` alone have cells, each one of its own, and none below the first free one is free."""
        assert self.of.keys() <= set(members)
        assert sorted(self.of.values()) == sorted(self._taken)
        assert all(cell in self._taken for cell in range(self._free))
