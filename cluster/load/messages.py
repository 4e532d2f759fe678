"""What the run and its processes of clients say to each other, over an ipc socket. Pure. No part of the protocol."""

from __future__ import annotations

from enum import StrEnum

from cluster.load.tally import Counts
from protocol.messages import Message

CONTROL_SOCKET = "load.sock"


class Phase(StrEnum):
    """All clients are in the same phase; the run says when the next one begins."""

    DIAL = "dial"
    JOIN = "join"
    LOAD = "load"
    LEAVE = "leave"


class Go(Message, frozen=True):
    """Run to worker: ``phase`` begins."""

    phase: Phase


class Progress(Message, frozen=True):
    """Worker to run: how far worker ``worker`` is in ``phase``, several times a second and when it is ``over``. Its
    clients are those of tracker number ``tracker``.

    ``settled``: clients that have done what the phase is about (joined, left). ``given_up``: clients that had an error
    and do nothing any more. ``seconds``: how long the phase has lasted. ``counts``: everything since it began.
    ``epoch`` and ``seq``: the latest state of the registrar that a client has heard of. ``asked_again``: how often a
    lookup was behind, in all phases.
    """

    worker: int
    tracker: int
    phase: Phase
    over: bool
    settled: int
    given_up: int
    seconds: float
    counts: Counts
    epoch: int
    seq: int
    asked_again: int
