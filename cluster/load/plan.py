"""What a load test is to do. Pure."""

from __future__ import annotations

from msgspec import Struct


class LoadPlan(Struct, frozen=True, kw_only=True):
    """``clients`` with ``files`` files each, which are members of each of ``trackers``; the mix is asked for
    ``seconds``, or with ``idle`` nothing. ``seed`` decides what chance does."""

    clients: int
    trackers: int
    files: int
    seconds: float
    idle: bool
    seed: int
