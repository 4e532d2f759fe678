"""How much each host says, and whether that is too much. PROTOCOL.md, section 6.2. Pure.

What arrives waits in memory, since libzmq's queues have no bound, until it is looked at. An honest host says a few
things for each piece it is sent, and little else; one that says far more than that is not listened to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from node.rate_limit import TokenBucket

MESSAGES_COUNT_MAX, MESSAGES_RATE_MAX = 5_000.0, 1_000.0
"""What a host may say at once, and a second on average: it is handled in a part of a second, and a hundred idle
receivers say less..."""
MESSAGES_PER_PIECE = 8
"""...and so much more for each piece that it was sent."""
GARBAGE_COST = 100
"""What is no message counts as so many: none of it comes from a peer, and it may have any number of frames."""
REFUSED_SECONDS = 10.0
"""A host that says too much is hung up on, not listened to, and cannot dial for so long."""
HOSTS_COUNT_MAX = 10_000
"""As many are remembered, and as many connections."""


@dataclass(slots=True)
class _Host:
    words: TokenBucket
    refused_until: float = -inf


class Talk:
    """That of all hosts to one piece server. ``address_of`` and ``refuse``: of its `transport.ports.PublicRouter`."""

    def __init__(self, address_of: Callable[[bytes], str], refuse: Callable[[bytes, float], None]) -> None:
        self._address_of, self._refuse = address_of, refuse
        self._hosts: dict[str, _Host] = {}
        self._by_route: dict[bytes, _Host] = {}

    def is_too_much(self, route: bytes, now: float, count: int = 1) -> bool:
        """Something that counts as ``count`` messages came over ``route``. Is it to be ignored?"""
        host = self._by_route.get(route) or self._look_up(route, now)
        if now < host.refused_until:
            return True
        if host.words.spend(count, now):
            return False
        host.refused_until = now + REFUSED_SECONDS
        self._refuse(route, REFUSED_SECONDS)
        return True

    def sent_piece(self, route: bytes) -> None:
        host = self._by_route.get(route)
        if host is not None:
            host.words.give(MESSAGES_PER_PIECE)

    def _look_up(self, route: bytes, now: float) -> _Host:
        for known in (self._hosts, self._by_route):
            if len(known) >= HOSTS_COUNT_MAX:
                known.clear()
        fresh = _Host(TokenBucket(MESSAGES_RATE_MAX, now, MESSAGES_COUNT_MAX / MESSAGES_RATE_MAX))
        host = self._by_route[route] = self._hosts.setdefault(self._address_of(route), fresh)
        return host
