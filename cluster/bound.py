"""How fast a rollout could be at best: bounds that hold for any protocol, to set beside a result. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


def kumar_ross(size: float, seeders: Sequence[float], ups: Sequence[float], downs: Sequence[float]) -> float:
    """Seconds until the last receiver can have ``size`` bytes: no sooner than the seeders have sent one copy, the
    slowest receiver has taken one, and everybody's uplinks together have sent one to each.

    ``seeders`` are the uplinks of those who have it, ``ups`` and ``downs`` the links of the receivers, in bytes/s.
    R. Kumar and K. Ross, "Peer-Assisted File Distribution: The Minimum Distribution Time", IEEE HotWeb 2006: for a
    fluid, that is without pieces and delays, it can be reached.
    """
    if not size or not downs:
        return 0.0
    together = sum(seeders) + sum(ups)
    return max(_seconds(size, sum(seeders)), _seconds(size, min(downs)), _seconds(size * len(downs), together))


def mundinger(pieces: int, receivers: int) -> int:
    """The least number of rounds in which ``receivers`` can have all ``pieces`` from one seeder, when everybody sends
    at most one piece in a round and takes at most one: the first copy goes out piece by piece, and then there are
    twice as many copies of the last of them after each round.

    J. Mundinger, R. Weber and G. Weiss, "Optimal scheduling of peer-to-peer file dissemination", Journal of Scheduling
    11 (2008), for links that are alike.
    """
    return pieces + receivers.bit_length() - 1 if pieces and receivers else 0


def _seconds(size: float, rate: float) -> float:
    return 0.0 if rate == inf else size / rate if rate else inf
