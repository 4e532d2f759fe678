"""A swarm of more receivers than one can have as sources."""

from __future__ import annotations

import pytest

from tests.cluster.simulated.swarms import Swarm

RECEIVERS, PIECES = 70, 96


def of_many(seed: int = 1) -> Swarm:
    """Eight rows and columns, and six guests."""
    return Swarm(1, RECEIVERS, PIECES, seed=seed, down_seconds=1.0, watched=False)


@pytest.mark.slow
def test_a_hundred_receivers_finish_as_close_to_the_bound_as_a_few_with_so_few_pieces() -> None:
    """A guard against regressions: with 256 pieces 24 receivers need 1.10, and each of these waits for the first pieces
    of 64 others."""
    swarm = of_many()
    swarm.start()
    swarm.run_until_done(3 * PIECES)
    assert swarm.last() / swarm.bound <= 1.75
    assert swarm.received_ratio() <= 1.03
    assert swarm.sent_ratio("seed0") <= 1.7


@pytest.mark.slow
def test_those_whose_mates_lose_power_get_the_rest_from_others() -> None:
    """Rows and columns have holes, the pieces of some relays are with nobody else, and then come others who take the
    cells of those that have gone."""
    swarm = of_many()
    swarm.start()
    swarm.run(PIECES / 4)
    for number in range(0, RECEIVERS, 8):
        swarm.peer(f"peer{number}").power_off()
    swarm.run(PIECES / 4)
    for number in range(5):
        swarm.join(f"late{number}")
    swarm.run_until_done(6 * PIECES)
    assert swarm.banned() == {}
