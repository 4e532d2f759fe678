"""Contents as the page shows them: those that somebody fetches, then the largest; and any page of all. Pure.

The largest are found slice by slice, since there may be millions: with up to `LOOKUP_SCAN_COUNT_MAX` names the list is
at most one look old.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from broker.listing_index import Listing, ListingKey, listing_key
from broker.registry import Registry, Swarm
from broker.web.rows import ContentRow
from broker.web.survey import NO_ACTIVITY, Activity, percent_of_all
from protocol.limits import LOOKUP_SCAN_COUNT_MAX

LARGEST_COUNT = 100


def content_row(swarm: Swarm, activity: Activity = NO_ACTIVITY, listing: Listing | None = None) -> ContentRow:
    """``swarm`` under the name of ``listing``, or its first one."""
    if listing is None:
        listing = next(iter(swarm.listings.values()))
    receivers = receivers_whole = 0
    if swarm.cells is not None:
        for peer in swarm.cells.of:
            receivers += 1
            source = swarm.sources.get(peer)
            receivers_whole += source is not None and source.whole
    receivers = max(receivers, len(swarm.requesting) + swarm.partial)
    done = receivers_whole * listing.length + activity.done
    return ContentRow(
        digest=swarm.digest,
        name=listing.name,
        names=len(swarm.listings),
        length=listing.length,
        whole=swarm.whole,
        partial=swarm.partial,
        requesting=len(swarm.requesting),
        receivers=receivers,
        receivers_whole=receivers_whole,
        percent=percent_of_all(receivers_whole, receivers, done, listing.length),
        rate=activity.rate,
        seconds_left=activity.slowest,
        failed=activity.failed,
    )


class LargestContents:
    """The largest contents of a registry, as of the last complete pass over it."""

    def __init__(self) -> None:
        self._found: list[Listing] = []
        self._heap: list[tuple[int, str, str, int, Listing]] = []
        self._after: ListingKey | None = None
        self._pass_of: tuple[int, int] | None = None
        """The version that the present pass began with."""
        self._as_of: tuple[int, int] | None = None

    def look(self, registry: Registry, version: tuple[int, int]) -> list[Listing]:
        """The largest, once for each digest; looks at the next slice, if there is anything new in ``version``."""
        if self._pass_of is None and self._as_of != version:
            self._pass_of, self._after, self._heap = version, None, []
        if self._pass_of is not None:
            self._look_on(registry)
        return [listing for listing in self._found if listing.peers]

    def _look_on(self, registry: Registry) -> None:
        assert registry.index is not None
        left = LOOKUP_SCAN_COUNT_MAX
        heap, known = self._heap, {entry[1] for entry in self._heap}
        for listing in registry.index.after(self._after):
            if (len(heap) < LARGEST_COUNT or listing.length > heap[0][0]) and listing.digest not in known:
                entry = (listing.length, listing.digest, listing.name, left, listing)
                known.add(listing.digest)
                if len(heap) < LARGEST_COUNT:
                    heapq.heappush(heap, entry)
                else:
                    known.discard(heapq.heappushpop(heap, entry)[1])
            left -= 1
            if not left:
                self._after = listing_key(listing)
                return
        self._found = [entry[-1] for entry in sorted(heap, reverse=True)]
        self._as_of, self._pass_of = self._pass_of, None


def contents_to_show(
    registry: Registry, active: dict[str, Activity], largest: list[Listing], count: int
) -> Iterator[ContentRow]:
    """Up to ``count``: those under way, the fastest first, and then the largest."""
    fetched = [digest for digest in active if digest in registry.swarms]
    first = heapq.nlargest(count, fetched, key=lambda digest: (active[digest].running, active[digest].rate))
    shown = dict.fromkeys(first)
    for listing in largest:
        if len(shown) >= count:
            break
        if listing.digest in registry.swarms:
            shown.setdefault(listing.digest)
    for digest in shown:
        yield content_row(registry.swarms[digest], active.get(digest, NO_ACTIVITY))
