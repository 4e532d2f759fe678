"""``run_cluster.py --link-rate`` over real shaped links, as a person runs it; and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import run_cluster
from cluster.links import Links, notes_of
from cluster.namespaces import shaped_network
from tests.cluster.conftest import Place, namespaces_of

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
END_SECONDS = 20


@contextmanager
def started(moment: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has just said ``moment``."""
    command = [sys.executable, str(ROOT / "run_cluster.py"), "--peers", "3", "--link-rate", "100mbit", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any(moment in line for line in process.stderr)
            yield process
        finally:
            process.kill()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("can_make_namespaces")
def test_three_peers(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    options = ["--peers", "3", "--size", "8MiB", "--link-rate", "100mbit", "--report", str(path)]
    code = run_cluster.main(options)
    shown = capsys.readouterr()
    assert code == 0, shown
    report = json.loads(path.read_text())
    assert (report["ok"], report["verified"], report["simulated"]) == (True, 3, False)
    assert 10 < report["goodput_mib_s"] < 100e6 / 8 / MIB
    assert report["bound_s"] == pytest.approx(8 / report["goodput_mib_s"], rel=1e-3)
    assert report["ratio"] == pytest.approx(report["last_s"] / report["bound_s"], rel=1e-3)
    assert 1 < report["ratio"] < 5
    assert report["cpu_s"] > 0
    assert min(report["max_rss_mib"].values()) > 5
    assert "links of 100 Mbit/s both ways, made of network namespaces of this machine" in shown.out
    assert "MiB/s between two alone; the bound is of such links" in shown.out
    assert shown.out.splitlines()[-1] == "3 of 3 verified: random.bin, 8.0 MiB in 128 pieces"
    assert namespaces_of(os.getpid()) == []
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "times"), [("making", 1), ("measuring", 1), ("waiting", 1), ("peers get", 1), ("peers get", 2)]
)
@pytest.mark.usefixtures("can_make_namespaces")
def test_ctrl_c_leaves_nothing(moment: str, times: int, place: Place) -> None:
    with started(moment, "--size", "64MiB") as process:
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "interrupted by SIGINT; all processes are ended"
    assert namespaces_of(process.pid) == []
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("can_make_namespaces")
def test_what_a_killed_run_leaves_is_removed_by_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.path))  # its sockets are left, as those of any run that is killed
    with started("peers get", "--size", "64MiB") as process:
        process.kill()
        process.wait()
        assert len(namespaces_of(process.pid)) == 5
        assert place.left_processes() != []
        with shaped_network([]):
            assert namespaces_of(process.pid) == []
            assert place.left_processes() == []


def test_processors_that_were_the_limit_are_said() -> None:
    (links,) = notes_of(Links(5e6), 0.5)
    assert links == "links of 40 Mbit/s both ways, made of network namespaces of this machine"
    (_, busy) = notes_of(Links(5e6), 0.97)
    assert busy == "its processors were busy for 97% of the time, so they count too and not the links alone"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--up-rates", "10mbit"], "--up-rates: only with --link-rate or --simulate"),
        (["--link-rate", "0"], "nothing ever arrives"),
        (["--link-rate", "fast"], "expected one such as 40mbit"),
        (["--link-rate", "9kbit"], "real links have at least 1mbit; slower ones with --simulate"),
        (["--link-rate", "40mbit", "--up-rates", "20mbit,9kbit"], "real links have at least 1mbit"),
        (["--link-rate", "40mbit", "--up-rates", "20mbit,,10mbit"], "--up-rates"),
        (["--link-rate", "40mbit", "--up-rates", ""], "--up-rates"),
        (["--link-rate", "40mbit", "--delay", "1ms"], "--delay: only with --simulate"),
    ],
)
def test_bad_input(options: list[str], what: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(options) == 2
    assert what in capsys.readouterr().err
    assert place.is_clean()


def test_without_root(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run_cluster.main(["--link-rate", "40mbit"]) == 2
    assert "error: shaped links are network namespaces, which only root can make" in capsys.readouterr().err
    assert place.is_clean()
