"""Worlds that broke, and hold since: each was a bug of the product that nobody had thought of."""

from __future__ import annotations

import pytest

from cluster.simulated.faults import Level
from cluster.simulated.soak import run_quietly

BROKE: tuple[tuple[str, int, Level], ...] = (
    ("what a download gained while its book was closed was served to nobody", 223, "heavy"),
    ("a piece server that was restarted was not told of a download that waits for space", 110, "heavy"),
)
"""What was wrong, the seed, the faults."""


@pytest.mark.parametrize(("what", "seed", "level"), BROKE, ids=[what for what, _, _ in BROKE])
def test_a_world_that_broke_holds(what: str, seed: int, level: Level) -> None:
    assert run_quietly(seed, level).error == "", what
