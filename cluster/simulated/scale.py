"""A rollout of content with too many pieces, by one of content with fewer: what that does to sizes and times. Pure.

Content of ``factor`` times fewer pieces takes as long over links that are as much slower. Then a piece takes ``factor``
times as long as it should; what the protocol's timers do takes as long as ever, and costs more the longer it all lasts.
So the links are made faster again and one second of the model stands for ``lapse`` of the rollout: at most for
``factor``, when a piece takes the time that it should.
"""

from __future__ import annotations

from msgspec import Struct

from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX
from protocol.manifest import piece_length_for

PIECE_WORK_COUNT = 20
"""What one piece costs to simulate, besides telling all sources of it: as much as so many more messages."""
PIECES_COUNT_MIN = 16
"""With fewer pieces a prediction says nothing."""
MODEL_SECONDS = 20.0
"""How long the model lasts at least, if nothing goes wrong: long against what a swarm needs to begin."""


class Scale(Struct, frozen=True):
    """``pieces`` of ``piece_length`` bytes stand for ``real_pieces`` as long."""

    pieces: int
    piece_length: int
    length: int
    real_pieces: int
    factor: float = 1.0
    lapse: float = 1.0

    @property
    def is_coarse(self) -> bool:
        return self.pieces < self.real_pieces


def scale_of(size: int, receivers: int, peers: int, bound: float, work: int, timed: bool) -> Scale:
    """The finest scale for ``size`` bytes that costs no more than ``work`` messages. ``bound``: how many seconds it
    takes at least. ``timed``: things happen at times that are given in seconds, so that one must stand for one."""
    piece_length = piece_length_for(size)
    real_pieces = -(-size // piece_length)
    sources = min(peers - 1, SOURCES_PER_DOWNLOAD_COUNT_MAX)
    pieces = max(PIECES_COUNT_MIN, work // (receivers * (sources + PIECE_WORK_COUNT)))
    if real_pieces <= pieces:
        return Scale(real_pieces, piece_length, size, real_pieces)
    length = pieces * piece_length
    factor = size / length
    lapse = 1.0 if timed else min(factor, max(1.0, bound / MODEL_SECONDS))
    return Scale(pieces, piece_length, length, real_pieces, factor, lapse)
