"""Pages of contents, peers and rollouts, and details of one, read from a replica. Pure.

A search that has looked at `LOOKUP_SCAN_COUNT_MAX` names ends early and says where to continue, as lookups' answers do.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from broker.listing_index import Listing, ListingKey, listing_key
from broker.queries import format_cursor, parse_cursor
from broker.registry import Registry
from broker.web.contents import content_row
from broker.web.flows import download_row
from broker.web.peers import peer_row, standing_row
from broker.web.questions import GetContent, GetContents, GetPeer, GetPeers, GetRollouts, Paged, Refusal
from broker.web.rollouts import orders_after, rollout_row
from broker.web.rows import ContentDetail, ContentPage, HeldContent, PeerDetail, PeerPage, RolloutPage
from broker.web.survey import NO_ACTIVITY, Survey
from protocol.errors import ProtocolError
from protocol.limits import LOOKUP_SCAN_COUNT_MAX

NAMES_SHOWN_COUNT = 32
PEERS_SCANNED_COUNT = LOOKUP_SCAN_COUNT_MAX
ROLLOUTS_COUNT_MAX = 20
"""In one page, whatever is asked for: each looks at all peers."""


class Pages:
    """Reads ``registry``, whose index must be kept."""

    def __init__(self, registry: Registry) -> None:
        assert registry.index is not None
        self.registry = registry
        self._index = registry.index

    def contents(self, question: GetContents) -> ContentPage | Refusal:
        """By name; one row for each digest and name."""
        try:
            after = parse_cursor(question.after) if question.after else None
        except ProtocolError as error:
            return Refusal("bad_after", str(error))
        wanted, activities = question.search.casefold(), Survey(self.registry).contents
        rows = []
        last: Listing | None = None
        for looked, listing in enumerate(self._listings(question.search, after), 1):
            is_new = last is None or (last.name, last.digest) != (listing.name, listing.digest)
            last = listing
            if is_new and (wanted in listing.name.casefold() or listing.digest.startswith(wanted)):
                swarm = self.registry.swarms[listing.digest]
                rows.append(content_row(swarm, activities.get(listing.digest, NO_ACTIVITY), listing))
            if len(rows) == question.limit or looked == LOOKUP_SCAN_COUNT_MAX:
                return ContentPage(rows, format_cursor(listing))
        return ContentPage(rows, "")

    def content(self, question: GetContent) -> ContentDetail | Refusal:
        """Peers that have it, want it, or tell of a download of it."""
        swarm = self.registry.swarms.get(question.digest)
        if swarm is None:
            return Refusal("not_found", "no member has or wants a content with this digest")
        telling = (
            peer
            for peer, member in self.registry.members.items()
            if member.downloads and any(download.digest == swarm.digest for download in member.downloads)
        )
        concerned = dict.fromkeys(chain(swarm.sources, swarm.requesting, telling))
        page, following = _page(concerned, question)
        names = dict.fromkeys(listing.name for listing in islice(swarm.listings.values(), NAMES_SHOWN_COUNT))
        row = content_row(swarm, Survey(self.registry).contents.get(swarm.digest, NO_ACTIVITY))
        peers = [standing_row(peer, swarm.digest, self.registry) for peer in page]
        return ContentDetail(row, list(names), peers, following)

    def peers(self, question: GetPeers) -> PeerPage:
        """By id."""
        peers, members = self.registry.ids(), self.registry.members
        start, wanted = bisect_right(peers, question.after), question.search.casefold()
        rows = []
        for place in range(start, len(peers)):
            member = members[peers[place]]
            if wanted in member.name.casefold() or member.peer.startswith(question.search):
                rows.append(peer_row(member, self.registry))
            if len(rows) == question.limit or place - start + 1 == PEERS_SCANNED_COUNT:
                return PeerPage(rows, member.peer if place + 1 < len(peers) else "")
        return PeerPage(rows, "")

    def peer(self, question: GetPeer) -> PeerDetail | Refusal:
        """What it lists, by digest."""
        member = self.registry.members.get(question.peer)
        if member is None:
            return Refusal("not_found", "no member of the network has this id")
        page, following = _page(member.listings, question)
        contents = []
        for digest in page:
            listing, holding = member.listings[digest], self.registry.holding(member.peer, digest)
            contents.append(HeldContent(digest, listing.name, listing.length, holding or ""))
        downloads = [download_row(member, download, self.registry) for download in member.downloads]
        return PeerDetail(peer_row(member, self.registry), downloads, contents, following)

    def rollouts(self, question: GetRollouts) -> RolloutPage:
        """By giver and id of the order."""
        limit = min(question.limit, ROLLOUTS_COUNT_MAX)
        found = orders_after(self.registry, question.after, limit + 1)
        rows = [rollout_row(giver, order, self.registry) for giver, order in found[:limit]]
        return RolloutPage(rows, f"{rows[-1].giver} {rows[-1].order}" if len(found) > limit else "")

    def _listings(self, search: str, after: ListingKey | None) -> Iterator[Listing]:
        swarm = self.registry.swarms.get(search)
        if swarm is None:
            return self._index.after(after)
        listings = sorted(swarm.listings.values(), key=listing_key)
        return (listing for listing in listings if after is None or listing_key(listing) > after)


def _page(ids: Iterable[str], question: Paged) -> tuple[list[str], str]:
    """Those of ``ids`` that are asked for, and the last of them if there are more."""
    found = heapq.nsmallest(question.limit + 1, (one for one in ids if one > question.after))
    page = found[: question.limit]
    return page, page[-1] if len(found) > len(page) else ""
