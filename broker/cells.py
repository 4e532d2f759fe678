"""Cells of the grid of one swarm: which of its receivers has which (`protocol.grid`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protocol.grid import mates


class Cells:
    """The cells of one swarm. A receiver keeps its cell when it has all of the content: others follow it there."""

    __slots__ = ("_count", "_free", "_peers", "of")

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        """By peer."""
        self._peers: dict[int, str] = {}
        """By cell."""
        self._free = 0
        """No cell below this one is free."""
        self._count = 0
        """No cell from this one on is taken."""

    def free(self) -> int:
        """The lowest cell that nobody has."""
        while self._free in self._peers:
            self._free += 1
        return self._free

    def set(self, peer: str, cell: int | None) -> None:
        """``peer`` has that ``cell`` from now on; None: it has none."""
        before = self.of.pop(peer, None)
        if before is not None and self._peers.get(before) == peer:
            del self._peers[before]
            self._free = min(self._free, before)
        if cell is not None:
            self.of[peer] = cell
            self._peers[cell] = peer
            self._count = max(self._count, cell + 1)

    def count(self) -> int:
        """The size of the grid: one more than the highest cell that is taken."""
        while self._count and self._count - 1 not in self._peers:
            self._count -= 1
        return self._count

    def mates_of(self, cell: int) -> Iterator[str]:
        """The peers in the row and column of ``cell``, some twice, and whoever has it."""
        return (self._peers[other] for other in mates(cell, self.count()) if other in self._peers)

    def check_invariants(self, members: Iterable[str]) -> None:
        """Assert that only ``members`` have cells, no two the same, and that no cell below ``_free`` is free."""
        assert self.of.keys() <= set(members)
        assert self._peers == {cell: peer for peer, cell in self.of.items()}
        assert len(self._peers) == len(self.of)
        assert all(cell in self._peers for cell in range(self._free))
        assert self._count > max(self._peers, default=-1)
