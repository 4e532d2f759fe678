"""Few pieces in place of many."""

from __future__ import annotations

import pytest

from cluster.simulated.scale import MODEL_SECONDS, PIECES_COUNT_MIN, scale_of
from protocol.limits import GIB, MIB


def test_what_can_be_afforded_is_simulated_as_it_is() -> None:
    scale = scale_of(64 * MIB + 1, receivers=4, peers=5, bound=100, work=1_000_000, timed=False)
    assert not scale.is_coarse
    assert (scale.pieces, scale.length, scale.factor, scale.lapse) == (257, 64 * MIB + 1, 1, 1)


def test_many_pieces_are_fewer_of_the_same_length() -> None:
    scale = scale_of(10 * GIB, receivers=999, peers=1_000, bound=86, work=4_000_000, timed=False)
    assert scale.is_coarse
    assert (scale.real_pieces, scale.piece_length) == (2_560, 4 * MIB)
    assert scale.length == scale.pieces * scale.piece_length
    assert scale.length * scale.factor == pytest.approx(10 * GIB)
    assert scale.pieces * 999 * (64 + 20) == pytest.approx(4_000_000, rel=0.05)


def test_there_are_always_some_pieces() -> None:
    assert scale_of(10 * GIB, receivers=999, peers=1_000, bound=86, work=1, timed=False).pieces == PIECES_COUNT_MIN


@pytest.mark.parametrize(
    ("bound", "timed", "lapse"),
    [(MODEL_SECONDS / 2, False, 1), (3 * MODEL_SECONDS, False, 3), (3 * MODEL_SECONDS, True, 1), (1e6, False, 160)],
    ids=["short", "long", "things happen at given times", "no piece is quicker than a real one"],
)
def test_a_second_stands_for_more_of_what_takes_long(bound: float, timed: bool, lapse: float) -> None:
    scale = scale_of(10 * GIB, receivers=999, peers=1_000, bound=bound, work=1, timed=timed)
    assert scale.lapse == pytest.approx(lapse)
