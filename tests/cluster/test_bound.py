"""How fast a rollout could be at best."""

from __future__ import annotations

from math import inf

import pytest

from cluster.bound import kumar_ross, mundinger


@pytest.mark.parametrize(
    ("seeders", "ups", "downs", "seconds"),
    [
        ([10], [10, 10], [10, 10], 10),
        ([5], [100, 100], [100, 100], 20),
        ([10, 10], [10, 10], [20, 4], 25),
        ([10], [0, 0, 0], [100, 100, 100], 30),
        ([10], [2, 3], [100, 100], 200 / 15),
        ([inf], [1, 1], [inf, inf], 0),
        ([0], [10], [10], inf),
    ],
    ids=["equal", "slow seeder", "slow receiver", "nobody helps", "all uplinks", "no limits", "nobody sends"],
)
def test_the_slowest_of_three(seeders: list[float], ups: list[float], downs: list[float], seconds: float) -> None:
    assert kumar_ross(100, seeders, ups, downs) == pytest.approx(seconds)


def test_nothing_takes_no_time() -> None:
    assert kumar_ross(0, [1], [1], [1]) == kumar_ross(100, [1], [], []) == 0
    assert mundinger(0, 5) == mundinger(5, 0) == 0


@pytest.mark.parametrize(
    ("pieces", "receivers", "rounds"), [(1, 1, 1), (1, 2, 2), (1, 3, 2), (1, 4, 3), (10, 1, 10), (256, 1_000, 265)]
)
def test_rounds(pieces: int, receivers: int, rounds: int) -> None:
    assert mundinger(pieces, receivers) == rounds


def test_whole_pieces_are_never_faster_than_a_fluid() -> None:
    for receivers in range(1, 40):
        fluid = kumar_ross(20, [1], [1] * receivers, [1] * receivers)
        assert mundinger(20, receivers) >= fluid
