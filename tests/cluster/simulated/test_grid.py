"""A swarm of more receivers than one can have as sources."""

from __future__ import annotations

import pytest

from tests.cluster.simulated.swarms import Swarm

RECEIVERS, PIECES = 66, 64
PIECE_SECONDS = 0.05
"""Long beside a round trip, and short beside timers: what is said now and then takes long to simulate."""


def of_many(seed: int = 1) -> Swarm:
    """Eight rows and columns, and two guests."""
    return Swarm(
        1, RECEIVERS, PIECES, seed=seed, piece_seconds=PIECE_SECONDS, down_seconds=PIECE_SECONDS, watched=False
    )


@pytest.mark.slow
def test_more_receivers_than_connections_all_complete_and_hardly_get_anything_twice() -> None:
    swarm = of_many()
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)
    assert swarm.received_ratio() <= 1.05
    assert swarm.banned() == {}


@pytest.mark.slow
def test_those_whose_mates_lose_power_get_the_rest_from_others() -> None:
    """Rows and columns have holes, the pieces of some relays are with nobody else, and then come others who take the
    cells of those that have gone."""
    swarm = of_many()
    swarm.start()
    swarm.run(PIECES * PIECE_SECONDS / 4)
    for number in range(0, RECEIVERS, 8):
        swarm.peer(f"peer{number}").power_off()
    swarm.run(PIECES * PIECE_SECONDS / 4)
    for number in range(5):
        swarm.join(f"late{number}")
    swarm.run_until_done(120.0)
    assert swarm.banned() == {}
