"""How much of a limited resource each IP address uses, and which address gives way. Pure.

Names and connections cost a stranger nothing; addresses do. When there is no room left, the address that uses most
gives way to one that uses less. As long as there is room, any number of honest peers behind one address is admitted.
"""

from __future__ import annotations


class Shares:
    """The shares of one resource, such as entries, in its own unit."""

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
        """The address that makes room for ``count`` more of ``address``: the one with the most, if that is more than
        ``address`` would have. None: nobody does."""
        most = max(self._of, key=self.of, default=None)
        return most if most is not None and self.of(most) > self.of(address) + count else None

    def total(self) -> int:
        return sum(self._of.values())
