"""What this peer reports to the network about its downloads, for people (PROTOCOL.md, section 4.2). Pure.

Bounded: a few downloads, and a few words for each. A download that succeeded is in the peer's list; it is also reported
here if it carried out an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from node.api_messages import JobStatus
from node.local_messages import DownloadReport, SourceReport
from node.reasons import job_silence, why_no_source
from protocol.limits import DOWNLOADS_TOLD_COUNT_MAX, REASON_BYTES_MAX, SENDER_DIGITS, SENDERS_TOLD_COUNT_MAX
from protocol.messages import DownloadState, Order, Sender
from service.text import as_utf8

ENDED_SECONDS_MAX = 3_600.0
"""For how long a failed download is reported."""

MEASURED_SECONDS_MIN = 1.0
"""Of downloads that take less time the rate depends on when they are looked at."""


class LastRate:
    """Bytes a second that the last download brought in over the network, from its first ones to its last ones."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        """Of those under way: when bytes were first reported, and how many."""

    def report(self, report: DownloadReport, now: float) -> int | None:
        """Take in how a download stands; the rate when it is over and was long enough, else None. What waited in
        between begins anew."""
        if report.phase == "downloading":
            if report.received_bytes:
                self._first.setdefault(report.digest, (now, report.received_bytes))
            return None
        first_at, first_bytes = self._first.pop(report.digest, (now, 0))
        if report.phase not in ("verifying", "done") or now - first_at < MEASURED_SECONDS_MIN:
            return None
        return int((report.received_bytes - first_bytes) / (now - first_at))

    def over(self, digest: str) -> None:
        """There is no download of ``digest`` any more."""
        self._first.pop(digest, None)


def told_downloads(jobs: Iterable[JobStatus], now: float, ordered: Mapping[int, Order]) -> list[DownloadState]:
    """The downloads among ``jobs``, which are in the order of their start: running ones first, then failed ones, then
    finished ones that were ``ordered`` (by number of the job), the latest first. Of several for one content the last
    counts, or the ordered one, which is reported for as long as the order exists, even if a person here has cancelled
    it."""
    gets = [job for job in jobs if job.kind == "get" and job.digest]
    last = {job.digest: job for job in sorted(gets, key=lambda job: job.job in ordered)}
    active = [job for job in last.values() if not job.over]
    failed = [job for job in last.values() if job.phase == "failed"]
    lately = [job for job in failed if job.code != "cancelled" and now - job.ended_monotonic < ENDED_SECONDS_MAX]
    told = sorted(
        (job for job in failed if job in lately or job.job in ordered),
        key=lambda job: job.ended_monotonic,
        reverse=True,
    )
    done = [job for job in reversed(last.values()) if job.phase == "done" and job.job in ordered]
    return [_told(job, ordered.get(job.job)) for job in (*active, *told, *done)[:DOWNLOADS_TOLD_COUNT_MAX]]


def _told(job: JobStatus, order: Order | None) -> DownloadState:
    assert job.phase != "done" or order is not None
    assert job.phase != "interrupted"
    assert job.phase != "withdrawn"
    report, silent = job.download, job_silence(job)
    rate = 0 if report is None or silent or job.phase != "downloading" else int(report.rate)
    reason = silent or job.detail
    if not reason and report is not None and not rate:
        reason = report.detail or why_no_source(report)
    return DownloadState(
        digest=job.digest,
        state=job.phase,
        length=job.length,
        done=job.length if job.phase == "done" else job.done_bytes,
        rate=rate,
        sources=0 if report is None or job.over else sum(source.state == "connected" for source in report.sources),
        reason=as_utf8(reason)[:REASON_BYTES_MAX],
        order="" if order is None else order.order,
        attempt=0 if order is None else order.attempt,
        senders=_senders(report.sources) if rate and report is not None else [],
    )


def _senders(sources: Iterable[SourceReport]) -> list[Sender]:
    """Those that send most, each with its part of what all of them send."""
    sending = [source for source in sources if source.state == "connected" and source.rate >= 1]
    whole = sum(source.rate for source in sending)
    most = sorted(sending, key=lambda source: source.rate, reverse=True)[:SENDERS_TOLD_COUNT_MAX]
    return [(source.peer[:SENDER_DIGITS], round(100 * source.rate / whole)) for source in most]
