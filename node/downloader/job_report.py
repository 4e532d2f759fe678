"""The report of one download for the agent, made from what its parts know. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from node.downloader.download import Download
from node.local_messages import SourceReport
from protocol.messages import SeederEntry


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
    return f"nobody has {len(nobody)} of {download.have.size} pieces; waiting for them" if nobody else ""
