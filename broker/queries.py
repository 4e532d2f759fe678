"""Answers to peers' queries at a lookup, read from a registry. Pure: parking, epochs and the link are elsewhere.

`Answers` is made for one registry. Every answer is bounded in entries and in work: a page that had to examine too many
names ends early and says where to continue, so no request holds up the others for long.
"""

from __future__ import annotations

import fnmatch
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from broker.cells import Cells
from broker.listing_index import Listing, ListingIndex, ListingKey, listing_key
from broker.registry import Registry, Swarm
from protocol.digest import is_digest_start
from protocol.errors import ProtocolError
from protocol.limits import (
    LOOKUP_SCAN_COUNT_MAX,
    ORDERS_PAGE_COUNT,
    ORDERS_TOLD_COUNT_MAX,
    REPLY_PAGE_COUNT,
    SEEDERS_COUNT_MAX,
)
from protocol.messages import (
    GetOrderList,
    GetPeerList,
    GetSeederList,
    GetStandingList,
    GetTorrentList,
    LookupReply,
    LookupRequest,
    OrderEntry,
    OrderList,
    PeerEntry,
    PeerList,
    SeederEntry,
    SeederList,
    StandingList,
    TorrentEntry,
    TorrentList,
)

GLOB_CHARACTERS = 512
"""A pattern may be compared with each part of a name: so many pairs of characters take as long as to look at a name."""
_DIGEST = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_CURSOR = re.compile(r"(?s)(\S+) (\S+) (\d{1,16}) ((?:[0-9a-f]{2})*) (.+)")


Stamp = tuple[int, int, bool]
"""What every answer says about the replica it was read from: epoch, seq, whether it is settling."""


class Answers:
    """Reads ``registry``, whose ``index`` must be kept. ``rng`` draws the samples of large swarms."""

    def __init__(self, registry: Registry, rng: random.Random) -> None:
        assert registry.index is not None
        self._registry = registry
        self._index: ListingIndex = registry.index
        self._rng = rng

    def answer(self, request: LookupRequest, stamp: Stamp) -> LookupReply:
        """The reply to ``request``. Raises `ProtocolError` for an ``after`` that no reply of ours contained."""
        match request:
            case GetSeederList():  # nearly all are
                return self._seeder_list(request, stamp)
            case GetTorrentList():
                return self._torrent_list(request, stamp)
            case GetPeerList():
                peers, more = self._page_of_peers(request.after)
                return PeerList(request.id, *stamp, [self._peer_entry(peer) for peer in peers], more)
            case GetStandingList():
                peers, more = self._page_of_peers(request.after)
                return StandingList(
                    request.id, *stamp, [self._registry.standing(peer, request.digest) for peer in peers], more
                )
            case GetOrderList():
                return self._order_list(request, stamp)

    def _order_list(self, request: GetOrderList, stamp: Stamp) -> OrderList:
        entries: list[OrderEntry] = []
        givers = sorted(peer for peer in self._registry.orders if peer > request.after)
        for giver in givers:
            name = self._registry.members[giver].name
            entries += [OrderEntry(giver, name, order) for order in self._registry.orders[giver].values()]
            if len(entries) > ORDERS_PAGE_COUNT - ORDERS_TOLD_COUNT_MAX:
                return OrderList(request.id, *stamp, entries, giver if giver != givers[-1] else "")
        return OrderList(request.id, *stamp, entries, "")

    def _torrent_list(self, request: GetTorrentList, stamp: Stamp) -> TorrentList:
        after = parse_cursor(request.after) if request.after else None
        matches = _filter(request)
        entries: list[TorrentEntry] = []
        steps, step = 0.0, _glob_steps(request.pattern)
        for listing in self._candidates(request, after):
            steps += 1 + step * len(listing.name)
            if matches(listing):
                entries.append(self._torrent_entry(listing))
            if len(entries) == REPLY_PAGE_COUNT or steps >= LOOKUP_SCAN_COUNT_MAX:
                return TorrentList(request.id, *stamp, entries, format_cursor(listing))
        return TorrentList(request.id, *stamp, entries, "")

    def _candidates(self, request: GetTorrentList, after: ListingKey | None) -> Iterator[Listing]:
        """Listings that may match, in order, after ``after``."""
        narrowed: Iterable[Listing]
        if _DIGEST.fullmatch(request.pattern):
            swarm = self._registry.swarms.get(request.pattern)
            narrowed = sorted(swarm.listings.values(), key=listing_key) if swarm is not None else ()
        elif request.exact:
            narrowed = self._index.named(request.pattern)
        else:
            return self._index.after(after)
        return (listing for listing in narrowed if after is None or listing_key(listing) > after)

    def _torrent_entry(self, listing: Listing) -> TorrentEntry:
        """Counts are those of the swarm: a peer that shares the same bytes under another name serves this one too."""
        swarm = self._registry.swarms[listing.digest]
        counts = (swarm.whole, swarm.partial, len(swarm.requesting))
        named = (listing.name, listing.length, listing.digest, listing.manifest)
        return TorrentEntry(*named, *counts, listing.announced, listing.signature)

    def _seeder_list(self, request: GetSeederList, stamp: Stamp) -> SeederList:
        swarm = self._registry.swarms.get(request.digest)
        if swarm is None:
            return SeederList(request.id, *stamp, 0, [])
        sources, cells = swarm.sources, swarm.cells
        own, count = (None, 0) if cells is None else (cells.of.get(request.peer), cells.count())
        itself = request.peer in sources
        total = len(sources) - itself
        seeders = list(sources.values())
        if total > SEEDERS_COUNT_MAX:
            sample = self._rng.sample(seeders, SEEDERS_COUNT_MAX + itself)
            seeders = sample if cells is None or own is None else [*_mates(swarm, cells, own), *sample]
            seeders = list({seeder.peer: seeder for seeder in seeders}.values())
        seeders = [seeder for seeder in seeders if seeder.peer != request.peer][:SEEDERS_COUNT_MAX]
        if cells is not None:
            seeders = [replace(one, cell=cells.of.get(one.peer)) for one in seeders]
        return SeederList(request.id, *stamp, total, seeders, own, count)

    def _page_of_peers(self, after: str) -> tuple[list[str], str]:
        """Members after ``after``, and where the next page begins."""
        peers = self._registry.ids()
        start = bisect_right(peers, after) if after else 0
        page = peers[start : start + REPLY_PAGE_COUNT]
        return page, page[-1] if start + len(page) < len(peers) else ""

    def _peer_entry(self, peer: str) -> PeerEntry:
        member = self._registry.members[peer]
        counts = (member.whole, member.partial, member.requesting)
        return PeerEntry(peer, member.name, member.endpoint, *counts, member.load, member.key)


def _mates(swarm: Swarm, cells: Cells, own: int) -> list[SeederEntry]:
    """The sources that have it from elsewhere, and those in the row and column of cell ``own``."""
    sources = swarm.sources
    elsewhere = [source for peer, source in sources.items() if peer not in cells.of]
    return elsewhere + [sources[peer] for peer in cells.mates_of(own) if peer in sources]


def _filter(request: GetTorrentList) -> Callable[[Listing], bool]:
    """Which listings match; those already selected by digest or exact name all do."""
    pattern = request.pattern
    if not pattern or request.exact or _DIGEST.fullmatch(pattern):
        return lambda _listing: True
    if is_digest_start(pattern):
        return lambda listing: listing.digest.startswith(pattern)
    folded = pattern.casefold()
    if _is_glob(pattern):
        glob = re.compile(fnmatch.translate(folded))
        return lambda listing: glob.match(listing.name.casefold()) is not None
    return lambda listing: folded in listing.name.casefold()


def _glob_steps(pattern: str) -> float:
    """For each character of a name, what it may take to match ``pattern``, with plain names as unit."""
    return len(pattern) / GLOB_CHARACTERS if _is_glob(pattern) else 0.0


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def format_cursor(listing: Listing) -> str:
    """Where a page that ends with ``listing`` continues."""
    return f"{listing.digest} {listing.manifest} {listing.length} {listing.signature.hex()} {listing.name}"


def parse_cursor(text: str) -> ListingKey:
    """What `format_cursor` wrote. Raises `ProtocolError`."""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise ProtocolError("'after' has to be the 'next' of an earlier reply")
    digest, manifest, length, signature, name = found.groups()
    return name, digest, manifest, int(length), bytes.fromhex(signature)
