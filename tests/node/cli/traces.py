"""A trace to make timelines of: two sources, one of which sends a corrupt piece, and a reused piece."""

from __future__ import annotations

from array import array

from node.trace import HERE, Trace, TracedPiece, TraceWay

BEGAN = 1_000.0
PIECES = (
    TracedPiece(0, HERE, TraceWay.REUSED, 1.0, 1.0, 1.0, 1.1, 1.2, 1),
    TracedPiece(1, 0, TraceWay.ASSIGNED, 1.0, 1.5, 1.5, 1.6, 1.8, 1),
    TracedPiece(2, 1, TraceWay.PUSHED, 1.2, 1.5, 1.55, 1.65, 1.65, 0),
    TracedPiece(3, 0, TraceWay.PUSHED, 1.0, 2.0, 2.0, 2.1, 2.2, 1),
    TracedPiece(2, 0, TraceWay.ASKED, 2.1, 2.5, 2.5, 2.6, 2.7, 1),
)
"""Seconds from the beginning."""


def shifted(piece: TracedPiece) -> TracedPiece:
    times = {name: getattr(piece, name) + BEGAN for name in ("since", "came", "began", "hashed", "written")}
    return piece._replace(**times)


TRACE = Trace(
    name="model.bin",
    digest="blake3:aa",
    length=35,
    piece_length=10,
    now=BEGAN + 60.0,
    sources=[("aaaaaaaaaa", "alice"), ("bbbbbbbbbb", "\x1b[31mbob")],
    rows=array("d", [number for piece in PIECES for number in shifted(piece)]).tobytes(),
    left_out=0,
    phases=[
        ("checking", BEGAN),
        ("downloading", BEGAN + 0.5),
        ("verifying", BEGAN + 3.0),
        ("done", BEGAN + 4.0),
    ],
    waits=[("disk", BEGAN + 0.5, BEGAN + 1.0), ("sources", BEGAN + 1.0, BEGAN + 2.5)],
    chores=[("check", BEGAN, BEGAN + 0.5), ("sync", BEGAN + 2.0, BEGAN + 2.4)],
    events=[(1, BEGAN + 0.6, "connected"), (1, BEGAN + 1.7, "banned: sent a damaged piece 2")],
)
