"""How fast a swarm can be at best. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log2


def pipelined(receivers: int, pieces: int) -> int:
    """Piece times until the last of ``receivers`` has everything from one seeder, all links being equal (Mundinger,
    Weber and Weiss)."""
    return pieces + floor(log2(receivers))


def kumar_ross(size: float, seeder_ups: Sequence[float], ups: Sequence[float], downs: Sequence[float]) -> float:
    """Seconds until everybody can have ``size`` bytes, if they were a fluid (Kumar and Ross); rates in bytes/s."""
    seeders = sum(seeder_ups)
    return max(size / seeders, size / min(downs), len(downs) * size / (seeders + sum(ups)))
