"""Results on standard output: tables and status for a person, JSON for a script.

Text from other machines goes through `printable`, so that no name can move the cursor or recolour a terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from node.cli.progress import is_terminal
from node.cli.source_words import job_silence, silence, source_tables, tracker_silence
from node.cli.tables import Rows, table_lines
from node.cli.view import download_stats, printable, trouble, view_of
from node.local_messages import JobStatus, StatusReport
from protocol.messages import PeerEntry, TorrentEntry
from service.units import counted, format_bytes

SHORT_ID = 8


def warn(text: str) -> None:
    """A message for a person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def error(text: str) -> None:
    """One line on standard error that says what went wrong and what to do."""
    warn(f"error: {printable(' '.join(text.split()))}")


def print_json(value: Any) -> None:
    """One line of JSON on standard output."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(headers: Sequence[str], rows: Rows) -> None:
    """Aligned columns; a header that starts with ``>`` is right-aligned. On a terminal long cells are shortened."""
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    for line in table_lines(headers, rows, width):
        print(line)


def torrent_rows(entries: Sequence[TorrentEntry]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of ``list``."""
    headers = ["NAME", ">SIZE", ">HAVE", ">PARTLY", ">WANTED", "DIGEST"]
    rows = [
        [
            printable(entry.name),
            format_bytes(entry.length),
            str(entry.have),
            str(entry.partial),
            str(entry.requesting),
            short_digest(entry.digest),
        ]
        for entry in entries
    ]
    return headers, rows


def peer_rows(peers: Sequence[PeerEntry]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of ``peers``."""
    headers = ["NAME", "ADDRESS", ">HAS", ">PARTLY", ">WANTS", ">UPLOADS", "PEER"]
    rows = [
        [
            printable(peer.name),
            printable(peer.endpoint),
            str(peer.have),
            str(peer.partial),
            str(peer.requesting),
            str(peer.load),
            peer.peer[:SHORT_ID],
        ]
        for peer in peers
    ]
    return headers, rows


def short_digest(digest: str) -> str:
    """``blake3:0123456789ab``: enough to tell swarms apart, short enough for a table."""
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}:{digits[:12]}"


Table = tuple[list[str], list[list[str]]]
"""Headers and rows."""


class StatusText(msgspec.Struct, frozen=True):
    """``status`` as text: facts about the peer, and tables of jobs, of each download's sources, of what is shared."""

    facts: list[tuple[str, str]]
    tables: list[Table]


def status_text(report: StatusReport) -> StatusText:
    """What ``status`` tells a person."""
    # Several jobs may follow one download: it counts once.
    reports = [job.download for job in report.jobs if job.download is not None]
    received = sum(bytes_ for _digest, bytes_ in {(found.digest, found.received_bytes) for found in reports})
    network = ", ".join(filter(None, (report.network, trouble(report) or report.tracker, tracker_silence(report))))
    sent = f"{format_bytes(report.sent_bytes)}, {counted(report.uploads, 'upload')} now"
    old = silence(report.silent_seconds.get("piece_server", 0.0), "piece server")
    facts = [
        ("peer", f"{printable(report.name)}  {report.peer}"),
        ("network", printable(network)),
        (
            "serving",
            counted(report.shared_count, "item") + (f" at {printable(report.endpoint)}" if report.endpoint else ""),
        ),
        ("sent", f"{sent} ({old})" if old else sent),
        ("received", format_bytes(received)),
        ("processes", ", ".join(f"{role} {pid}" for role, pid in report.pids.items())),
    ]
    if report.bad_messages:
        facts.append(("dropped", counted(report.bad_messages, "bad message")))
    sources = [
        ([printable(header) for header in headers], [[printable(cell) for cell in row] for row in rows])
        for headers, rows in source_tables(report.jobs)
    ]
    return StatusText(facts, [_job_rows(report.jobs), *sources, _shared_rows(report)])


def _job_rows(jobs: Sequence[JobStatus]) -> tuple[list[str], list[list[str]]]:
    headers = ["JOB", "WHAT", "STATE", ">DONE", ">SIZE", "DETAIL"]
    rows = []
    for job in jobs:
        view = view_of(job, job.path)
        detail = view.tail
        if job.phase == "done":
            detail = printable(job.path)
        elif job.download is not None and not detail and not job_silence(job):
            detail = download_stats(job.download)
        done = f"{view.percent} %" if view.total else ""
        size = format_bytes(job.length) if job.length else ""
        rows.append([job.kind, view.label, view.verb, done, size, detail])
    return headers, rows


def _shared_rows(report: StatusReport) -> tuple[list[str], list[list[str]]]:
    headers = ["SHARED", ">SIZE", ">SENT", ">TO", "ORIGIN", "PATH"]
    rows = [
        [
            printable(item.name),
            format_bytes(item.length),
            format_bytes(item.sent_bytes),
            str(item.sessions),
            item.origin,
            printable(item.path),
        ]
        for item in report.shared
    ]
    return headers, rows


def print_status(report: StatusReport) -> None:
    """``status`` for a person: facts, jobs, shared items, and a link for each of these."""
    text = status_text(report)
    for key, value in text.facts:
        print(f"{key:<10} {value}")
    for headers, rows in text.tables:
        if rows:
            print()
            print_table(headers, rows)
    links = [item.link for item in report.shared if item.link]
    if links:
        print("\nlinks")
    for link in links:
        print(printable(link))


def status_fields(report: StatusReport) -> dict[str, Any]:
    """``status --json``: the report without the number of the request."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {key: value for key, value in fields.items() if key not in ("id", "t", "more")}
