"""The trace of a download: what it did when, as the downloader tells it. Pure.

Moments are monotonic seconds of one machine. `node.client.timeline` makes a timeline of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct

TracedSource = tuple[str, str]
"""Peer id and name."""
TraceSpan = tuple[str, float, float]
"""What, from when, until when."""
TraceEvent = tuple[int, float, str]
"""The number of a source, when, and what happened to it."""
HERE = -1
"""In place of the number of a source: the piece was taken from other content of this machine."""


class TraceWay(IntEnum):
    """How a piece came: it was asked for by number; the source relays it; it was assigned to this peer, to relay it;
    it was on this machine."""

    ASKED = 0
    PUSHED = 1
    ASSIGNED = 2
    REUSED = 3


class TracedPiece(NamedTuple):
    """``since`` its source was at it, or was asked for it, until it ``came``; a thread ``began`` to hash it, had
    ``hashed`` it, and had ``written`` it. ``good``: 1 if it was what its digest says and is on disk, else 0."""

    piece: float
    source: float
    way: float
    since: float
    came: float
    began: float
    hashed: float
    written: float
    good: float


class Trace(Struct, frozen=True):
    """``now`` is the moment of the report. ``rows`` are the numbers of each `TracedPiece`, as doubles; ``left_out``
    pieces are not among them. ``phases``: which began when. ``waits``: what held it back, by `Cause`; ``chores``: what
    was done on the disk besides writing."""

    name: str
    digest: str
    length: int
    piece_length: int
    now: float
    sources: list[TracedSource]
    rows: bytes
    left_out: int
    phases: list[tuple[str, float]]
    waits: list[TraceSpan]
    chores: list[TraceSpan]
    events: list[TraceEvent]

    def pieces(self) -> Iterator[TracedPiece]:
        """In the order in which they were written."""
        numbers = array("d")
        numbers.frombytes(self.rows)
        width = len(TracedPiece._fields)
        return (TracedPiece(*numbers[start : start + width]) for start in range(0, len(numbers), width))
