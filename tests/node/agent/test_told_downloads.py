"""What a peer tells the network of its downloads."""

from __future__ import annotations

from typing import Any

from node.agent.told_downloads import ENDED_SECONDS_MAX, LastRate, told_downloads
from node.api_messages import JobStatus
from node.local_messages import DownloadReport, SourceReport
from protocol.limits import DOWNLOADS_TOLD_COUNT_MAX, REASON_BYTES_MAX, SENDERS_TOLD_COUNT_MAX
from protocol.messages import DownloadState, Order


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def job(number: int, phase: Any = "downloading", content: int = 0, **more: Any) -> JobStatus:
    return JobStatus(number, "get", phase, f"file {number}", digest(content or number), 1000, **more)


def report(rate: float = 0.0, detail: str = "", *sources: SourceReport) -> DownloadReport:
    return DownloadReport(digest(1), "downloading", 1000, 10, 4, 400, 0, 400, 0, rate, list(sources), detail)


def source(state: Any, reason: str = "") -> SourceReport:
    return SourceReport("p", "lab7", "tcp://10.0.0.7:1", state, reason, 0, 0.0, 0)


def test_one_that_goes_on_has_its_figures_and_no_reason() -> None:
    found = report(50.4, "nobody has 1 of 10 pieces", source("connected"), source("unreachable", "refused"))
    (told,) = told_downloads([job(1, done_bytes=400, download=found)], 0.0, {})
    assert told == DownloadState(digest(1), "downloading", 1000, 400, 50, 1)


def test_it_is_said_who_sends_most_of_one_that_goes_on() -> None:
    def sender(number: int, rate: float, state: Any = "connected") -> SourceReport:
        return SourceReport(f"{number:x}" * 32, "lab7", "tcp://10.0.0.7:1", state, "", 0, rate, 0)

    two = report(100.0, "", sender(1, 24.8), sender(2, 75.2), sender(3, 0.0), sender(4, 50.0, "gone"))
    (told,) = told_downloads([job(1, done_bytes=400, download=two)], 0.0, {})
    assert told.senders == [("2" * 8, 75), ("1" * 8, 25)]
    many = report(100.0, "", *(sender(number, 10.0) for number in range(16)))
    (told,) = told_downloads([job(1, done_bytes=400, download=many)], 0.0, {})
    assert told.senders == [(f"{number:x}" * 8, 6) for number in range(SENDERS_TOLD_COUNT_MAX)]
    assert told_downloads([job(1, download=report(0.0, "", sender(1, 0.4)))], 0.0, {})[0].senders == []


def test_one_that_stands_still_has_its_reason() -> None:
    waits = report(0.0, "no peer has it at the moment")
    assert told_downloads([job(1, download=waits)], 0.0, {})[0].reason == "no peer has it at the moment"
    (told,) = told_downloads([job(1, download=report(0.0, "", source("unreachable", "refused")))], 0.0, {})
    assert told.reason == "1 source known, not reachable: lab7 (tcp://10.0.0.7:1): refused"
    silent = job(1, download=report(50.0), silent_seconds=12.0)
    assert told_downloads([silent], 0.0, {})[0].reason == "no news from the downloader for over 10 s"
    assert told_downloads([silent], 0.0, {})[0].rate == 0


def test_one_that_failed_is_told_of_for_a_while_unless_it_is_wanted_again_or_a_person_cancelled_it() -> None:
    failed = job(1, "failed", code="disk", detail="disk full", ended_monotonic=5.0)
    assert told_downloads([failed], 6.0, {}) == [DownloadState(digest(1), "failed", 1000, reason="disk full")]
    assert told_downloads([failed], 5.0 + ENDED_SECONDS_MAX, {}) == []
    assert told_downloads([failed, job(2, "done", content=1)], 6.0, {}) == []
    assert [one.state for one in told_downloads([failed, job(2, content=1)], 6.0, {})] == ["downloading"]
    assert told_downloads([job(1, "failed", code="cancelled", detail="removed")], 6.0, {}) == []


def test_one_that_is_done_is_told_of_if_it_carries_out_an_order() -> None:
    order = Order("o1", digest(1), digest(2), "f", 1_000)
    (told,) = told_downloads([job(1, "done")], 0.0, {1: order})
    assert told == DownloadState(digest(1), "done", 1_000, 1_000, order="o1", attempt=1)


def test_there_are_a_few_of_them_with_a_few_words_each() -> None:
    failed = [job(n, "failed", detail="\udcff" + "x" * 1_000, ended_monotonic=float(n)) for n in range(1, 31)]
    told = told_downloads([*failed, job(50)], 31.0, {})
    assert [one.digest for one in told[:3]] == [digest(50), digest(30), digest(29)]
    assert len(told) == DOWNLOADS_TOLD_COUNT_MAX
    assert len(told[1].reason.encode()) == REASON_BYTES_MAX


def test_the_last_rate_is_that_of_a_download_that_took_a_while_without_what_it_waited_for() -> None:
    def look(phase: Any, received: int, now: float, content: int = 1) -> int | None:
        zeros = (1000, 10, 4, 400, 0)
        return last.report(DownloadReport(digest(content), phase, *zeros, received, 0, 0.0, [], ""), now)

    last = LastRate()
    assert [look("waiting", 0, 0.0), look("downloading", 0, 100.0), look("downloading", 50, 101.0)] == [None] * 3
    assert look("downloading", 9_000, 103.0, 2) is None
    assert look("downloading", 150, 104.0) is None
    assert look("verifying", 450, 105.0) == 100
    assert look("done", 450, 109.0) is None
    assert look("verifying", 10_000, 103.5, 2) is None, "over in no time"
    assert [look("downloading", 1, 110.0), look("paused", 2, 120.0), look("verifying", 3, 130.0)] == [None] * 3
    look("downloading", 1, 140.0)
    last.over(digest(1))
    assert look("verifying", 3, 150.0) is None


def test_shares_and_what_has_no_digest_yet_are_none_of_them() -> None:
    asked = JobStatus(1, "get", "resolving", "m.bin")
    assert told_downloads([asked, JobStatus(2, "share", "checking", "x", digest(1))], 0.0, {}) == []
