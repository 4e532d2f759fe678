"""``follow`` against a fake peer: what is asked, what is printed where, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.api_messages import ApiFollow, ApiFollowed, Following, StatusReport
from node.local_messages import OVERTAKEN
from tests.node.cli.fakes import World, download, job, peer_with, report


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def followed(*reports: StatusReport) -> World:
    """A world with a peer that says so of what it fetches, until Ctrl-C."""
    world = peer_with(*reports, ApiFollow=ApiFollowed(1, [1, 2]))
    world.interrupt_after = 12
    return world


def test_it_asks_again_and_again_and_prints_each_thing_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = job(), job(number=2, path="/data/model.bin")
    under_way = job(phase="downloading", number=2, download=download())
    world = followed(report(), report([first]), report([first, under_way]), report([first, second]))
    assert world.run("follow", "model*", "--to", "out", "--keep", "2") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 2
    assert captured.out.startswith("/data/model.bin  100.0 MiB in 4")
    assert f"following model* to {here / 'out'} until Ctrl-C" in captured.err
    assert "model.bin: downloading 40 %" in captured.err
    assert world.client is not None
    asked = [message.what for message in world.client.asked(ApiFollow)]
    assert asked == [Following("model*", str(here / "out"), 2)] * len(asked)
    assert len(asked) > 5
    assert (here / "out").is_dir()


def test_a_restarted_agent_counts_its_jobs_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    again = report([job()], pids={"agent": 99})
    assert followed(report([job()]), again).run("follow", "model.bin", "--to", "out", "--json") == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["ok"] for result in results] == [True, True]


def test_what_fails_is_said_once_and_what_was_given_up_too(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [job(phase="failed", number=number, code="disk", detail="/out/x exists") for number in (1, 2)]
    given_up = job(phase="failed", number=3, code=OVERTAKEN, detail="newer content of this name was announced")
    assert followed(report([*failed, given_up])).run("follow", "model.bin", "--to", "out") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("model.bin: /out/x exists") == 1
    assert "model.bin: given up: newer content of this name was announced" in captured.err


def test_a_tracker_that_does_not_answer_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    lost = report(network="unreachable", problem="tracker does not answer")
    assert followed(lost, lost, report()).run("follow", "model.bin", "--to", "out") == 0
    err = capsys.readouterr().err
    assert err.count("tracker does not answer") == 1
    assert "the tracker answers again" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["", "--to", "out"],
        ["a/b", "--to", "out"],
        ["x"],
        ["x", "--to", "out", "--keep", "-1"],
        ["x" * 300, "--to", "o"],
    ],
)
def test_wrong_usage(argv: list[str]) -> None:
    assert followed(report()).run("follow", *argv) == 2
