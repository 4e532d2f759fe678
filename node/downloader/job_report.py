"""The report of one download for the agent, made from what its parts know. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.downloader.download import Download
from node.downloader.rate_meter import RateMeter
from node.downloader.source import Candidate, Source, SourcePool
from node.local_messages import SourceReport, SourceStanding

RANGES_SHOWN_COUNT = 6
REPORTED_COUNT_MAX = 256
"""Sources in a report, which is made four times a second: those that are connected or have sent something, and of the
others as many as fit."""


class SourceReports:
    """How it is with each source, and how fast it sends."""

    def __init__(self) -> None:
        self._rates: dict[str, RateMeter] = {}

    def make(self, pool: SourcePool, received_from: Mapping[str, int], now: float) -> tuple[list[SourceReport], int]:
        """A report for each peer that is a source or has sent something, the useful ones first, and how many others
        are left out. ``received_from``: bytes by peer id."""
        found: list[tuple[int, Candidate, SourceStanding]] = []
        for candidate in pool.candidates():
            peer = candidate.entry.peer
            state, has_sent = _standing(candidate, pool.of_peer(peer)), peer in received_from
            if state != "gone" or has_sent:
                found.append((_place(state, has_sent), candidate, state))
        found.sort(key=lambda placed: placed[0])
        reports = []
        for _, candidate, state in found[:REPORTED_COUNT_MAX]:
            entry, peer = candidate.entry, candidate.entry.peer
            source, received = pool.of_peer(peer), received_from.get(peer, 0)
            reason = candidate.trouble.reason if candidate.trouble is not None and state != "gone" else ""
            pieces = source.bits.count_set if source is not None else 0
            rate = self._rates.setdefault(peer, RateMeter()).rate(received, now) if received else 0.0
            on_way = 0 if source is None else len(source.promised) + len(source.gets) + source.asked
            where = entry.name, entry.endpoint
            reports.append(SourceReport(peer, *where, state, reason, received, rate, pieces, on_way))
        return reports, max(0, len(found) - REPORTED_COUNT_MAX)


def _standing(candidate: Candidate, source: Source | None) -> SourceStanding:
    if candidate.trouble is not None and (candidate.named or candidate.banned):
        return candidate.trouble.state
    if source is not None:
        return "connected" if source.answered else "connecting"
    return "known" if candidate.named else "gone"


def _place(state: SourceStanding, has_sent: bool) -> int:
    """Those that a person asks about come first."""
    if state == "connected":
        return 0
    if has_sent or state == "banned":
        return 1
    return 3 if state in ("known", "connecting") else 2


def waiting_for(pool: SourcePool, download: Download | None) -> str:
    """What a download waits for: any source, or pieces that no connected source has. Empty for neither, as when sources
    are known and cannot be used: each has its own reason then."""
    if not any(candidate.named for candidate in pool.candidates()):
        return "no peer has it at the moment; waiting for one"
    nobody = [] if download is None or next(pool.ready(), None) is None else download.nobody_has()
    if download is None or not nobody:
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
