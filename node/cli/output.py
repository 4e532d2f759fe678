"""Results on standard output: tables and status for a person, JSON for a script.

Text from other machines goes through `printable`, so that no name can move the cursor or recolour a terminal. Cells of
tables are text as it came: `fitting_blocks` does that for all of them.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from node.api_messages import JobStatus, QuotaStatus, SharedStatus, StatusReport
from node.cli.progress import is_terminal
from node.cli.tables import ELLIPSIS, Block, Rows, shortened, table_blocks, wrapped
from node.client.source_words import source_tables, tracker_silence
from node.client.view import download_stats, short_digest, trouble, view_of
from node.disk.share_options import Skipped
from node.rate_limit import UNLIMITED
from node.reasons import job_silence, silence
from node.schedule import CONFIGURED, limits_text
from protocol.errors import ZswarmError
from protocol.messages import PeerEntry, StandingEntry, TorrentEntry
from protocol.signature import short_key
from service.look_alikes import look
from service.streams import error as error
from service.streams import warn as warn
from service.streams import writable
from service.text import printable, told_apart
from service.units import counted, format_bytes, format_seconds

SHORT_ID = 8
FACT_COLUMNS = 11
FEW_LINES = 16
"""On a terminal with fewer lines than this, most facts make room for jobs and items."""
FEW_FACTS = 2
_TROUBLE = ("missing", "damaged")
Peer = TypeVar("Peer", PeerEntry, StandingEntry)
FOLLOWING_SHOWN = 10
Content = tuple[str, str, str]
"""Digest, manifest and name."""
Signers = dict[Content, list[str]]
"""The written keys that have signed it."""
Table = tuple[list[str], list[list[str]]]
"""Headers and rows."""
PLAIN_ELLIPSIS = "~"
"""For a terminal that cannot show the other one; of the same width."""


def left_out(skipped: Skipped, followed: bool) -> None:
    """What a share or a seed leaves out; ``followed``: links were followed."""
    warn(f"left out: {skipped.described(printable)}{skipped.advice(followed)}")


def print_json(value: Any) -> None:
    """Print one line of JSON on standard output, in UTF-8 whatever the locale."""
    try:
        line = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path of this machine that is no UTF-8: what of it is not becomes escapes
        line = json.dumps(msgspec.to_builtins(value)).encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


def print_path(path: str) -> None:
    """Print a path as the only result: for a script, exactly as it is."""
    print(printable(path) if is_terminal(sys.stdout) else path, flush=True)


def error_fields(error: ZswarmError) -> dict[str, Any]:
    """What ``--json`` prints of an error."""
    return {"ok": False, "error": {"code": error.code, "detail": str(error)}}


def print_table(headers: Sequence[str], rows: Rows) -> None:
    """Aligned columns (`node.cli.tables`), made to fit a terminal."""
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    for block in fitting_blocks(headers, rows, width):
        print(*block, sep="\n")


def fitting_blocks(headers: Sequence[str], rows: Rows, width: int | None) -> list[Block]:
    """`table_blocks` of any text, as standard output can encode it; cells that look alike can be told apart. Escapes
    take room, so they come first."""
    columns = [told_apart(column) for column in zip(*rows, strict=True)]
    escaped = [[writable(cell, sys.stdout) for cell in row] for row in zip(*columns, strict=True)]
    titles = [printable(header) for header in headers]
    cut = ELLIPSIS if writable(ELLIPSIS, sys.stdout) == ELLIPSIS else PLAIN_ELLIPSIS
    return [[line.replace(ELLIPSIS, cut) for line in block] for block in table_blocks(titles, escaped, width)]


def newest_first(entries: Sequence[TorrentEntry]) -> list[TorrentEntry]:
    """Sorted by name, those that look alike together; of one name, the newest first. Each content once, whoever has
    signed it."""
    latest: dict[Content, TorrentEntry] = {}
    for entry in entries:
        known = latest.get(content_of(entry))
        if known is None or known.announced < entry.announced:
            latest[content_of(entry)] = entry

    def order(entry: TorrentEntry) -> tuple[str, str, int, str, str]:
        return look(entry.name), entry.name, -entry.announced, entry.digest, entry.manifest

    return sorted(latest.values(), key=order)


def content_of(entry: TorrentEntry) -> Content:
    return entry.digest, entry.manifest, entry.name


def torrent_fields(entry: TorrentEntry, signers: Signers) -> dict[str, Any]:
    """``entry`` for ``list --json``."""
    fields = msgspec.structs.asdict(entry)
    del fields["signature"]
    return fields | {"signed_by": signers.get(content_of(entry), [])}


def torrent_rows(entries: Sequence[TorrentEntry], signers: Signers, now: float) -> Table:
    """Headers and rows of ``list``; ``now`` is `time.time`. Nothing is said of signatures where there are none."""
    headers = ["NAME", ">SIZE", ">HAVE", ">PARTLY", ">WANTED", ">AGE", "=DIGEST", *(["SIGNED BY"] if signers else [])]
    rows = [
        [
            entry.name,
            format_bytes(entry.length),
            str(entry.have),
            str(entry.partial),
            str(entry.requesting),
            format_seconds(max(0.0, now - entry.announced / 1e6)) if entry.announced else "-",
            short_digest(entry.digest),
            *([", ".join(map(short_key, signers.get(content_of(entry), ["-"])))] if signers else []),
        ]
        for entry in entries
    ]
    return headers, rows


def peer_rows(peers: Sequence[PeerEntry], seen_by: Mapping[str, Sequence[str]]) -> Table:
    """Headers and rows of ``peers``. ``seen_by``: the trackers of those that not all see."""
    headers = ["NAME", "=ADDRESS", ">HAS", ">PARTLY", ">WANTS", ">UPLOADS", "=PEER"]
    rows = [
        [
            peer.name,
            peer.endpoint,
            str(peer.have),
            str(peer.partial),
            str(peer.requesting),
            str(peer.load),
            peer.peer[:SHORT_ID],
        ]
        for peer in by_name(peers)
    ]
    if seen_by:
        headers.append("=SEEN BY ONLY")
        for row, peer in zip(rows, by_name(peers), strict=True):
            row.append(", ".join(seen_by.get(peer.peer, ())))
    return headers, rows


def by_name(peers: Sequence[Peer]) -> list[Peer]:
    return sorted(peers, key=lambda peer: (look(peer.name), peer.name, peer.peer))


class StatusText(msgspec.Struct, frozen=True):
    """``status`` as text: facts about the peer, and tables of jobs, of each download's sources, of what is shared."""

    facts: list[tuple[str, str]]
    jobs: Table
    sources: list[Table]
    shared: Table

    @property
    def tables(self) -> list[Table]:
        """All of them, in the order in which they are shown."""
        return [self.jobs, *self.sources, self.shared]


def _quota_facts(quota: QuotaStatus | None) -> list[tuple[str, str]]:
    if quota is None:
        return []
    used = ("quota", f"{format_bytes(quota.used)} of {format_bytes(quota.limit)} are used by downloads")
    deleted = [("", printable(text)) for text in quota.deleted]
    return [used, *deleted, *(("", printable(f"not deleted: {text}")) for text in quota.kept)]


def status_text(report: StatusReport) -> StatusText:
    """What ``status`` tells a person."""
    # Several jobs may follow one download: it counts once.
    reports = [job.download for job in report.jobs if job.download is not None]
    received = sum(bytes_ for _digest, bytes_ in {(found.digest, found.received_bytes) for found in reports})
    reused = sum(bytes_ for _digest, bytes_ in {(found.digest, found.reused_bytes) for found in reports})
    network = ", ".join(filter(None, (report.network, trouble(report) or report.tracker, tracker_silence(report))))
    sent = f"{format_bytes(report.sent_bytes)}, {counted(report.uploads, 'upload')} now"
    old = silence(report.silent_seconds.get("piece_server", 0.0), "piece server")
    limits = limits_text(report.limits, printable(report.limits_why))
    facts = [
        ("peer", f"{printable(report.name)}  {report.peer}"),
        ("network", printable(network)),
        (
            "serving",
            counted(report.shared_count, "item") + (f" at {printable(report.endpoint)}" if report.endpoint else ""),
        ),
        ("sent", f"{sent} ({old})" if old else sent),
        ("received", format_bytes(received)),
        *([("reused", f"{format_bytes(reused)} from other content on this machine")] if reused else []),
        *([("limits", limits)] if report.limits != UNLIMITED or report.limits_why not in ("", CONFIGURED) else []),
        *_quota_facts(report.quota),
        *(
            ("following", f"{printable(what.pattern)} to {printable(what.directory)}")
            for what in report.following[:FOLLOWING_SHOWN]
        ),
        ("processes", ", ".join(f"{role} {pid}" for role, pid in report.pids.items())),
    ]
    hangs = silence(report.silent_seconds.get("agent", 0.0), "agent")
    if hangs:
        facts.append(("warning", f"{hangs}: showing what was known before"))
    if report.reach_problem:
        facts.append(("warning", printable(report.reach_problem)))
    if report.bad_messages:
        facts.append(("dropped", counted(report.bad_messages, "bad message")))
    jobs, shared = _job_rows(in_order(report.jobs)), _shared_rows(busy_first(report.shared))
    return StatusText(facts, jobs, source_tables(report.jobs), shared)


def busy_first(shared: Sequence[SharedStatus]) -> list[SharedStatus]:
    """Items being fetched first, then those with problems."""
    return sorted(shared, key=lambda item: 0 if item.sessions else 1 if item.state in _TROUBLE else 2)


def in_order(jobs: Sequence[JobStatus]) -> list[JobStatus]:
    """Running jobs first, then those that have ended, the newest first."""
    over = [job for job in jobs if job.over]
    newest = sorted(over, key=lambda job: (job.finished_at, job.job), reverse=True)
    return [*(job for job in jobs if not job.over), *newest]


def _job_rows(jobs: Sequence[JobStatus]) -> Table:
    headers = ["=JOB", "WHAT", "=STATE", ">DONE", ">SIZE", "~DETAIL"]
    rows = []
    for job in jobs:
        view = view_of(job, job.path)
        detail = view.tail
        if job.phase == "done":
            detail = "; ".join(filter(None, (job.path, job.detail)))
        elif job.download is not None and not job_silence(job) and not view.note:
            slow = job.download.bottleneck
            detail = "; ".join([download_stats(job.download), *([slow.text] if slow is not None else [])])
        done = f"{view.percent} %" if view.total else ""
        size = format_bytes(job.length) if job.length else ""
        rows.append([job.kind, view.label, view.verb, done, size, detail])
    return headers, rows


def _shared_rows(shared: Sequence[SharedStatus], served: str = "served") -> Table:
    """``served`` is the state shown for items with no problem."""
    headers = ["SHARED", ">SIZE", ">SENT", ">TO", "=ORIGIN", "<PATH", "=STATE", "~DETAIL"]
    rows = [
        [
            item.name,
            format_bytes(item.length),
            format_bytes(item.sent_bytes),
            str(item.sessions),
            item.origin,
            item.path,
            item.state or served,
            _state_detail(item),
        ]
        for item in shared
    ]
    return headers, rows


def _state_detail(item: SharedStatus) -> str:
    """Since when it is in its state, and why."""
    since = time.strftime("since %Y-%m-%d %H:%M", time.localtime(item.since)) if item.since else ""
    return ": ".join(filter(None, (since, item.detail)))


class ScreenLine(NamedTuple):
    text: str
    title: bool = False


def screen_lines(report: StatusReport, width: int, height: int) -> list[ScreenLine]:
    """``status`` on a terminal of this size. The least important rows are left out, and counted: items that nobody is
    fetching, then jobs that are done, then jobs that failed."""
    text = status_text(report)
    facts = text.facts if height >= FEW_LINES else text.facts[:FEW_FACTS]
    lines = [ScreenLine(line) for key, value in facts for line in _fact_lines(key, value, width)]
    tables = [fitting_blocks(*table, width) for table in text.tables]
    ranks = [
        [0 if not job.over else 5 if job.phase == "done" else 4 for job in in_order(report.jobs)],
        *([1] * len(rows) for _, rows in text.sources),
        [2 if item.state in _TROUBLE else 3 if item.sessions else 6 for item in busy_first(report.shared)],
    ]
    chosen = _chosen(tables, ranks, height - len(lines))
    bare = [n for n, blocks in enumerate(tables) if n and len(blocks) > 1 and not chosen[n]]
    if bare:  # nothing of them is worth a title
        titled = [blocks if n not in bare else blocks[:1] for n, blocks in enumerate(tables)]
        chosen = _chosen(titled, ranks, height - len(lines) - len(bare))
    for n, blocks in enumerate(tables):
        hidden = len(blocks) - 1 - len(chosen[n])
        if n in bare:
            what = "shared item" if n == len(tables) - 1 else "source"
            lines.append(ScreenLine(f"+{counted(hidden, what)}"))
        elif len(blocks) > 1:
            lines += [ScreenLine(""), ScreenLine(blocks[0][0], title=True)]
            lines += [ScreenLine(line) for place in sorted(chosen[n]) for line in blocks[1 + place]]
            lines += [ScreenLine(f"+{hidden} more")] if hidden else []
    return lines[:height]


def _fact_lines(key: str, value: str, width: int) -> list[str]:
    """Keeps all facts that may explain why nothing makes progress."""
    room = max(1, width - FACT_COLUMNS)
    value = writable(value, sys.stdout)
    first, *more = (wrapped(value, room) or [""]) if key in ("network", "warning") else [shortened(value, room)]
    return [f"{key:<{FACT_COLUMNS}}{first}", *(" " * FACT_COLUMNS + part for part in more)]


def _chosen(tables: Sequence[Sequence[Block]], ranks: Sequence[Sequence[int]], height: int) -> list[set[int]]:
    """Which rows of each table fit into ``height`` lines, those of the lowest rank first."""
    rows = [(ranks[n][place], n, place) for n, blocks in enumerate(tables) for place in range(len(blocks) - 1)]
    titled = sum(len(blocks) > 1 for blocks in tables)
    room = height - 2 * titled
    if sum(len(tables[n][1 + place]) for _, n, place in rows) > room:
        room -= titled  # for what says how many more there are
    chosen: list[set[int]] = [set() for _ in tables]
    for _, n, place in sorted(rows):
        room -= len(tables[n][1 + place])
        if room < 0:
            break
        chosen[n].add(place)
    return chosen


def print_status(report: StatusReport) -> None:
    """``status`` for a person: facts, jobs, shared items, and a link for each of these."""
    text = status_text(report)
    for key, value in text.facts:
        print(f"{key:<{FACT_COLUMNS}}{value}")
    _print_lists(text.tables, [item.link for item in report.shared if item.link and not item.state])


def print_stored(jobs: Sequence[JobStatus], shared: Sequence[SharedStatus]) -> None:
    """``status`` of a data directory on which no peer runs."""
    print(f"{'peer':<{FACT_COLUMNS}}none runs")
    links = [item.link for item in shared if not item.state]
    _print_lists([_job_rows(jobs), _shared_rows(shared, "not served")], links)


def _print_lists(tables: Sequence[Table], links: Sequence[str]) -> None:
    for headers, rows in tables:
        if rows:
            print()
            print_table(headers, rows)
    if links:
        print("\nlinks")
    for link in links:
        print(printable(link))


def status_fields(report: StatusReport) -> dict[str, Any]:
    """``status --json``: the report without the number of the request."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {key: value for key, value in fields.items() if key not in ("id", "t", "more", "counts")}
