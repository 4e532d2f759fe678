"""How the tracker's processes treat their heap.

The registry is millions of small objects without a reference cycle among them. Python's collector of cycles walks
through all of them again and again while they become more, and everything stands still meanwhile: half of the time
that it takes to fill a registry, in steps of up to seconds.
"""

from __future__ import annotations

import gc

_NEVER = 1_000_000_000


def spare_the_registry() -> None:
    """For the start of a process: what survives two collections is not looked at again. Cycles that are dropped
    young, as those of an exception with its frames, are freed as always."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
