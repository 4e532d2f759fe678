"""Few pieces in place of many."""

from __future__ import annotations

import pytest

from cluster.simulated.scale import PIECE_SECONDS, PIECES_COUNT_MAX, PIECES_COUNT_MIN, SOURCES_COUNT, Scale, scale_of
from protocol.limits import GIB, MIB, PIECE_BYTES_MIN

GBIT = 125e6


def large(peers: int = 1_000, work: int = 100_000, link_rate: float = GBIT, timed: bool = False) -> Scale:
    """Of 10 GiB."""
    return scale_of(10 * GIB, peers - 1, peers, link_rate, work, timed)


def test_what_can_be_afforded_is_simulated_as_it_is() -> None:
    scale = scale_of(16 * MIB + 1, receivers=4, peers=5, link_rate=GBIT, work=1_028, timed=False)
    assert scale == Scale(257, PIECE_BYTES_MIN, 16 * MIB + 1, 257)
    assert not scale.is_coarse


def test_many_pieces_are_fewer_of_the_same_length() -> None:
    scale = large()
    assert scale.is_coarse
    assert (scale.real_pieces, scale.piece_length, scale.sources) == (2_560, 4 * MIB, SOURCES_COUNT)
    assert scale.length == scale.pieces * scale.piece_length
    assert scale.length * scale.factor == pytest.approx(10 * GIB)
    assert scale.pieces * 999 == pytest.approx(100_000, rel=0.05)


def test_a_model_has_some_pieces_and_not_very_many() -> None:
    assert large(work=1).pieces == PIECES_COUNT_MIN
    assert large(peers=10, work=9_999).pieces == PIECES_COUNT_MAX
    assert large(peers=10, work=9_999).sources == 0


@pytest.mark.parametrize(
    ("link_rate", "timed"),
    [(GBIT, False), (GBIT / 10, False), (10 * GBIT, False), (100 * GBIT, False), (GBIT, True)],
)
def test_a_second_stands_for_more_of_what_takes_long(link_rate: float, timed: bool) -> None:
    scale = large(link_rate=link_rate, timed=timed)
    piece_seconds = scale.piece_length * scale.factor / link_rate / scale.lapse
    assert scale.lapse >= 1
    assert piece_seconds <= PIECE_SECONDS * 1.001 or scale.lapse == 1
    assert scale.lapse == 1 or (piece_seconds == pytest.approx(PIECE_SECONDS) and not timed)
