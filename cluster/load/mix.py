"""What a client does next while the load is on: drawn from a stated mix. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from random import Random


class Operation(StrEnum):
    """What a client can do; the value is what a person reads."""

    HEARTBEAT = "heartbeats"
    UPDATE = "updates"
    SEEDERS = "seeder lists"
    LISTING = "listings by name"
    REJOIN = "leave and join again"


MIX: Mapping[Operation, int] = {
    Operation.HEARTBEAT: 40,
    Operation.UPDATE: 20,
    Operation.SEEDERS: 20,
    Operation.LISTING: 15,
    Operation.REJOIN: 5,
}
"""How many of a hundred operations are of which kind. One is a single request, but for the last: four at least."""

_HUNDRED = tuple(operation for operation, count in MIX.items() for _ in range(count))
assert len(_HUNDRED) == 100


def draw(rng: Random) -> Operation:
    """The next operation."""
    return rng.choice(_HUNDRED)
