"""Listings in the order of (name, digest, manifest, length, signature), for a lookup that answers page by page. Pure.

Changes come in bursts and are sorted in only when somebody reads. A listing that nobody lists any more (``peers`` is 0)
is skipped, and removed when a quarter of the index consists of such.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

ListingKey = tuple[str, str, str, int, bytes]
_INSORT_COUNT_MAX = 64
"""Up to this many additions are inserted one by one; more are merged in one go. Sorting everything would take 25 ms
with 100,000 listings, however few of them were new."""


class Listing:
    """One swarm under one name, with one signature or none: ``peers`` members list it so. ``peers`` 0 means that it is
    gone. ``announced`` as `protocol.messages.TorrentEntry` has it."""

    __slots__ = ("announced", "digest", "length", "manifest", "name", "peers", "signature")

    def __init__(self, digest: str, manifest: str, name: str, length: int, signature: bytes) -> None:
        self.digest = digest
        self.manifest = manifest
        self.name = name
        self.length = length
        self.signature = signature
        self.peers = 0
        self.announced = 0


def listing_key(listing: Listing) -> ListingKey:
    """The order of listings."""
    return listing.name, listing.digest, listing.manifest, listing.length, listing.signature


class ListingIndex:
    """Sorted view of listings; `add` and `discarded` are for `broker.registry`."""

    def __init__(self) -> None:
        self._sorted: list[Listing] = []
        self._added: list[Listing] = []
        self._gone = 0

    def add(self, listing: Listing) -> None:
        """Take in a new listing."""
        self._added.append(listing)

    def discarded(self) -> None:
        """One listing has just lost its last peer."""
        self._gone += 1

    def after(self, key: ListingKey | None) -> Iterator[Listing]:
        """Listings behind ``key`` in order, from the first when it is None. Ends early when the index changes."""
        self._settle()
        start = 0 if key is None else bisect_right(self._sorted, key, key=listing_key)
        return self._alive(start)

    def named(self, name: str) -> Iterator[Listing]:
        """Listings with exactly this name, in order."""
        self._settle()
        for listing in self._alive(bisect_left(self._sorted, name, key=lambda listing: listing.name)):
            if listing.name != name:
                return
            yield listing

    def _alive(self, start: int) -> Iterator[Listing]:
        listings = self._sorted
        return (listings[i] for i in range(start, len(listings)) if listings[i].peers)

    def _settle(self) -> None:
        if len(self._added) <= _INSORT_COUNT_MAX:
            for listing in self._added:
                insort(self._sorted, listing, key=listing_key)
        else:
            self._sorted = _merged(self._sorted, sorted(self._added, key=listing_key))
        self._added = []
        if self._gone * 4 > len(self._sorted):
            self._sorted = [listing for listing in self._sorted if listing.peers]
            self._gone = 0

    def check_invariants(self, alive: Iterable[Listing]) -> None:
        """Assert that exactly ``alive`` is found, in order (for tests)."""
        found = list(self.after(None))
        assert found == sorted(alive, key=listing_key)
        assert sum(not listing.peers for listing in self._sorted) == self._gone


def _merged(listings: list[Listing], added: list[Listing]) -> list[Listing]:
    """Both merged in order; each is sorted. Examines few of ``listings``, which may be far more than ``added``."""
    if not listings:
        return added
    merged: list[Listing] = []
    done = 0
    for listing in added:
        place = bisect_left(listings, listing_key(listing), lo=done, key=listing_key)
        merged += listings[done:place]
        merged.append(listing)
        done = place
    return merged + listings[done:]
