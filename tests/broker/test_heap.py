"""The registry is a heap of millions of small objects; the collector of reference cycles must not walk through it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from broker.heap import spare_the_registry


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


class Node:
    """Something that may refer to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_a_growing_registry_is_never_walked_through_as_a_whole() -> None:
    spare_the_registry()
    before = full_collections()
    kept = [[number] for number in range(400_000)]
    assert full_collections() == before
    assert len(kept) == 400_000


def test_a_cycle_that_was_young_when_it_was_dropped_is_still_freed() -> None:
    spare_the_registry()
    gone = weakref.ref(Node())
    kept = [[number] for number in range(20_000)]
    assert gone() is None
    assert len(kept) == 20_000
