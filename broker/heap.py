"""Keeps Python's garbage collector away from the registry.

The registry is millions of small objects without reference cycles. While it grows, the cyclic garbage collector scans
all of them again and again, and stops everything else meanwhile: this takes half of the time to fill a registry, in
pauses of up to seconds.
"""

from __future__ import annotations

import gc

_NEVER = 1_000_000_000


def spare_the_registry() -> None:
    """Call at the start of a process: objects that survive two collections are not scanned again. Young cycles, such as
    those of an exception with its frames, are freed as always."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
