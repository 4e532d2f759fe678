"""Why a download does not go on, in words: its sources, a process that says nothing. Pure.

For a person at this machine, and, shortened, for those who ask the tracker. Names and reasons are as other machines say
them: whoever shows these words makes them printable.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.api_messages import JobStatus
from node.local_messages import DownloadReport, SourceReport, SourceStanding
from service.units import counted, format_seconds

NAMED_COUNT = 3
"""Sources that one line names."""
NOT_ADMITTED = "it does not admit this peer"
"""Of another machine that wants another key of this one."""
SILENT_SECONDS = 2.5
"""A process of a peer says hello every second."""

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


def silence(seconds: float, whose: str) -> str:
    """``no news from the downloader for over 10 s``; empty when there is news."""
    if seconds < SILENT_SECONDS:
        return ""
    return f"no news from the {whose} for {over(seconds)}"


def job_silence(job: JobStatus) -> str:
    """What makes the figures of ``job`` old; empty when they are not."""
    if job.kind != "get" or job.over:
        return ""
    if job.phase == "resolving" and job.download is None:
        return ""  # it is the agent that looks up a name
    return silence(job.silent_seconds, "downloader")


def _named(source: SourceReport) -> str:
    return f"{called(source)}: {source.reason}" if source.reason else called(source)


def called(source: SourceReport) -> str:
    """A source as a line names it."""
    return f"{source.name or source.peer[:8]} ({source.endpoint})"


def over(seconds: float) -> str:
    """``over 10 s``: in steps, so that a log does not get a line each second."""
    step = 10.0 if seconds < 60 else 60.0
    return f"over {format_seconds(seconds // step * step)}" if seconds >= step else "some seconds"
