"""Who gives way where there is room for so many only: sessions, and pages of manifests on their way. Pure.

Room is shared max-min fairly among addresses, and within one among its connections. So however many connections a host
makes, and whatever it says over them, it takes the place of nobody who holds no more than it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Protocol, TypeVar


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


def who_gives_way(held: Collection[H], address: str, route: bytes, now: float, patience: float) -> H | None:
    """The place that is to become free for one more from ``address``, over ``route``; None: the newcomer has to wait.

    It is one of an address that afterwards still holds as much as the newcomer's, or of such a connection of the same
    address, or one that got nothing for ``patience`` seconds and whose address holds no less than the newcomer's. Of
    these it is one of the address that holds the most, and there one that never got anything, if there is any.
    """
    of_address = Counter(one.address for one in held)
    of_route = Counter(one.route for one in held)
    mine = of_address[address]

    def may_go(one: H) -> bool:
        theirs = of_address[one.address]
        if theirs > mine + 1 or (one.address == address and of_route[one.route] > of_route[route] + 1):
            return True
        return theirs >= mine and now - one.served_at >= patience

    def order(one: H) -> tuple[int, bool, int, float]:
        return of_address[one.address], not one.takes, of_route[one.route], -one.served_at

    return max(filter(may_go, held), key=order, default=None)
