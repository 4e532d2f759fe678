"""The report of one download for the agent, made from what its parts know. Pure.

Owns the phase of the download, since when it is in that, and the figures of all its attempts together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.downloader.bottleneck import Gauge, bottleneck
from node.downloader.download import Download
from node.downloader.job_disk import JobDisk
from node.downloader.manifest_fetch import ManifestFetch
from node.downloader.rate_meter import RateMeter
from node.downloader.source import Candidate, Source, SourcePool
from node.local_messages import REPORT_SECONDS, DownloadReport, Fetch, Phase, SourceReport, SourceStanding
from protocol.manifest import Manifest

WRITING = "writing what has come to disk"
REUSING = "taking over what other content on this machine has of it"
COMPLAIN_SECONDS = 1.0
"""A download that has just begun has no sources yet: that is nothing to tell a person."""

RANGES_SHOWN_COUNT = 6
REPORTED_COUNT_MAX = 256
"""Sources in a report, which is made four times a second: those that are connected or have sent something, and of the
others as many as fit."""


class Progress:
    """Of the download that ``fetch`` orders, with its files on ``disk``."""

    def __init__(self, fetch: Fetch, disk: JobDisk, now: float) -> None:
        self._fetch, self._disk = fetch, disk
        self.phase: Phase = "resolving"
        self._entered_at = now
        self._detail = ""
        self.noted = 0, 0
        """Pieces and bytes that are on disk, while nothing else is known of it."""
        self.resumed_bytes = 0
        self._received_before = self._reused_before = 0
        self._rate = RateMeter()
        self._source_reports = SourceReports()
        self._gauge = Gauge()
        self.report_at = 0.0
        self._reported: DownloadReport | None = None

    def enter(self, phase: Phase, detail: str, now: float) -> None:
        if phase != self.phase:
            self._entered_at = now
        self.phase, self._detail = phase, detail

    def begins(self, download: Download, before: Download | None) -> None:
        """There is a conversation with the sources, after that of ``before``."""
        self._gauge = Gauge()
        if before is None:
            self.resumed_bytes = download.pieces.done_bytes
            return  # what is on disk after a pause or a repair came in this run
        self._received_before += before.received_bytes
        self._reused_before += before.pieces.reused_bytes

    def forget_reported(self) -> None:
        """Nobody knows what was reported."""
        self._reported = None

    def report(
        self,
        core: ManifestFetch | Download | None,
        download: Download | None,
        manifest: Manifest | None,
        rate_limit: float,
        now: float,
    ) -> DownloadReport | None:
        """How it goes, unless that is as it was: ``core`` talks to sources now, ``download`` is the last that did,
        once there was a ``manifest``; ``rate_limit`` in bytes/s."""
        self.report_at = now + REPORT_SECONDS
        disk, done = self._disk, self.noted
        received, reused = self._received_before, self._reused_before
        received_from: Mapping[str, int] = {}
        if download is not None:
            done = download.have.count_set, download.pieces.done_bytes
            received += download.received_bytes
            reused += download.pieces.reused_bytes
            received_from = download.received_from
        pool = core.pool if core is not None else download.pool if download is not None else None
        rate = self._rate.rate(received + reused, now)
        waiting = nobody = ""
        sources, more = ([], 0) if pool is None else self._source_reports.make(pool, received_from, now)
        settled = self.phase in ("resolving", "downloading") and now - self._entered_at >= COMPLAIN_SECONDS
        if core is not None and settled:
            busy = REUSING if disk.reuse.under_way else WRITING if disk.writing else ""
            nobody = waiting_for(core.pool, download)
            waiting = nobody or ("" if rate else busy)
        slow = None
        if download is not None:  # asked in time for each report, since rates are taken of that
            measured = self._gauge.read(download.waits, disk.work_seconds, rate_limit, sources, nobody, now)
            if self.phase == "downloading" and settled and not disk.reuse.under_way:
                slow = bottleneck(measured)
        report = DownloadReport(
            digest=self._fetch.digest,
            phase=self.phase,
            length=manifest.length if manifest is not None else self._fetch.length,
            pieces=manifest.piece_count if manifest is not None else 0,
            done_pieces=done[0],
            done_bytes=done[1],
            checked_bytes=disk.checked_bytes,
            received_bytes=received,
            resumed_bytes=self.resumed_bytes,
            rate=rate,
            sources=sources,
            more_sources=more,
            detail=self._detail or waiting,
            reused_bytes=reused,
            reused_from=[root for root, _ in disk.reuse.good.most_common()],
            bottleneck=slow,
        )
        before, self._reported = self._reported, report
        return report if report != before else None


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
