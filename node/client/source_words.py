"""How a person is told of the sources of a download, and of a tracker that says nothing. Pure.

Names and reasons are as other machines say them: whoever prints these words makes them printable.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from node.api_messages import JobStatus, StatusReport
from node.local_messages import DownloadReport, SourceReport
from node.reasons import WORDS, called, job_silence, over
from service.units import format_bytes, format_rate

ROWS_COUNT = 6
"""Sources that ``status`` shows for each download."""
TRACKER_SILENT_SECONDS = 10.0
"""A tracker answers a heartbeat every five."""


def ban_notice(source: SourceReport) -> str:
    """A line for the moment in which a source is banned."""
    return f"{called(source)} is no longer used: it {source.reason}"


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


def aged(report: StatusReport, seconds: float) -> StatusReport:
    """``report`` when the agent has not answered for ``seconds`` since."""
    jobs = [replace(job, silent_seconds=max(job.silent_seconds, seconds)) for job in report.jobs]
    return replace(report, jobs=jobs, silent_seconds=report.silent_seconds | {"agent": seconds})


def tracker_silence(report: StatusReport) -> str:
    """When a tracker that ought to have answered was heard last; empty while there is nothing to say."""
    seconds = report.silent_seconds.get("tracker", 0.0)
    return f"last heard {over(seconds)} ago" if seconds >= TRACKER_SILENT_SECONDS and report.network != "left" else ""
