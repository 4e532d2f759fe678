"""The state of every piece, and what its steps do to the picker and the budget."""

from __future__ import annotations

from random import Random

import pytest

from node.downloader.piece_table import PieceState, PieceTable
from node.rate_limit import Budget
from tests.node.scene_pictures import bits


def table(have: str, budget: Budget | None = None) -> PieceTable:
    """Pieces of 100 bytes, the last of 60."""
    length = max(0, 100 * len(have) - 40)
    return PieceTable(length, 100, bits(have), budget or Budget(10_000, 0, 0.0), Random(1), sequential=False)


def test_sizes() -> None:
    made = table(" * ")
    assert [made.size(piece) for piece in range(3)] == [100, 100, 60]
    assert made.done_bytes == 100
    assert len(made) == 3
    assert len(table("")) == 0


def test_a_piece_from_missing_to_done() -> None:
    budget = Budget(10_000, 0, 0.0)
    made = table("   ", budget)
    assert made.missing(2)
    assert 2 in made.picker
    made.claim(2, 0.0)
    made.check_invariants()
    assert made.in_state(PieceState.CLAIMED) == [2]
    assert 2 not in made.picker
    assert budget.under_way == 60
    made.arrive(2)
    made.check_invariants()
    assert made.in_state(PieceState.WRITING) == [2]
    assert budget.under_way == 60
    made.finish(2)
    made.check_invariants()
    assert made.in_state(PieceState.DONE) == [2]
    assert budget.under_way == 0
    assert made.done_bytes == 60
    assert 2 in made.have


@pytest.mark.parametrize("steps", [1, 2])
def test_nothing_comes_of_a_claim_or_a_write(steps: int) -> None:
    budget = Budget(10_000, 0, 0.0)
    made = table("   ", budget)
    made.claim(0, 0.0)
    if steps == 2:
        made.arrive(0)
    made.release(0)
    made.check_invariants()
    assert made.missing(0)
    assert budget.under_way == 0


def test_pieces_by_state() -> None:
    made = table("  * ")
    made.claim(3, 0.0)
    made.claim(1, 0.0)
    made.arrive(1)
    assert made.in_state(PieceState.MISSING) == [0]
    assert made.in_state(PieceState.CLAIMED) == [3]
    assert made.in_state(PieceState.WRITING) == [1]
    assert made.in_state(PieceState.DONE) == [2]


@pytest.mark.parametrize("step", ["claim", "arrive", "finish", "release"])
def test_only_the_steps_there_are(step: str) -> None:
    made = table("*  ")
    wrong = {
        "claim": lambda: made.claim(0, 0.0),
        "arrive": lambda: made.arrive(1),
        "finish": lambda: made.finish(1),
        "release": lambda: made.release(1),
    }
    with pytest.raises(AssertionError):
        wrong[step]()


def test_what_the_budget_admits() -> None:
    budget = Budget(170, 0, 0.0)
    made = table("   ", budget)
    made.claim(0, 0.0)
    assert made.admits(2, 0.0)
    assert not made.admits(1, 0.0)
    assert not made.admits_any(0.0)
