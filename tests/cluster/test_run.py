"""``run_cluster.py`` as a person runs it: a good run, bad input, Ctrl-C; and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import run_cluster
from cluster.verify import Reference
from tests.cluster.conftest import Place

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 20


@pytest.mark.process
def test_three_peers(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    code = run_cluster.main(["--peers", "3", "--size", "4MiB", "--report", str(path)])
    shown = capsys.readouterr()
    report = json.loads(path.read_text())
    assert code == 0, shown
    assert (report["ok"], report["verified"], report["peers"], report["size"]) == (True, 3, 3, 4 * 1024**2)
    assert report["pieces"] == 64
    assert report["last_s"] == report["wall_s"] > 0
    assert report["received_ratio"] == pytest.approx(1, abs=0.5)
    assert report["seeder_sent_ratio"] >= 0.5
    assert report["cpu_s"] > 0
    assert 0 < report["cpu_busy"] <= 1
    assert (report["simulated"], report["goodput_mib_s"], report["bound_s"], report["ratio"]) == (
        False,
        None,
        None,
        None,
    )
    assert min(report["max_rss_mib"].values()) > 5
    sent = sum(result["sent"] for result in report["results"])
    assert sent >= sum(result["received"] for result in report["results"]) >= 2 * report["size"]
    assert [result["sources"] > 0 for result in report["results"]] == [False, True, True]
    assert shown.out.splitlines()[-1] == "3 of 3 verified: random.bin, 4.0 MiB in 64 pieces"
    assert "peer-03: done" in shown.err
    assert "\x1b" not in shown.out + shown.err
    assert place.is_clean()


@pytest.mark.process
def test_three_peers_in_a_network_with_keys(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "keep"
    code = run_cluster.main(["--peers", "3", "--size", "1MiB", "--secure", "--keep", str(keep)])
    shown = capsys.readouterr()
    assert code == 0, shown
    assert "3 of 3 verified" in shown.out
    members = list((keep / "keys" / "members").iterdir())
    known = [json.loads((keep / f"peer-0{number}/data/network.json").read_text()) for number in (1, 2, 3)]
    assert len(members) == 3
    assert len({one["key"] for one in known}) == 1
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_a_tree_from_two_seeders_kept(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, keep = tmp_path / "naïve tree", tmp_path / "keep"
    (tree / "sub" / "empty").mkdir(parents=True)
    for number in range(50):
        (tree / "sub" / f"{number}").write_bytes(bytes([number]) * number * 997)
    (tree / "run").write_bytes(b"#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("run")
    arguments = ["--peers", "3", "--seeders", "2", "--file", str(tree), "--hash", "sha256", "--keep", str(keep)]
    assert run_cluster.main(arguments) == 0, capsys.readouterr()
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("3 of 3 verified: naïve tree")
    assert "2 seeders sent" in out
    for number in (1, 2, 3):
        assert Reference(tree).difference(keep / f"peer-0{number}" / "files" / tree.name) == ""
    assert place.is_clean()

    assert run_cluster.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.slow
def test_no_bytes_at_all(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(["--peers", "2", "--size", "0"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 verified: random.bin, 0 B in 0 pieces"
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_content_that_cannot_be_shared(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "aux").write_bytes(b"a name that some systems cannot store")
    assert run_cluster.main(["--peers", "2", "--file", str(tmp_path / "aux")]) == 2
    assert "error: peer-01 cannot share aux: " in capsys.readouterr().err
    assert place.is_clean()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--peers", "1"], "--peers"),
        (["--peers", "3", "--seeders", "3"], "at least one of the 3 peers has to get something"),
        (["--size", "many"], "is not a size; expected one such as 64MiB"),
        (["--size", "1MiB", "--file", __file__], "choose one"),
        (["--file", "/nowhere"], "does not exist"),
        (["--hash", "md5"], "'md5'"),
        (["--timeout", "soon"], "--timeout"),
        (["--report", "/nowhere/report"], "its directory does not exist"),
        (["--report", "."], "is a directory"),
        (["--simulate", "--seeder-dies-at", "nan"], "more than 0 and at most 1"),
        (["--simulate", "--seeder-dies-at", "2"], "more than 0 and at most 1"),
        (["--simulate", "--seed", "-1"], "--seed"),
        (["--size", "1000PiB"], "do not fit into"),
        (["--web", "--link-rate", "40mbit"], "--web: not with --link-rate"),
        (["more"], "more"),
    ],
)
def test_bad_input(arguments: list[str], what: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_cluster.main(arguments)
    assert what in capsys.readouterr().err
    assert code == (6 if "1000PiB" in arguments else 2)
    assert place.is_clean()


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(["--help"]) == 0
    assert "python run_cluster.py --peers 5" in capsys.readouterr().out


@pytest.mark.process
@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [("starting", signal.SIGINT, 130), ("waiting", signal.SIGHUP, 129), ("peers get", signal.SIGTERM, 143)],
)
@pytest.mark.slow
def test_a_signal_leaves_nothing(moment: str, number: signal.Signals, code: int, place: Place) -> None:
    command = [sys.executable, str(ROOT / "run_cluster.py"), "--peers", "3", "--size", "128MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if moment in line)
            process.send_signal(number)
            out, err = process.communicate(timeout=END_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, ""), said + err
    assert err.splitlines()[-1].startswith(f"interrupted by {number.name}")
    assert place.is_clean()
