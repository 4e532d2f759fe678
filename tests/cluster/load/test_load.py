"""``run_cluster.py --load`` as a person runs it: a good run, bad input, what goes wrong meanwhile; nothing is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import run_cluster
from cluster.load import room
from cluster.processes import role_of
from tests.cluster.conftest import Place

ROOT = Path(__file__).resolve().parents[3]
END_SECONDS = 40


@pytest.mark.process
def test_twelve_clients(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    code = run_cluster.main(["--load", "12", "--seconds", "500ms", "--files", "150", "--report", str(path)])
    shown = capsys.readouterr()
    report = json.loads(path.read_text())
    assert code == 0, shown
    assert (report["ok"], report["clients"], report["files"], report["error_count"]) == (True, 12, 150, 0)
    assert report["joined"]["clients"] == report["left"]["clients"] == 12
    assert (report["left_contents"], report["left_members"]) == (0, 0)
    assert report["all_requests"]["count"] == sum(figures["count"] for figures in report["requests"]) > 12
    roles = {role["role"]: role for role in report["roles"]}
    assert roles.keys() == {"supervisor", "registrar", "lookup", "clients"}
    assert roles["clients"]["processes"] == report["processes"]
    assert all(role["peak_mib"] > 5 and role["open_files"] > 3 for role in report["roles"])
    assert roles["registrar"]["open_files"] > 12
    assert shown.out.splitlines()[-1].startswith("no errors: 12 clients, ")
    assert "joining" in shown.err
    assert "\x1b" not in shown.out + shown.err
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_idle_clients_of_two_trackers(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    code = run_cluster.main(["--load", "12", "--trackers", "2", "--idle", "--seconds", "6s", "--report", str(path)])
    shown, report = capsys.readouterr(), json.loads(path.read_text())
    assert code == 0, shown
    assert (report["ok"], report["trackers"], report["error_count"]) == (True, 2, 0)
    assert report["joined"]["clients"] == report["left"]["clients"] == 2 * 12
    assert [figures["request"] for figures in report["requests"]] == ["Heartbeat"]
    roles = {role["role"]: role for role in report["roles"]}
    assert roles["registrar"]["processes"] == roles["lookup"]["processes"] == 2
    assert roles["registrar"]["open_files"] > 2 * 12
    assert report["tracker"]["mib"] > 50
    assert report["tracker"]["bytes_per_s"] > 12 * 50, "the roster's beat"
    assert place.is_clean()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--load", "0"], "--load"),
        (["--load", "10001"], "--load"),
        (["--load", "many"], "--load"),
        (["--load", "10", "--seconds", "0"], "expected more than no time at all"),
        (["--load", "10", "--seconds", "soon"], "--seconds"),
        (["--load", "10", "--files", "0"], "--files"),
        (["--load", "10", "--files", "100001"], "10 clients can have at most 100000 each"),
        (["--load", "10", "--peers", "3"], "--peers: not with --load"),
        (["--load", "10", "--size", "1MiB"], "--size: not with --load"),
        (["--load", "10", "--keep", "x"], "--keep: not with --load"),
        (["--load", "10", "--link-rate", "1gbit"], "--link-rate: not with --load"),
        (["--load", "10", "--simulate"], "--simulate and --load: choose one"),
        (["--load", "10", "--report", "/nowhere/report"], "its directory does not exist"),
        (["--seconds", "3"], "--seconds: only with --load"),
        (["--idle"], "--idle: only with --load"),
        (["--simulate", "--files", "3"], "--files: not with --simulate"),
        (["--seed", "3"], "--seed: only with --simulate or --load"),
    ],
)
def test_bad_input(arguments: list[str], what: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(arguments) == 2
    assert what in capsys.readouterr().err
    assert place.is_clean()


def test_too_many_clients_are_refused_before_anything_starts(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "open_files_max", lambda: 600)
    assert run_cluster.main(["--load", "1000"]) == 2
    assert re.search(r"error: --load 1000: \d+ clients fit", capsys.readouterr().err)
    assert place.is_clean()


class Running:
    """``run_cluster.py --load`` in a process of its own, whose progress is read."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(ROOT / "run_cluster.py"), "--load", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        assert any(text in line for line in self.process.stderr), text

    def child(self, role: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if role_of(child) == role)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it had still to say."""
        out, err = self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode, out, err


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["starting 40 clients", "requests/s"])
def test_a_signal_leaves_nothing(moment: str, number: signal.Signals, code: int, place: Place) -> None:
    with Running("40", "--seconds", "1m") as running:
        running.wait_for(moment)
        running.process.send_signal(number)
        ended, out, err = running.end()
    assert (ended, out) == (code, ""), err
    assert err.splitlines()[-1] == f"interrupted by {number.name}; all processes are ended"
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_a_process_of_clients_that_dies_ends_the_run(place: Place) -> None:
    with Running("40", "--seconds", "1m") as running:
        running.wait_for("requests/s")
        running.child("clients").kill()
        code, _, err = running.end()
    assert code == 4
    assert "error: a process of clients ended with exit code -9" in err
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_clients_end_with_the_run(place: Place) -> None:
    with Running("40", "--seconds", "1m") as running:
        running.wait_for("requests/s")
        clients, tracker = running.child("clients"), running.child("registrar").parent()
        running.process.kill()
        assert psutil.wait_procs([clients], timeout=END_SECONDS)[1] == []
        assert tracker is not None
        tracker.terminate()  # a tracker is not a child of anybody; it is this test that killed its owner
        assert psutil.wait_procs([tracker], timeout=END_SECONDS)[1] == []
    assert place.left_processes() == []


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("role", ["registrar", "lookup"])
def test_a_part_of_the_tracker_that_dies_is_seen_in_the_errors(role: str, place: Place, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with Running("40", "--seconds", "3s", "--report", str(path)) as running:
        running.wait_for("requests/s")
        running.child(role).kill()
        code, out, err = running.end()
    report = json.loads(path.read_text())
    assert code == 1, err
    assert not report["ok"]
    assert report["error_count"] >= 1
    assert all(error["example"].startswith("load-000") for error in report["errors"])
    assert out.splitlines()[-1].startswith("FAILED: 40 clients")
    assert place.is_clean()
