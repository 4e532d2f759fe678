"""Which tracker ``get`` and ``share`` use, what they say of it, and which one a link names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.node.cli.fakes import LINK, FakeForeground, job, peer_with, report
from tests.node.cli.test_transfers import SHARED

TRACKER = "tcp://10.0.0.5:5550"
NAMING = LINK.replace("zswarm://", "zswarm://10.0.0.5:5550/")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_foreground_peer_of_a_get_has_the_tracker_of_the_link() -> None:
    world = peer_with(report([job()]))
    world.foreground = FakeForeground()
    assert world.run("get", NAMING) == 0
    assert world.foreground.settings is not None
    assert (world.foreground.settings.trackers, world.foreground.runs_tracker) == ([TRACKER], False)
    assert world.told == [f"using the tracker that the link names, {TRACKER}"]


@pytest.mark.parametrize("given", ["option", "environment", "configuration"])
def test_a_configured_tracker_is_used_in_place_of_that_of_the_link(
    given: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = peer_with(report([job()]))
    world.foreground = FakeForeground()
    (here / "peer.yaml").write_text("tracker: tcp://own:1")
    monkeypatch.setenv("ZSWARM_TRACKER", "tcp://own:1" if given == "environment" else "")
    more = {"option": ["--tracker", "tcp://own:1"], "configuration": ["--config", "peer.yaml"]}
    assert world.run("get", NAMING, *more.get(given, [])) == 0
    assert world.foreground.settings is not None
    assert world.foreground.settings.trackers == ["tcp://own:1"]
    assert world.told == [
        f"the link names the tracker {TRACKER}, but this command is configured for tcp://own:1; trying with that"
    ]


def test_a_running_peer_that_has_another_tracker_than_the_link_tries_and_that_is_said() -> None:
    world = peer_with(report([job()]))
    assert world.run("get", NAMING) == 0
    assert world.told == [
        f"the link names the tracker {TRACKER}, but the running peer uses tcp://10.0.0.1:5550; trying with that"
    ]


def test_links_of_two_trackers_need_one_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report([job(), job(number=2)]))
    world.foreground = FakeForeground()
    other = NAMING.replace("10.0.0.5", "10.0.0.6")
    assert world.run("get", NAMING, other) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in ("tcp://10.0.0.5:5550", "tcp://10.0.0.6:5550", "--tracker"))
    assert world.foreground.events == []
    assert world.run("get", NAMING, other, "--tracker", TRACKER) == 0


@pytest.mark.parametrize("terminal", [False, True])
def test_a_share_of_its_own_names_the_tracker_and_the_command_for_others(
    terminal: bool, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "model.bin").write_bytes(b"x")
    monkeypatch.setattr("node.cli.transfers.is_terminal", lambda _: terminal)

    def share(*more: str) -> tuple[str, str]:
        world = peer_with(report([job("share")], [SHARED], foreground=True))
        world.foreground = FakeForeground()
        world.interrupt_after = 5
        world.for_others = {"tcp://10.0.0.1:5550": TRACKER}
        assert world.run("share", "model.bin", *more) == 0
        assert world.foreground.runs_tracker
        return capsys.readouterr()

    command = f"python -m node get '{NAMING}'"
    out, err = share()
    assert out == (f"{command}\n" if terminal else f"{NAMING}\n")
    assert (f"get it on another machine with: {command}" in err) is not terminal
    assert share("--quiet") == (f"{NAMING}\n", "")
    assert json.loads(share("--json")[0])["results"][0]["link"] == NAMING
    assert share("--tracker", "tcp://10.0.0.1:5550")[0] == f"{LINK}\n"


@pytest.mark.parametrize("keyed", [False, True])
def test_a_share_says_what_else_others_need_in_a_network_with_keys(
    keyed: bool, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "model.bin").write_bytes(b"x")
    for more in ((), ("--quiet",)):
        world = peer_with(report([job("share")], [SHARED], foreground=True, keyed=keyed))
        world.foreground = FakeForeground()
        world.interrupt_after = 5
        world.for_others = {"tcp://10.0.0.1:5550": TRACKER}
        assert world.run("share", "model.bin", *more) == 0
        told = f"'python -m node keys invite --tracker {TRACKER}' on the tracker's host" in capsys.readouterr().err
        assert told is (keyed and not more)
