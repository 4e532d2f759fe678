"""Worlds with faults: they hold, and a seed is the same world wherever it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.simulated.__main__ import main
from cluster.simulated.faults import Level
from cluster.simulated.soak import run_quietly
from tests.cluster.simulated.planted_bugs import BUGS

ROOT = Path(__file__).parents[3]
PROGRAM = "from cluster.simulated.soak import run_quietly; print(run_quietly({seed}, 'heavy').digest)"


@pytest.mark.parametrize(("level", "seed"), [("none", 1), ("none", 2), ("light", 3), ("heavy", 4), ("heavy", 8)])
def test_worlds_hold(level: Level, seed: int) -> None:
    assert run_quietly(seed, level).error == ""


@pytest.mark.process
def test_a_seed_is_the_same_world_in_every_run_and_process() -> None:
    """Also where text is hashed differently."""
    here = [run_quietly(5, "heavy").digest for _ in range(2)]
    elsewhere = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(seed=5)],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout.strip()
        for hash_seed in ("1", "4711")
    ]
    assert set(here) == set(elsewhere)
    assert len(set(here)) == 1
    assert run_quietly(6, "heavy").digest not in here


def test_what_broke_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    bug = next(bug for bug in BUGS if bug.name == "finished_untold")
    with bug.planted():
        assert main(["--seed", "1"]) == 1
    told = capsys.readouterr().out
    assert "BROKEN after" in told
    assert "python -m cluster.simulated --seed 1 --faults heavy" in told


def test_a_world_that_cannot_be_made_says_so_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such plan")

    monkeypatch.setattr("cluster.simulated.scenario.draw_plan", fail)
    assert main(["--seed", "5", "--faults", "light"]) == 1
    said = capsys.readouterr().out
    assert "it could not be made: ValueError: no such plan" in said
    assert said.endswith("to see it again: python -m cluster.simulated --seed 5 --faults light\n")


def test_a_world_that_held_says_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "0", "--faults", "light"]) == 0
    assert run_quietly(0, "light").digest in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["--seed", "1", "--seeds", "0..2"], ["--seeds", "5"], ["--seeds", "5..5"], ["--seed", "-1"]]
)
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "rror" in capsys.readouterr().err
