"""Python's collector of reference cycles, kept away from a world.

A world is millions of objects that live until its end: to look through them again and again would take longer than
what happens in it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (1_000_000, 100, 1_000)
"""Of new objects, and of collections of younger ones: the whole heap is hardly ever looked through."""


@contextmanager
def left_alone(*, for_good: bool = False) -> Iterator[None]:
    """Within this. ``for_good``: what is there at the end is never looked through, by a process that has not long to
    live; after a large world even to do so once takes many seconds."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        else:
            gc.unfreeze()
        gc.set_threshold(*before)
