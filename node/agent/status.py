"""Builds `StatusReport`, everything a person may want to know of a peer, from the cores. Pure."""

from __future__ import annotations

import posixpath
from collections import Counter

from msgspec.structs import replace

from node.agent.catalogue import link_of
from node.agent.jobs import reported
from node.agent.library import LibraryItem
from node.agent.state import AgentState
from node.api_messages import ApiGetStatus, JobStatus, PeerCounts, SharedStatus, StatusReport
from node.local_messages import Fetch
from node.trust import signers_of

PAGE_COUNT = 1_000
"""Jobs, shared items and sources of downloads in one page, of some hundred bytes each as a rule and a few KiB at most;
what the last job has beyond that is in the page too."""
EARLIER = "this path has other content now; this is still served to peers that are fetching it"


def status_report(agent: AgentState, request: ApiGetStatus, now: float) -> StatusReport:
    """The report that answers ``request``."""
    silent = agent.children.silent_seconds(now)
    trackers, uploads, who = agent.trackers, agent.uploads, agent.who
    first = next((one for one in trackers.all if one.membership.joined), trackers.all[0])
    rows: list[Fetch | JobStatus | LibraryItem]
    if request.jobs is not None:
        asked = [agent.jobs.get(number) for number in request.jobs]
        there = [job for job in agent.jobs.all() if job.path in request.paths]
        withdrawn = [job for job in there if job.phase == "withdrawn" or job.kind == "mend"]
        items = [item for path in request.paths if (item := agent.catalogue.at(path)) is not None]
        rows, more = [*(job for job in asked if job is not None), *withdrawn, *items], 0
    else:
        contents = [*agent.catalogue.items(), *agent.catalogue.earlier()]
        rows = [*agent.gets.interrupted.values(), *agent.jobs.all(), *contents]
        end, count = request.first, 0
        while end < len(rows) and count < PAGE_COUNT:
            count += _row_count(rows[end])
            end += 1
        rows, more = rows[request.first : end], end if end < len(rows) else 0
    silent_get = silent.get("downloader", 0.0)
    jobs = [reported(row, silent_get, now) for row in rows if isinstance(row, JobStatus)]
    return StatusReport(
        id=request.id,
        peer=who.peer,
        name=who.name,
        network=trackers.network,
        tracker=", ".join(who.tokens),
        endpoint=first.membership.endpoint,
        epoch=max(first.follower.epoch, first.membership.epoch),
        seq=first.follower.seq,
        pids={"agent": who.pid, **agent.children.pids()},
        jobs=[*(interrupted_status(row) for row in rows if isinstance(row, Fetch)), *jobs],
        shared=[_shared(agent, row) for row in rows if isinstance(row, LibraryItem)],
        sent_bytes=uploads.sent_bytes,
        queued_pieces=uploads.queued_pieces,
        bad_messages=uploads.bad_messages,
        problem=trackers.problem(now),
        reach_problem=first.membership.reach_problem,
        silent_seconds=silent | trackers.silent_seconds(now),
        foreground=who.foreground,
        shared_count=len(agent.catalogue),
        uploads=uploads.sessions,
        more=more,
        limits=agent.limits.now,
        limits_why=agent.limits.why,
        quota=agent.quota.status(),
        following=agent.follows.all,
        keyed=who.keyed,
        counts=peer_counts(agent) if request.counts else None,
    )


def peer_counts(agent: AgentState) -> PeerCounts:
    """What monitoring counts."""
    jobs = agent.jobs.active("get")
    downloads = Counter(job.phase for job in jobs)
    downloads["interrupted"] = len(agent.gets.interrupted)
    reports = [job.download for job in jobs if job.download is not None]
    return PeerCounts(
        totals=agent.downloaded.totals,
        downloads=dict(downloads),
        rate=sum(report.rate for report in reports),
        held_back=dict(Counter(report.bottleneck.kind for report in reports if report.bottleneck is not None)),
        ended={phase: count for (kind, phase), count in agent.jobs.ended.items() if kind == "get"},
        repairs=len(agent.jobs.active("mend")),
        shared=dict(Counter(item.state for item in agent.catalogue.items())),
    )


def _row_count(row: Fetch | JobStatus | LibraryItem) -> int:
    return 1 + len(row.download.sources) if isinstance(row, JobStatus) and row.download is not None else 1


def item_status(item: LibraryItem, sent_bytes: int = 0, sessions: int = 0) -> SharedStatus:
    """``item`` as the library has it."""
    return SharedStatus(
        name=item.name,
        digest=item.digest,
        link=link_of(item),
        length=item.length,
        path=item.path,
        origin=item.origin,
        sent_bytes=sent_bytes,
        sessions=sessions,
        state=item.state,
        detail=item.detail,
        since=item.since,
        signed_by=signers_of(item.signatures),
    )


def interrupted_status(download: Fetch) -> JobStatus:
    """An interrupted download, as ``status`` shows it."""
    other = "the same content has since been requested elsewhere" if download.superseded else "it is not running"
    detail = f"{other}; 'get' to {posixpath.dirname(download.dest)} continues it, 'remove' deletes what was fetched"
    return JobStatus(
        job=0,
        kind="get",
        phase="interrupted",
        name=download.name,
        digest=download.digest,
        length=download.length,
        path=download.dest,
        link=link_of(download),
        detail=detail,
        signed_by=signers_of(download.signatures),
    )


def _shared(agent: AgentState, item: LibraryItem) -> SharedStatus:
    status = item_status(item, *agent.uploads.of(item.digest))
    if agent.catalogue.at(item.path) is not item:
        return replace(status, state="earlier", detail=EARLIER)
    if agent.shares.is_hashing(item.path):
        detail = "; ".join(filter(None, (item.detail, "being hashed again")))
        return replace(status, detail=detail, hashing=True)
    return status
