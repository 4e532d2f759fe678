"""What a person is told about a share or a download: words, positions and totals, from a peer's `JobStatus`.

Pure: no terminal, no clock. `node.cli.progress` draws the views, `node.cli.output` prints the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from node.api_messages import CONTENTS_SHOWN_COUNT, JobStatus, StatusReport
from node.client.source_words import ban_notice
from node.disk.share_options import NOTHING, Skipped
from node.local_messages import DownloadReport
from node.reasons import job_silence, silence, why_no_source
from protocol.digest import short
from protocol.messages import TorrentEntry
from protocol.signature import moment_of, short_key
from service.text import printable
from service.units import counted, format_bytes, format_rate, format_seconds

_SHARE_WORDS = {"checking": "hashing", "waiting": "announcing", "done": "shared"}
_GET_WORDS = {"resolving": "looking up"}
_WORDS = {"share": _SHARE_WORDS, "audit": {"checking": "reading", "done": "right"}, "mend": {"downloading": "mending"}}


class JobView(Struct, frozen=True):
    """One line of progress. ``done`` of ``total`` bytes; ``total`` 0 means there is nothing to measure. ``stats`` is
    numbers that change all the time, ``note`` a reason that replaces them while a job cannot go on."""

    key: int
    label: str
    verb: str
    done: int
    total: int
    stats: str = ""
    note: str = ""
    final: bool = False

    @property
    def tail(self) -> str:
        """What stands at the end of the line."""
        return self.note or self.stats

    @property
    def percent(self) -> int:
        """Whole percent, 0 to 100; 100 only when everything is done."""
        return min(100, self.done * 100 // self.total) if self.total else 0


def view_of(job: JobStatus, label: str = "", problem: str = "") -> JobView:
    """The progress line of ``job``; ``label`` stands for it until its name is known. ``problem`` is what keeps the
    peer from its tracker, and so a job from going on."""
    words = _WORDS.get(job.kind, _GET_WORDS)
    report = job.download
    done = job.done_bytes
    stats = ""
    if report is not None:
        done = report.checked_bytes if job.phase in ("checking", "verifying") else report.done_bytes
        if job.phase in ("downloading", "waiting"):
            stats = download_stats(report)
    waits_for = report.detail if report is not None else ""
    detail = (waits_for if job.phase == "paused" else "") or job.detail or waits_for
    why = why_no_source(report) if report is not None and job.phase in ("resolving", "downloading") else ""
    if problem and job.phase in ("resolving", "waiting"):
        detail = problem
    elif job.phase == "resolving":
        detail = detail or why or ("asking the tracker" if report is None else "asking for the manifest")
    unmeasured = job.phase in ("resolving", "failed", "interrupted", "withdrawn")
    unmeasured = unmeasured or (job.kind == "share" and job.phase == "waiting")
    stopped = job.phase in ("resolving", "waiting", "paused", "failed", "interrupted", "withdrawn")
    stopped = stopped or (job.kind == "share" and job.phase == "checking" and bool(detail))
    if job.phase == "downloading" and report is not None and (detail or why) and not report.rate:
        stopped = True
        detail = "; ".join(filter(None, (detail, why, problem)))
    old = job_silence(job)
    if old:
        stopped, detail, stats = True, old, ""
    return JobView(
        key=job.job,
        label=printable(job.name or label),
        verb=words.get(job.phase, job.phase),
        done=job.length if job.phase == "done" else done,
        total=0 if unmeasured else job.length,
        stats=stats,
        note=printable(detail) if stopped else "",
        final=job.over,
    )


def trouble(report: StatusReport) -> str:
    """What keeps the peer from its tracker, in words; empty when nothing does."""
    if report.problem:
        return printable(report.problem)
    if report.network == "left":
        return "this peer has left the network; 'join' rejoins it"
    return ""


def serving_trouble(report: StatusReport, before: str) -> str:
    """Why others cannot fetch from this peer, in words; empty when nothing is known of it. ``before`` is what it said
    last, which holds until the peer has joined or there is another reason."""
    if report.network != "joined":
        return trouble(report) or before
    silent = silence(report.silent_seconds.get("piece_server", 0.0), "piece server")
    return silent or printable(report.reach_problem)


def download_stats(report: DownloadReport) -> str:
    """Rate, time left, sources and pieces, as far as they mean something now; the least important last."""
    parts = []
    if report.phase == "downloading" and report.rate > 0:
        parts.append(format_rate(report.rate))
        parts.append(f"{format_seconds((report.length - report.done_bytes) / report.rate)} left")
    parts.append(counted(sum(source.state == "connected" for source in report.sources), "source"))
    if report.pieces:
        parts.append(f"{report.done_pieces}/{report.pieces} pieces")
    if report.reused_bytes:
        parts.append(f"{format_bytes(report.reused_bytes)} reused")
    if banned := sum(source.state == "banned" for source in report.sources):
        parts.append(f"{banned} banned")
    return ", ".join(parts)


class Outcome(Struct, frozen=True):
    """How one target ended, as ``--json`` prints it. ``rate`` is bytes per second over the whole download, resumed
    and reused bytes left out; ``reused_from`` are paths, the one that gave most first; ``sources`` are the peers that
    sent anything; ``banned`` says who sent what was wrong; ``contents`` and ``signed_by`` as `JobStatus` has
    them; ``code`` is a `protocol.errors` word."""

    target: str
    ok: bool
    name: str = ""
    digest: str = ""
    link: str = ""
    path: str = ""
    length: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    received_bytes: int = 0
    resumed_bytes: int = 0
    reused_bytes: int = 0
    reused_from: list[str] = []
    sources: int = 0
    banned: list[str] = []
    verified: bool = False
    code: str = ""
    detail: str = ""
    skipped: Skipped = NOTHING
    contents: list[TorrentEntry] = []
    signed_by: list[str] = []


def choice(contents: Sequence[TorrentEntry], now: float) -> str:
    """Which of several ``contents`` with one name is taken, the first; ``now`` is `time.time`."""
    taken, *others = contents
    more = " or more" if len(contents) == CONTENTS_SHOWN_COUNT else ""
    moments = [moment_of(entry.signature) for entry in contents]
    if all(moments) and moments[0] == max(moments):
        newest = "the one signed last"
    elif taken.announced == max(entry.announced for entry in contents):
        newest = "the newest"
    else:
        newest = "the newest complete one"
    shown = ", ".join(f"{short_digest(other.digest)} ({announced_ago(other, now)})" for other in others)
    return (
        f"{printable(taken.name)}: {len(contents)}{more} contents have this name; taking {newest}, "
        f"{short_digest(taken.digest)}, {announced_ago(taken, now)}; for another one get its digest: {shown}"
    )


def announced_ago(entry: TorrentEntry, now: float) -> str:
    """``announced 3m 05s ago``."""
    if not entry.announced:
        return "only wanted by others" if not entry.have + entry.partial else "announced at an unknown time"
    return f"announced {format_seconds(max(0.0, now - entry.announced / 1e6))} ago"


def short_digest(digest: str) -> str:
    """``blake3:0123456789ab``: enough to tell swarms apart, short enough for a table."""
    return f"{digest.partition(':')[0]}:{short(digest)}"


def outcome_of(job: JobStatus, target: str) -> Outcome:
    """The result of a job in phase ``done`` or ``failed``."""
    ok = job.phase == "done"
    report = job.download
    received = report.received_bytes if report else 0
    resumed = report.resumed_bytes if report else 0
    reused = report.reused_bytes if report else 0
    fetched = max(0, job.length - resumed - reused) if report else 0
    return Outcome(
        target=target,
        ok=ok,
        name=job.name,
        digest=job.digest,
        link=job.link,
        path=job.path,
        length=job.length,
        seconds=round(job.seconds, 3),
        rate=round(fetched / job.seconds, 1) if ok and job.seconds > 0 else 0.0,
        received_bytes=received,
        resumed_bytes=resumed,
        reused_bytes=reused,
        reused_from=report.reused_from if report else [],
        sources=sum(1 for source in report.sources if source.received_bytes) if report else 0,
        banned=[ban_notice(source) for source in report.sources if source.state == "banned"] if report else [],
        verified=ok and report is not None,
        code="" if ok else job.code or "internal",
        detail=job.detail,
        skipped=job.skipped,
        contents=job.contents,
        signed_by=job.signed_by,
    )


def not_served(report: StatusReport, paths: Iterable[str]) -> dict[str, str]:
    """Which of ``paths`` the peer does not serve, and why. What has changed and is being hashed counts as served."""
    served = {item.path: item for item in report.shared if item.state != "earlier"}
    withdrawn = {job.path: job.detail for job in report.jobs if job.phase == "withdrawn"}
    reasons: dict[str, str] = {}
    for path in paths:
        item = served.get(path)
        if item is None:
            reasons[path] = printable(withdrawn.get(path) or "it was removed")
        elif item.state in ("missing", "damaged"):
            reasons[path] = printable(f"{item.state}: {item.detail}")
    return reasons


def got_line(outcome: Outcome) -> str:
    """``/data/model.bin  1.2 GiB in 4.1 s, 300.0 MiB/s from 5 sources, verified``."""
    signed = f", signed by {', '.join(map(short_key, outcome.signed_by))}" if outcome.signed_by else ""
    if not outcome.verified:
        size = format_bytes(outcome.length)
        return f"{printable(outcome.path)}  {size}{signed}, already here, not read again; --force checks and repairs it"
    facts = f"{format_bytes(outcome.length)} in {format_seconds(outcome.seconds)}"
    if outcome.rate:
        facts += f", {format_rate(outcome.rate)}"
    if outcome.sources:
        facts += f" from {counted(outcome.sources, 'source')}"
    elif not outcome.received_bytes:
        facts += ", nothing to fetch"
    if outcome.resumed_bytes:
        facts += f", {format_bytes(outcome.resumed_bytes)} of it resumed"
    if outcome.reused_bytes:
        facts += f", reused {format_bytes(outcome.reused_bytes)} of {format_bytes(outcome.length)}"
        facts += f" from {printable(outcome.reused_from[0])}" if outcome.reused_from else ""
        if len(outcome.reused_from) > 1:
            facts += f" and {counted(len(outcome.reused_from) - 1, 'other place')}"
    return f"{printable(outcome.path)}  {facts}, verified{signed}"


def outcome_fields(outcome: Outcome, kind: str) -> dict[str, Any]:
    """The fields of ``outcome`` that say something about a ``share`` or a ``get``, for ``--json``."""
    names = ["target", "ok", "name", "digest", "length", "seconds", "signed_by"]
    if kind == "share":
        names += ["link", "skipped"]
    else:
        names += ["path", "rate", "received_bytes", "resumed_bytes", "reused_bytes", "reused_from"]
        names += ["sources", "banned", "verified", "contents"]
    if not outcome.ok:
        names.append("code")
    if outcome.detail or not outcome.ok:
        names.append("detail")
    return {name: getattr(outcome, name) for name in names}
