"""The report of one download for the agent, made from what its parts know. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.downloader.download import Download
from node.local_messages import SourceReport
from protocol.messages import SeederEntry

RANGES_SHOWN_COUNT = 6


def source_reports(download: Download | None, names: Mapping[str, SeederEntry]) -> list[SourceReport]:
    """Every source that is connected or has sent something; one that is not connected any more is ``gone``."""
    if download is None:
        return []
    received = download.received_from
    states = {source.entry.peer: source.state.name.lower() for source in download.sources}
    entries = {**names, **{source.entry.peer: source.entry for source in download.sources}}
    return [
        SourceReport(
            peer, entries[peer].name if peer in entries else "", received.get(peer, 0), states.get(peer, "gone")
        )
        for peer in dict.fromkeys([*states, *received])
    ]


def waiting_for(download: Download) -> str:
    """What a person should know when nothing moves; empty when all is well."""
    if not download.sources:
        return "no source answers; waiting for one"
    nobody = download.nobody_has()
    if not nobody:
        return ""
    return f"nobody has {len(nobody)} of {download.have.size} pieces; waiting for {ranges(nobody)}"


def ranges(pieces: Sequence[int], count: int = RANGES_SHOWN_COUNT) -> str:
    """``3, 7-9`` of sorted ``pieces``; what is beyond ``count`` ranges is left out with dots."""
    found: list[list[int]] = []
    for piece in pieces:
        if found and found[-1][1] + 1 == piece:
            found[-1][1] = piece
        elif len(found) == count:
            return ", ".join([*map(_range, found), "..."])
        else:
            found.append([piece, piece])
    return ", ".join(map(_range, found))


def _range(ends: Sequence[int]) -> str:
    first, last = ends
    return str(first) if first == last else f"{first}-{last}"
