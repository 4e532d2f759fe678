"""How much each IP address has of what there is room for, and which one gives way. Pure.

Names and connections cost a stranger nothing, addresses do. Where there is no room left, the address that has the most
gives way to one that has less. So many honest peers behind one address are held up by nothing as long as there is room.
"""

from __future__ import annotations


class Shares:
    """Of one kind of room, in what that is counted in."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    def of(self, address: str) -> int:
        return self._of.get(address, 0)

    def add(self, address: str, count: int) -> None:
        """``count`` below 0 takes away."""
        left = self.of(address) + count
        if left:
            self._of[address] = left
        else:
            self._of.pop(address, None)

    def gives_way(self, address: str, count: int) -> str | None:
        """Who is to make room for ``count`` more of ``address``: whoever has the most, and more than that has then."""
        most = max(self._of, key=self.of, default=None)
        return most if most is not None and self.of(most) > self.of(address) + count else None

    def total(self) -> int:
        return sum(self._of.values())
