"""``audit`` and ``verify NAME``: the peer's audit is followed to its end, and to that of the mending."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.api_messages import (
    ApiAccepted,
    ApiAudit,
    ApiGetStatus,
    ApiReply,
    ApiRequest,
    JobStatus,
    SharedStatus,
    StatusReport,
)
from protocol.errors import VerificationError
from tests.node.cli.fakes import DIGEST, LINK, FakeClient, World, job, report

LOOKS_COUNT_MAX = 50


def answering(*reports: StatusReport) -> Callable[[ApiRequest], ApiReply]:
    """Gives ``reports`` one after the other, and the last one again and again, but not for ever."""
    given: list[StatusReport] = []

    def answer(_: ApiRequest) -> ApiReply:
        given.append(reports[min(len(given), len(reports) - 1)])
        assert len(given) < LOOKS_COUNT_MAX, "it asks for ever"
        return given[-1]

    return answer


def world(*reports: StatusReport) -> World:
    first = report([job("audit", "checking", 5)])
    return World(
        FakeClient({ApiAudit: lambda message: ApiAccepted(message.id, 5), ApiGetStatus: answering(first, *reports)})
    )


def audited(number: int = 5, bad: bool = False) -> JobStatus:
    if not bad:
        return job("audit", number=number, detail="all as hashed")
    problems = ["/data/model.bin: damaged: rotted: 1 piece of 7"]
    wrong = {"code": VerificationError.code, "detail": "1 not as hashed", "problems": problems}
    return job("audit", "failed", number, **wrong)


def mended(number: int = 6) -> JobStatus:
    return job("mend", number=number, detail="mended; rotted: 1 piece of 7")


def other_agent(*jobs: JobStatus) -> StatusReport:
    return report(jobs, pids={"agent": 99, "piece_server": 12, "downloader": 13})


def test_it_ends_with_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert world(report([audited()])).run("audit") == 0
    assert "all as hashed" in capsys.readouterr().out
    assert world(report([audited(bad=True)])).run("verify", "model.bin") == 5
    assert "rotted: 1 piece" in capsys.readouterr().out


def shared(state: str = "", detail: str = "", digest: str = DIGEST, hashing: bool = False) -> SharedStatus:
    path = "/data/model.bin"
    return SharedStatus("model.bin", digest, LINK, 7, path, "shared", 0, 0, state, detail, hashing=hashing)


DAMAGED = shared("damaged", "rotted: 1 piece of 7")


def test_what_is_wrong_is_mended_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    found = audited(bad=True)
    reports = report([found]), report([found], [DAMAGED]), report([found, mended()], [shared()])
    assert world(*reports).run("verify", "model.bin", "--repair") == 0
    assert "mended" in capsys.readouterr().out


def test_a_mend_that_was_under_way_already_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    found, under_way = audited(bad=True), job("mend", "downloading", 4)
    reports = report([found]), report([found, under_way], [DAMAGED]), report([found, mended(4)], [shared()])
    assert world(*reports).run("verify", "model.bin", "--repair") == 0
    assert "mended" in capsys.readouterr().out


def test_what_somebody_else_put_right_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    found, needless = audited(bad=True), job("mend", "failed", 6, code="cancelled", detail="it is no longer needed")
    for jobs in ([found], [found, needless]):
        reports = report([found]), report(jobs, [shared("changed", hashing=True)]), report(jobs, [shared()])
        assert world(*reports).run("verify", "model.bin", "--repair") == 0
        assert "it is right again" in capsys.readouterr().out


def test_what_cannot_be_read_is_not_rot_and_not_said_to_be_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Its pieces are refused for now, and nothing of it is mended."""
    found = audited(bad=True)
    found.problems[:] = ["/data/model.bin: cannot read /data/model.bin: Input/output error"]
    assert world(report([found]), report([found], [shared()])).run("verify", "model.bin", "--repair") == 5
    told = capsys.readouterr()
    assert told.err.count("Input/output error") == 1
    assert "right again" not in told.out + told.err


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([], "it is not shared any more"),
        ([shared(digest=f"blake3:{'cd' * 32}")], "it is now shared as cdcdcdcdcdcd"),
        ([shared("missing", "it is not there")], "missing: it is not there"),
        ([shared("changed", "cannot read it: Input/output error")], "changed: cannot read it: Input/output error"),
    ],
)
def test_what_cannot_be_mended_any_more_is_not_waited_for(
    items: list[SharedStatus], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = audited(bad=True)
    assert world(report([found]), report([found], items)).run("verify", "model.bin", "--repair") == 5
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [[], [audited()]], ids=["no jobs", "another job of that number"])
def test_an_agent_that_was_restarted_has_not_read_all(
    jobs: list[JobStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    assert world(other_agent(*jobs)).run("audit") == 5
    assert "the peer was restarted" in capsys.readouterr().err


def test_an_agent_that_was_restarted_mends_nothing_that_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    reports = report([audited(bad=True)]), other_agent()
    assert world(*reports).run("verify", "model.bin", "--repair") == 5
    assert "the peer was restarted" in capsys.readouterr().err
