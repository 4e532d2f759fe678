"""The mix is the stated one."""

from __future__ import annotations

from collections import Counter
from random import Random

from cluster.load.mix import MIX, draw


def test_operations_are_drawn_as_often_as_is_stated() -> None:
    rng = Random(1)
    drawn = Counter(draw(rng) for _ in range(20_000))
    assert drawn.keys() == MIX.keys()
    assert all(abs(drawn[operation] / 200 - percent) < 1.5 for operation, percent in MIX.items())


def test_the_same_seed_draws_the_same() -> None:
    one, other, third = Random(5), Random(5), Random(6)
    drawn = [draw(one) for _ in range(100)]
    assert drawn == [draw(other) for _ in range(100)]
    assert drawn != [draw(third) for _ in range(100)]
