"""What /metrics of a peer says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import get_args

from node.api_messages import NETWORKS, PeerCounts, StatusReport
from node.local_messages import OVER, BottleneckKind, Phase
from node.metrics.machine import FileSystem
from node.metrics.reading import Reading
from service.web.exposition import Families

PHASES = tuple(phase for phase in get_args(Phase) if phase not in OVER)
ENDS: tuple[Phase, ...] = ("done", "failed")
ITEM_STATES = {"": "served", "missing": "missing", "changed": "changed", "damaged": "damaged"}
"""By the state of an item, its word here."""


def families(reading: Reading, file_systems: Mapping[str, FileSystem]) -> Families:
    """Without the agent's report there are few."""
    found, report = Families("zswarm_peer_"), reading.report
    found.gauge("up", "1 while the agent answers.", int(report is not None))
    _machine(found, reading, file_systems)
    if report is not None:
        _network(found, report)
        _uploads(found, report)
        if report.counts is not None:
            _downloads(found, report.counts)
            shared = {word: report.counts.shared.get(state, 0) for state, word in ITEM_STATES.items()}
            found.gauges("shared_items", "What this peer shares, by state.", "state", shared)
    return found


def _machine(found: Families, reading: Reading, file_systems: Mapping[str, FileSystem]) -> None:
    processes, disks = reading.processes, file_systems
    text = "When each process started, in seconds since 1970; a change is a restart."
    found.gauges("process_start_time_seconds", text, "process", {role: one.started for role, one in processes.items()})
    text = "CPU time of each process."
    found.counters("process_cpu_seconds", text, "process", {role: one.cpu_seconds for role, one in processes.items()})
    text = "Memory of each process that is resident."
    resident = {role: one.resident_bytes for role, one in processes.items()}
    found.gauges("process_resident_memory_bytes", text, "process", resident)
    text = "Space that this user may still take, by what the directory is for."
    found.gauges("disk_free_bytes", text, "directory", {what: one.free for what, one in disks.items()})
    text = "Size of the file system, by what the directory is for."
    found.gauges("disk_size_bytes", text, "directory", {what: one.size for what, one in disks.items()})


def _network(found: Families, report: StatusReport) -> None:
    states: dict[str, int] = {state: int(state == report.network) for state in NETWORKS}
    found.gauges("network", "1 for how it stands with the tracker.", "state", states)
    problems = {"tracker": int(bool(report.problem)), "reach": int(bool(report.reach_problem))}
    text = "1 while a tracker does not answer (tracker), or others cannot fetch from this peer (reach)."
    found.gauges("problem", text, "what", problems)
    text = "Since the tracker, or each of the other processes, was last heard by the agent."
    found.gauges("silent_seconds", text, "who", report.silent_seconds)
    text = "Limits that hold now; +Inf: none."
    limits = {"up": report.limits.upload_rate or inf, "down": report.limits.download_rate or inf}
    found.gauges("rate_limit_bytes_per_second", text, "direction", limits)
    if report.quota is not None:
        found.gauge("quota_bytes", "How much downloads may take.", report.quota.limit)
        found.gauge("quota_used_bytes", "How much of the quota they take.", report.quota.used)


def _uploads(found: Families, report: StatusReport) -> None:
    found.counter("sent_bytes", "Content sent to other peers.", report.sent_bytes)
    found.gauge("upload_sessions", "Peers that fetch from this one, once for each content.", report.uploads)
    found.gauge("queued_pieces", "Pieces that wait to be sent.", report.queued_pieces)
    found.counter("bad_messages", "What was sent to the piece server and is no message.", report.bad_messages)


def _downloads(found: Families, counts: PeerCounts) -> None:
    totals = counts.totals
    found.counter("received_bytes", "Content received, with what was wrong or came twice.", totals.received_bytes)
    found.counter("pieces_verified", "Pieces whose digest was right, and that were written.", totals.verified_pieces)
    found.counter("pieces_failed", "Pieces from other peers whose digest was wrong.", totals.failed_pieces)
    text = "Bans of sources that sent a wrong piece, or broke the protocol."
    found.counter("sources_banned", text, totals.bans)
    phases = {phase: counts.downloads.get(phase, 0) for phase in PHASES}
    found.gauges("downloads", "Downloads that have not ended, by state.", "state", phases)
    found.gauge("download_rate_bytes_per_second", "All downloads together, with what is reused.", counts.rate)
    text = "Running downloads, by what held them back in the last seconds."
    held_back = {kind: counts.held_back.get(kind, 0) for kind in get_args(BottleneckKind)}
    found.gauges("downloads_held_back", text, "by", held_back)
    text = "Downloads that ended, by how."
    found.counters("downloads_ended", text, "state", {phase: counts.ended.get(phase, 0) for phase in ENDS})
    found.gauge("repairs", "Contents of which wrong pieces are being fetched again.", counts.repairs)
