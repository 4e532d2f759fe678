"""Who gives way where there is room for so many only: sessions, and pages of manifests on their way. Pure.

Room is shared max-min fairly among addresses, and within one among its connections. So however many connections a host
makes, and whatever it says over them, it takes the place of nobody who holds no more than it does.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Generic, Protocol, TypeVar


class Holding(Protocol):
    """A place that is taken."""

    @property
    def route(self) -> bytes: ...

    @property
    def address(self) -> str:
        """The IP address at the other end of ``route``; all those without one are one."""

    served_at: float
    """When the holder last got something, or else came."""
    takes: bool
    """Whether it ever did."""


H = TypeVar("H", bound=Holding)
K = TypeVar("K")


class Places(Generic[H]):
    """Those that are taken. A hostile host asks for one all the time, so to refuse it has to be quick."""

    def __init__(self) -> None:
        self._held: dict[H, None] = {}
        self._of_address: Counter[str] = Counter()
        self._of_route: Counter[bytes] = Counter()
        self._oldest = -inf
        """None of them was served before that moment."""

    def __len__(self) -> int:
        return len(self._held)

    def of_route(self, route: bytes) -> int:
        """How many are held over it."""
        return self._of_route.get(route, 0)

    def of_address(self, address: str) -> int:
        return self._of_address.get(address, 0)

    def add(self, one: H) -> None:
        self._held[one] = None
        self._of_address[one.address] += 1
        self._of_route[one.route] += 1

    def remove(self, one: H) -> None:
        del self._held[one]
        _count_off(self._of_address, one.address)
        _count_off(self._of_route, one.route)

    def who_gives_way(self, address: str, route: bytes, now: float, patience: float) -> H | None:
        """The place that is to become free for one more from ``address``, over ``route``; None: the newcomer has to
        wait.

        It is one of an address that afterwards still holds as much as the newcomer's, or of such a connection of the
        same address, or one that got nothing for ``patience`` seconds and whose address holds no less than the
        newcomer's. Of these it is one of the address that holds the most, and there one that never got anything, if
        there is any.
        """
        of_address, of_route = self._of_address, self._of_route
        mine, most = self.of_address(address), max(of_address.values(), default=0)
        fair, idle_since = self.of_route(route) + 1, now - patience
        if most > mine + 1:
            may_go = [one for one in self._held if of_address[one.address] == most]
        elif max(of_route.values(), default=0) <= fair and idle_since < self._oldest:
            return None
        else:
            self._oldest = min((one.served_at for one in self._held), default=now)
            may_go = [
                one
                for one in self._held
                if (one.served_at <= idle_since and of_address[one.address] >= mine)
                or (of_route[one.route] > fair and one.address == address)
            ]

        def order(one: H) -> tuple[int, bool, int, float]:
            return of_address[one.address], not one.takes, of_route[one.route], -one.served_at

        return max(may_go, key=order, default=None)


def _count_off(counts: Counter[K], key: K) -> None:
    """One less; those that are 0 are forgotten."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
