"""Who sends to whom, as receivers tell of it. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence

from broker.registry import Member, Registry
from broker.web.rows import DownloadRow, Flows, Sender
from broker.web.survey import ENDED
from protocol.messages import DownloadState
from protocol.standings import percent_of, seconds_left

PEERS_COUNT_MAX = 60
"""More than these cannot be told apart in a picture."""
LINKS_COUNT_MAX = 600


def _whole_id(prefix: str, digest: str, registry: Registry) -> str:
    """The id of the member that begins with ``prefix`` and has something of ``digest``; ``prefix`` if there is none."""
    ids = registry.ids()
    place = bisect_left(ids, prefix)
    swarm = registry.swarms.get(digest)
    first = ""
    while place < len(ids) and ids[place].startswith(prefix):
        if swarm is not None and ids[place] in swarm.sources:
            return ids[place]
        first, place = first or ids[place], place + 1
    return first or prefix


def flows(busy: Sequence[Member], registry: Registry) -> Flows:
    """The fastest links of the ``busy`` members, among those that send or receive most."""
    rates: dict[tuple[str, str], int] = {}
    moved: dict[str, int] = {}
    for member in busy:
        for download in member.downloads:
            for prefix, part in download.senders:
                rate = download.rate * part // 100
                if not rate or download.state in ENDED:
                    continue
                sender = _whole_id(prefix, download.digest, registry)
                link = (sender, member.peer)
                rates[link] = rates.get(link, 0) + rate
                for end in link:
                    moved[end] = moved.get(end, 0) + rate
    shown = sorted(heapq.nlargest(PEERS_COUNT_MAX, moved, key=lambda peer: moved[peer]))
    places = {peer: place for place, peer in enumerate(shown)}
    among = [(rate, link) for link, rate in rates.items() if link[0] in places and link[1] in places]
    most = heapq.nlargest(LINKS_COUNT_MAX, among)
    links = [(places[sender], places[receiver], rate) for rate, (sender, receiver) in most]
    return Flows([(peer, name_of(peer, registry)) for peer in shown], links, len(rates) - len(links))


def name_of(peer: str, registry: Registry) -> str:
    """What the peer calls itself; else the beginning of its id."""
    member = registry.members.get(peer)
    return member.name or peer[:8] if member is not None else peer[:8]


def download_row(member: Member, download: DownloadState, registry: Registry) -> DownloadRow:
    """``download`` of ``member``, with all that is known of it."""
    senders = []
    for prefix, part in download.senders:
        peer = _whole_id(prefix, download.digest, registry)
        senders.append(Sender(peer, name_of(peer, registry), download.rate * part // 100))
    return DownloadRow(
        digest=download.digest,
        content=content_name(member, download.digest, registry),
        state=download.state,
        percent=100 if download.state == "done" else percent_of(download.done, download.length),
        done=download.done,
        length=download.length,
        rate=download.rate,
        seconds_left=seconds_left(download),
        sources=download.sources,
        reason=download.reason,
        senders=senders,
        order=download.order,
    )


def content_name(member: Member | None, digest: str, registry: Registry) -> str:
    """What ``member``, or else anybody, calls the content; empty if nobody lists it."""
    listing = member.listings.get(digest) if member is not None else None
    if listing is None and digest in registry.swarms:
        listing = next(iter(registry.swarms[digest].listings.values()))
    return "" if listing is None else listing.name
