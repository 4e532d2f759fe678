"""A peer is followed across restarts of its processes."""

from __future__ import annotations

import msgspec

from cluster.follow import Followed
from cluster.progress import note, percent, rows_for, summary
from node.api_messages import JobStatus, SharedStatus, StatusReport
from node.local_messages import DownloadReport, SourceReport

DIGEST = "blake3:" + "1" * 64
REPORT = DownloadReport(DIGEST, "downloading", 100, 10, 4, 40, 0, 44, 0, 7.0, [], "")
JOB = JobStatus(1, "get", "downloading", "x", DIGEST, 100, 40, "/d/x", "", "", "", 1.0, 0.0, None)
STATUS = StatusReport(1, "p", "peer-02", "joined", "", "", 1, 1, {}, [], [], 0, 0, 0)
NOW = 50.0


def status(*jobs: JobStatus, sent: int = 0, shared: tuple[SharedStatus, ...] = ()) -> StatusReport:
    return msgspec.structs.replace(STATUS, jobs=list(jobs), sent_bytes=sent, shared=list(shared))


def job(phase: str = "downloading", received: int = 44, **changes: object) -> JobStatus:
    sources = [
        SourceReport("a", "peer-01", "tcp://a:1", "connected", "", received, 0.0, 9),
        SourceReport("b", "peer-03", "tcp://b:1", "connected", "", 0, 0.0, 9),
    ]
    report = msgspec.structs.replace(REPORT, received_bytes=received, sources=sources)
    return msgspec.structs.replace(JOB, phase=phase, download=report, **changes)


def followed() -> Followed:
    return Followed("peer-02", DIGEST, 100)


def test_progress() -> None:
    peer = followed()
    peer.update(status(job(), sent=5), NOW)
    assert (peer.done, peer.received, peer.sent, peer.rate, peer.sources) == (40, 44, 5, 7.0, {"a": "peer-01"})
    assert (percent(peer), note(peer), peer.over) == (40, "downloading, 1 source", False)
    peer.update(status(job("done", 101, ended_monotonic=33.5), sent=9), NOW)
    assert (peer.finished_at, peer.done, peer.received, peer.sent, peer.path) == (33.5, 100, 101, 9, "/d/x")
    assert peer.over


def test_a_failed_job() -> None:
    peer = followed()
    peer.update(status(job("failed", code="disk", detail="no space")), NOW)
    assert (peer.error, peer.over, peer.finished_at) == ("disk: no space", True, 0.0)


def test_giving_up_does_not_change_what_is_over() -> None:
    peer = followed()
    peer.update(status(job("done", ended_monotonic=33.5)), NOW)
    peer.fail("too late")
    assert peer.error == ""


def test_a_restarted_downloader_counts_from_zero_and_the_sum_goes_on() -> None:
    peer = followed()
    for received in (44, 10, 30):
        peer.update(status(job(received=received)), NOW)
    assert peer.received == 74


def test_a_restarted_agent_forgets_uploads_until_it_is_told() -> None:
    peer = followed()
    for sent in (7, 0, 8):
        peer.update(status(job(), sent=sent), NOW)
    assert peer.sent == 8


def test_a_restarted_agent_forgets_finished_jobs_but_not_what_it_has() -> None:
    peer = followed()
    peer.update(status(job()), NOW)
    peer.update(status(), NOW)
    assert not peer.over
    peer.update(status(shared=(SharedStatus("x", DIGEST, "", 100, "/d/x", "downloaded", 0, 0),)), NOW)
    assert (peer.finished_at, peer.path) == (NOW, "/d/x")


def test_another_download_is_none_of_its_business() -> None:
    peer = followed()
    peer.update(status(job("done", digest="blake3:" + "2" * 64, ended_monotonic=1.0)), NOW)
    assert not peer.over


def test_empty_content_is_complete_from_the_start() -> None:
    assert percent(Followed("peer-02", DIGEST, 0)) == 100
    assert summary([Followed("peer-02", DIGEST, 0)]) == "100 %, 0 B of 0 B, 0 of 1 done"


def test_a_small_screen_shows_first_who_is_not_done() -> None:
    peers = [followed() for _ in range(10)]
    for done in peers[:8]:
        done.update(status(job("done", ended_monotonic=1.0)), NOW)
    assert rows_for(peers, 10) == (peers, 0)
    assert rows_for(peers, 4) == ([peers[0], *peers[8:]], 7)
    assert summary(peers) == "80 %, 800 B of 1000 B, 8 of 10 done"
