"""Waiting for what a cluster of real processes will come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 60.0
Found = TypeVar("Found")


def until(
    look: Callable[[], Found | None],
    what: str,
    meanwhile: Callable[[], object] = lambda: None,
    events: Sequence[str] = (),
) -> Found:
    """The first true value of ``look``, with ``meanwhile`` called between two looks. Fails with ``what`` it waited for,
    and the ``events`` so far, when there is none within `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "\n".join([f"not within {PATIENCE_SECONDS:g} s: {what}", *events])
        meanwhile()
        time.sleep(LOOK_SECONDS)
    return found
