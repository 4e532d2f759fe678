"""Peers as the page shows them, failures with their reasons, and how peers stand with a content. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from broker.registry import Member, Registry
from broker.web.flows import content_name, name_of
from broker.web.rows import Failure, PeerRow, StandingRow
from broker.web.survey import NO_DOWNLOAD, URGENCY, main_download
from protocol.standings import percent, percent_of, seconds_left, state_of


def peer_row(member: Member, registry: Registry) -> PeerRow:
    """``member`` with the download that says most about it."""
    state, shown = main_download(member)
    return PeerRow(
        peer=member.peer,
        name=name_of(member.peer, registry),
        endpoint=member.endpoint,
        state=state,
        content=content_name(member, shown.digest, registry),
        digest=shown.digest,
        percent=percent_of(shown.done, shown.length),
        done=shown.done,
        length=shown.length,
        rate=sum(one.rate for one in member.downloads),
        seconds_left=seconds_left(shown),
        sources=shown.sources,
        reason=shown.reason,
        downloads=len(member.downloads),
        uploads=member.load,
        whole=member.whole,
        partial=member.partial,
        requesting=member.requesting,
        missed_trackers=[other.endpoint for other in member.others if not other.joined],
    )


def peers_to_show(registry: Registry, busy: Sequence[Member], count: int) -> list[PeerRow]:
    """Up to ``count``: those that need attention, those that fetch, those that send, any others."""

    def order(member: Member) -> tuple[int, int, str]:
        return URGENCY.index(main_download(member)[0]), -member.load, member.peer

    shown = {member.peer: member for member in heapq.nsmallest(count, busy, key=order)}
    if len(shown) < count:
        others = (member for member in registry.members.values() if member.peer not in shown)
        most = heapq.nsmallest(count - len(shown), others, key=lambda member: (-member.load, member.peer))
        shown |= {member.peer: member for member in most}
    return [peer_row(member, registry) for member in shown.values()]


def failures(registry: Registry, busy: Sequence[Member], count: int) -> list[Failure]:
    """Up to ``count`` downloads that failed lately."""
    return list(islice(_failures(registry, busy), count))


def _failures(registry: Registry, busy: Sequence[Member]) -> Iterator[Failure]:
    for member in busy:
        for one in member.downloads:
            if one.state == "failed":
                name, content = name_of(member.peer, registry), content_name(member, one.digest, registry)
                yield Failure(member.peer, name, one.digest, content, percent_of(one.done, one.length), one.reason)


def standing_row(peer: str, digest: str, registry: Registry) -> StandingRow:
    """How member ``peer`` stands with ``digest``."""
    entry = registry.standing(peer, digest)
    download, state = entry.download or NO_DOWNLOAD, state_of(entry)
    return StandingRow(
        peer=peer,
        name=name_of(peer, registry),
        state=state,
        percent=percent(entry),
        rate=download.rate if state == "fetching" else 0,
        seconds_left=seconds_left(download) if state == "fetching" else None,
        sources=download.sources,
        reason="" if state == "has it" else download.reason,
    )
