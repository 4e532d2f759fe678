"""How a person is told of the sources of a download, and of a process or tracker that says nothing. Pure.

Names and reasons are as other machines say them: whoever prints these words makes them printable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from node.local_messages import DownloadReport, JobStatus, SourceReport, SourceStanding, StatusReport
from service.units import counted, format_bytes, format_rate, format_seconds

NAMED_COUNT = 3
"""Sources that one line names."""
ROWS_COUNT = 6
"""Sources that ``status`` shows for each download."""
SILENT_SECONDS = 2.5
"""A process of a peer says hello every second..."""
TRACKER_SILENT_SECONDS = 10.0
"""...and a tracker answers a heartbeat every five."""

WORDS: Mapping[SourceStanding, str] = {
    "known": "not asked yet",
    "connecting": "connecting",
    "connected": "connected",
    "unreachable": "not reachable",
    "other_peer": "another peer answers there",
    "no_peer": "no peer answers there",
    "no_content": "does not have it",
    "other_manifest": "has another manifest",
    "not_serving": "is not serving now",
    "banned": "banned",
    "gone": "gone",
}
_FINE = ("known", "connecting", "connected", "gone")


def why_no_source(report: DownloadReport) -> str:
    """What is wrong with the sources of a download: ``1 source known, not reachable: a (tcp://...): refused``. Empty
    while nothing is. Says the same until something changes."""
    bad = [source for source in report.sources if source.state not in _FINE]
    if not bad:
        return ""
    known = [source for source in report.sources if source.state != "gone"]
    by_state: dict[SourceStanding, list[SourceReport]] = {}
    for source in bad[:NAMED_COUNT]:
        by_state.setdefault(source.state, []).append(source)
    groups = [f"{WORDS[state]}: {', '.join(map(_named, some))}" for state, some in by_state.items()]
    more = len(bad) - NAMED_COUNT
    text = f"{counted(len(known) + report.more_sources, 'source')} known, {'; '.join(groups)}"
    return f"{text}; {more} more cannot be used" if more > 0 else text


def ban_notice(source: SourceReport) -> str:
    """A line for the moment in which a source is banned."""
    return f"{_called(source)} is no longer used: it {source.reason}"


def _named(source: SourceReport) -> str:
    called = _called(source)
    return f"{called}: {source.reason}" if source.reason else called


def _called(source: SourceReport) -> str:
    return f"{source.name or source.peer[:8]} ({source.endpoint})"


def source_rows(report: DownloadReport, label: str, old: bool) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the sources of a download that is called ``label``, those that send most now first. What is
    ``old`` has no rates."""
    headers = [f"SOURCES OF {label}", "=ADDRESS", ">PIECES", ">RECEIVED", ">RATE", "~STATE"]
    rows = [
        [
            source.name or source.peer[:8],
            source.endpoint,
            str(source.pieces) if source.state == "connected" else "",
            format_bytes(source.received_bytes),
            format_rate(source.rate) if source.rate and not old else "",
            _state_of(source, report.phase == "paused") + (f": {source.reason}" if source.reason else ""),
        ]
        for source in sorted(report.sources, key=lambda source: -source.rate)[:ROWS_COUNT]
    ]
    more = len(report.sources) - len(rows) + report.more_sources
    if more:
        rows.append([f"+{more} more", "", "", "", "", ""])
    return headers, rows


def _state_of(source: SourceReport, paused: bool) -> str:
    """One of which it is only known that it is there may have been connected before."""
    return "not connected now" if source.state == "known" and (paused or source.received_bytes) else WORDS[source.state]


def source_tables(jobs: Sequence[JobStatus]) -> list[tuple[list[str], list[list[str]]]]:
    """A table for each download under way that knows sources; several jobs may follow one."""
    found = {
        job.digest: source_rows(job.download, job.name, bool(job_silence(job)))
        for job in jobs
        if job.download is not None and job.download.sources and not job.over
    }
    return list(found.values())


def silence(seconds: float, whose: str) -> str:
    """``no news from the downloader for over 10 s``; empty when there is news."""
    if seconds < SILENT_SECONDS:
        return ""
    return f"no news from the {whose} for {_over(seconds)}"


def aged(report: StatusReport, seconds: float) -> StatusReport:
    """``report`` when the agent has not answered for ``seconds`` since."""
    jobs = [replace(job, silent_seconds=max(job.silent_seconds, seconds)) for job in report.jobs]
    return replace(report, jobs=jobs, silent_seconds=report.silent_seconds | {"agent": seconds})


def tracker_silence(report: StatusReport) -> str:
    """When a tracker that ought to have answered was heard last; empty while there is nothing to say."""
    seconds = report.silent_seconds.get("tracker", 0.0)
    return f"last heard {_over(seconds)} ago" if seconds >= TRACKER_SILENT_SECONDS and report.network != "left" else ""


def job_silence(job: JobStatus) -> str:
    """What makes the figures of ``job`` old; empty when they are not."""
    if job.kind != "get" or job.over:
        return ""
    if job.phase == "resolving" and job.download is None:
        return ""  # it is the agent that looks up a name
    return silence(job.silent_seconds, "downloader")


def _over(seconds: float) -> str:
    """In steps, so that a log does not get a line each second."""
    step = 10.0 if seconds < 60 else 60.0
    return f"over {format_seconds(seconds // step * step)}" if seconds >= step else "some seconds"
