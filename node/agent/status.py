"""`StatusReport`: everything a person may want to know of a peer, from what the cores know. Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from node.agent.catalogue import link_of
from node.agent.library import LibraryItem
from node.local_messages import ApiGetStatus, SharedStatus, StatusReport

if TYPE_CHECKING:
    from node.agent.core import AgentCore


PAGE_COUNT = 1_000
"""Jobs and shared items in one report: some MiB, with the longest paths and all sources of each download."""


def status_report(core: AgentCore, request: ApiGetStatus, now: float) -> StatusReport:
    """The report that answers ``request``."""
    silent = core.children.silent_seconds(now)
    membership, uploads, who, catalogue = core.membership, core.uploads, core.who, core.catalogue
    jobs, items, more = core.jobs.all(), [], 0
    if request.jobs is not None:
        jobs = [job for number in request.jobs if (job := core.jobs.get(number)) is not None]
    else:
        end = request.first + PAGE_COUNT
        more = end if end < len(jobs) + len(catalogue) else 0
        items = list(islice(catalogue.items(), max(0, request.first - len(jobs)), max(0, end - len(jobs))))
        jobs = jobs[request.first : end]
    return StatusReport(
        id=request.id,
        peer=who.peer,
        name=who.name,
        network=membership.network,
        tracker=who.tracker,
        endpoint=membership.endpoint,
        epoch=max(core.follower.epoch, membership.epoch),
        seq=core.follower.seq,
        pids={"agent": who.pid, **core.children.pids()},
        jobs=[job.status(core.wall_offset, silent.get("downloader", 0.0), now) for job in jobs],
        shared=[_shared(core, item) for item in items],
        sent_bytes=uploads.sent_bytes,
        queued_pieces=uploads.queued_pieces,
        bad_messages=uploads.bad_messages,
        problem=membership.problem,
        silent_seconds=silent | membership.silent_seconds(now),
        shared_count=len(catalogue),
        uploads=uploads.sessions,
        more=more,
    )


def _shared(core: AgentCore, item: LibraryItem) -> SharedStatus:
    sent, sessions = core.uploads.of(item.digest)
    return SharedStatus(item.name, item.digest, link_of(item), item.length, item.path, item.origin, sent, sessions)
