"""`StatusReport`: everything a person may want to know of a peer, from what the cores know. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.agent.catalogue import link_of
from node.agent.gets import interrupted_status
from node.agent.library import LibraryItem
from node.local_messages import SharedStatus, StatusReport

if TYPE_CHECKING:
    from node.agent.core import AgentCore


def status_report(core: AgentCore, number: int, now: float) -> StatusReport:
    """The report that answers request ``number``."""
    silent = core.children.silent_seconds(now)
    membership, uploads, who = core.membership, core.uploads, core.who
    return StatusReport(
        id=number,
        peer=who.peer,
        name=who.name,
        network=membership.network,
        tracker=who.tracker,
        endpoint=membership.endpoint,
        epoch=max(core.follower.epoch, membership.epoch),
        seq=core.follower.seq,
        pids={"agent": who.pid, **core.children.pids()},
        jobs=[
            *(interrupted_status(download) for download in core.gets.interrupted.values()),
            *(job.status(core.wall_offset, silent.get("downloader", 0.0)) for job in core.jobs.all()),
        ],
        shared=[
            *(_shared(core, item, item.state) for item in core.catalogue.items()),
            *(_shared(core, item, "earlier") for item in core.catalogue.earlier()),
        ],
        sent_bytes=uploads.sent_bytes,
        queued_pieces=uploads.queued_pieces,
        bad_messages=uploads.bad_messages,
        problem=membership.problem or core.lookups.problem(now),
        reach_problem=membership.reach_problem,
        silent_seconds=silent | membership.silent_seconds(now),
        foreground=who.foreground,
    )


def _shared(core: AgentCore, item: LibraryItem, state: str) -> SharedStatus:
    sent, sessions = core.uploads.of(item.digest)
    detail = item.detail
    if state == "earlier":
        detail = "this path has other content by now; served to those who are fetching this"
    elif core.shares.is_hashing(item.path):
        detail = "; ".join(filter(None, (detail, "being hashed again")))
    return SharedStatus(
        name=item.name,
        digest=item.digest,
        link=link_of(item),
        length=item.length,
        path=item.path,
        origin=item.origin,
        sent_bytes=sent,
        sessions=sessions,
        state=state,
        detail=detail,
        since=item.since,
    )
