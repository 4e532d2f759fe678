"""Whether downloads that peers were told to make are over: done, or rightly said to wait for what nobody has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cluster.chaos.wants import AGAIN_SECONDS, Want, settled
from cluster.local import LocalPeer
from node.api_messages import ApiAccepted, JobStatus, SharedStatus, StatusReport
from node.local_messages import DownloadReport

DIGEST = "blake3:" + "0" * 64
CONTENT = JobStatus(1, "share", "done", "file.bin", digest=DIGEST, link="zswarm://link")
ITEM = SharedStatus("file.bin", DIGEST, "zswarm://link", 10, "/data/file.bin", "downloaded", 0, 0)


class Line:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def next_id(self) -> int:
        return len(self.sent) + 1

    def send(self, message: Any) -> None:
        self.sent.append(message)


def want(name: str = "peer-01", is_safe: bool = False) -> tuple[Want, Line]:
    line = Line()
    return Want(cast(LocalPeer, SimpleNamespace(name=name, line=line, download_dir="/data")), CONTENT, is_safe), line


def status(*jobs: JobStatus, items: tuple[SharedStatus, ...] = ()) -> StatusReport:
    return StatusReport(1, "0", "peer", "joined", "", "", 0, 0, {}, list(jobs), list(items), 0, 0, 0)


def downloading(done: int, said: str) -> JobStatus:
    report = DownloadReport(DIGEST, "downloading", 10, 10, done, done, 0, 0, 0, 0.0, [], said)
    return JobStatus(1, "get", "downloading", "file.bin", digest=DIGEST, download=report)


def said_of(*says: tuple[int, str]) -> list[Want]:
    """Wants of peers that have so many of ten pieces, and say that."""
    wants = []
    for number, (done, said) in enumerate(says):
        one, _ = want(f"peer-{number:02}")
        one.update(status(downloading(done, said)), 100.0, pytest.fail)
        wants.append(one)
    return wants


def test_done_is_what_is_served() -> None:
    one, line = want()
    one.ask(0.0)
    told: list[str] = []
    for _ in range(2):
        one.update(status(items=(ITEM,)), 100.0, told.append)
    assert one.done
    assert told == ["peer-01 has got file.bin"]
    assert settled([one])
    assert len(line.sent) == 1


def test_what_failed_or_was_forgotten_is_asked_for_again_and_told() -> None:
    one, line = want()
    told: list[str] = []
    one.ask(0.0)
    one.hear(ApiAccepted(1, 7))
    one.update(status(), 1.0, told.append)
    assert told == []
    one.update(status(), AGAIN_SECONDS + 1, told.append)
    assert told == ["peer-01 has not got file.bin: it accepted that, and knows nothing of it; asked again"]
    failed = JobStatus(7, "get", "failed", "file.bin", digest=DIGEST, detail="the disk is full")
    one.update(status(failed), 2 * AGAIN_SECONDS + 2, told.append)
    assert told[1:] == ["peer-01 has not got file.bin: failed: the disk is full; asked again"]
    assert len(line.sent) == 3
    assert not settled([one])


def test_all_say_that_nobody_has_what_they_lack() -> None:
    missing = "nobody has 6 of 10 pieces; waiting for 0-5"
    assert settled(said_of((4, missing), (4, missing)))
    assert settled(said_of((4, "no peer has it at the moment; waiting for one")))


@pytest.mark.parametrize(
    "says",
    [
        ((4, "nobody has 6 of 10 pieces; waiting for 0-5"), (4, "")),
        ((4, "nobody has 6 of 10 pieces; waiting for 0-5"), (3, "nobody has 7 of 10 pieces; waiting for 0-6")),
        ((4, "nobody has 5 of 10 pieces; waiting for 0-4"),),
    ],
)
def test_one_who_is_silent_or_lacks_what_another_has_is_not_through(says: tuple[tuple[int, str], ...]) -> None:
    assert not settled(said_of(*says))


def test_nothing_is_unobtainable_while_somebody_has_all_of_it() -> None:
    wants = said_of((4, "nobody has 6 of 10 pieces; waiting for 0-5"))
    done, _ = want("peer-09")
    done.update(status(items=(ITEM,)), 100.0, list[str]().append)
    assert not settled([*wants, done])
    safe, _ = want(is_safe=True)
    safe.update(status(downloading(4, "nobody has 6 of 10 pieces; waiting for 0-5")), 100.0, pytest.fail)
    assert not settled([safe])
