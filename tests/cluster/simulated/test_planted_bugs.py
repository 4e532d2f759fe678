"""Bugs that are planted on purpose are found: the simulated world is no decoration.

Each `Bug` says with which seed it is found, or that it is not. That the same worlds hold without them is what
`python -m cluster.simulated --seeds 0..100` shows.
"""

from __future__ import annotations

import pytest

from cluster.simulated.soak import run_quietly
from tests.cluster.simulated.planted_bugs import BUGS, FOUND
from tests.cluster.simulated.planting import Bug

SEEDS_COUNT = 60
"""Worlds change with the cores, so a bug may be found in a later one than is said."""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", FOUND, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert bug.seed is not None
    with bug.planted():
        seeds = range(bug.seed, bug.seed + SEEDS_COUNT)
        assert any(run_quietly(seed, "heavy").error for seed in seeds), f"forgot {bug.forgot}: not found"


def test_most_are_found_and_all_have_names_of_their_own() -> None:
    assert len(FOUND) >= 50
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_each_can_be_planted(bug: Bug) -> None:
    with bug.planted():
        pass
