"""The comparison with others: everybody delivers what was asked for, and nothing is left of them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmarks import rounds
from benchmarks.command import run_command
from benchmarks.comparison import Case, measured
from benchmarks.contenders.all import KINDS
from benchmarks.contenders.contender import ContenderError, Kind, Round, Task
from benchmarks.contenders.helper import Helper, HelperError
from benchmarks.output import as_text
from benchmarks.rounds import contender_table, measure_case
from benchmarks.versus import command
from benchmarks.versus_cases import CASES, FLOOR, LIBTORRENT, NGINX, OURS
from protocol.limits import MIB

SMALL = Case("small", 2, MIB, CASES[0].targets)


def main(arguments: list[str]) -> int:
    return run_command(command, "benchmarks.versus", arguments)


def said(_line: str) -> None:
    """Nobody listens."""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_everybody_delivers(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind.missing():
        pytest.skip(kind.missing())
    monkeypatch.setattr(rounds, "WARM_ROUNDS_COUNT", 1)
    before = psutil.Process().children(recursive=True)
    result = measure_case(SMALL, OURS, [kind], 1, tmp_path, said)
    assert psutil.Process().children(recursive=True) == before
    (found,) = result.rounds
    assert found[kind.name].mib_s > 0
    assert kind.name in as_text(contender_table(result, OURS), 200)
    assert not (tmp_path / "content.bin").exists()


def test_figures_are_of_everything_that_was_delivered() -> None:
    found = measured(seconds=2.0, cpu_s=3.0, size=256 * MIB, receivers=4)
    assert (found.mib_s, found.cpu_s_per_gib) == (512.0, 3.0)


def test_targets_name_who_is_measured() -> None:
    assert {OURS, FLOOR, LIBTORRENT, NGINX} <= {kind.name for kind in KINDS}
    assert KINDS[0].name == OURS
    assert {target.other for case in CASES for target in case.targets} <= {kind.name for kind in KINDS}


class Liar:
    """Delivers something else."""

    name, verifies = "liar", "nothing"

    def missing(self) -> str:
        return ""

    def start(self, task: Task) -> Liar:
        self._copy = task.directory / "copy"
        return self

    def __enter__(self) -> Liar:
        return self

    def __exit__(self, *_: object) -> None:
        self._copy.unlink()

    def run(self) -> Round:
        self._copy.write_bytes(bytes(MIB))
        return Round(1.0, 1.0, [self._copy])

    def clear(self) -> None:
        raise AssertionError("a wrong copy is kept to be looked at")


def test_a_wrong_copy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"liar: .*copy: differs"):
        measure_case(SMALL, OURS, [Liar()], 1, tmp_path, said)


def test_a_helper_says_what_went_wrong_and_is_reaped() -> None:
    with Helper("benchmarks.contenders.floor_process") as helper:
        with pytest.raises(HelperError, match="FileNotFoundError"):
            helper.ask("open", 10, path="/nowhere")
        process = psutil.Process(helper.pid)
    assert not process.is_running()


def test_wrong_usage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report", str(tmp_path / "no" / "r.json")]) == 2
    assert main(["--plot", str(tmp_path / "no" / "r.png")]) == 2
    assert main(["--only", "nobody"]) == 2
    assert main(["--rounds", "0"]) == 2
    assert "directory does not exist" in capsys.readouterr().err
