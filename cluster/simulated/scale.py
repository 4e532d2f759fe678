"""A large rollout by the model of it: fewer pieces, fewer sources, and what that does to sizes and times. Pure.

Content of ``factor`` times fewer pieces takes as long over links that are as much slower, and each piece takes as much
longer. What timers do takes as long as ever, and costs the more the longer it all lasts: so the links are made faster
again, and one second of the model stands for ``lapse`` of the rollout.
"""

from __future__ import annotations

from msgspec import Struct

from protocol.manifest import piece_length_for

PIECES_COUNT_MIN, PIECES_COUNT_MAX = 32, 256
"""Of a model. With fewer a swarm is hardly ever in full swing; more tell nothing new."""
SOURCES_COUNT = 24
"""What a download of a model hears of, on average. With 16 of 63 it took 1 % longer than with all of them."""
PIECE_SECONDS = 0.05
"""How long a piece of the model takes at least: long against the delays of messages. With 0.02 and 0.2 the outcome
was the same."""


class Scale(Struct, frozen=True):
    """``pieces`` of ``piece_length`` bytes stand for ``real_pieces`` as long. ``sources``: what a download hears of, on
    average; 0: of all."""

    pieces: int
    piece_length: int
    length: int
    real_pieces: int
    sources: int = 0
    factor: float = 1.0
    lapse: float = 1.0

    @property
    def is_coarse(self) -> bool:
        return self.pieces < self.real_pieces


def scale_of(size: int, receivers: int, peers: int, link_rate: float, work: int, timed: bool) -> Scale:
    """The model of ``size`` bytes for so many, in which at most ``work`` pieces arrive at receivers; the thing itself
    when that is enough. ``timed``: things happen at times that are given in seconds, so one second has to stand for
    one."""
    piece_length = piece_length_for(size)
    real_pieces = -(-size // piece_length)
    if receivers * real_pieces <= work:
        return Scale(real_pieces, piece_length, size, real_pieces)
    pieces = min(real_pieces, max(PIECES_COUNT_MIN, min(work // receivers, PIECES_COUNT_MAX)))
    heard = SOURCES_COUNT if peers - 1 > SOURCES_COUNT else 0
    length = pieces * piece_length
    factor = size / length
    lapse = 1.0 if timed else max(1.0, factor * piece_length / link_rate / PIECE_SECONDS)
    return Scale(pieces, piece_length, length, real_pieces, heard, factor, lapse)
