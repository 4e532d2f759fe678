"""What becomes of the figures of `benchmarks.small`, and all of it once for real, very small."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from benchmarks import small
from benchmarks.command import run_command
from benchmarks.comparison import percentile
from benchmarks.contenders.contender import remove_copies
from benchmarks.output import as_text
from benchmarks.small_cases import Hashing, OneFile, Restarts, Start, hashing_row, one_file_row, restart_row, tree
from cluster.content import make_random_tree
from protocol.limits import KIB, MIB


def main(arguments: list[str]) -> int:
    return run_command(small.command, "benchmarks.small", arguments)


@pytest.mark.parametrize(("part", "expected"), [(0, 1), (0.5, 2), (0.51, 3), (0.75, 3), (0.76, 4), (0.99, 4), (1, 4)])
def test_percentiles_are_values_that_were_measured(part: float, expected: float) -> None:
    assert percentile([3, 1, 4, 2], part) == expected
    assert percentile([7], part) == 7


def test_hashing_is_compared_within_rounds() -> None:
    row = hashing_row(Hashing(MIB, ours=[900.0, 100.0, 1500.0], plain=[1000.0, 200.0, 3000.0]))
    assert (row.value, row.values, row.met) == (0.5, [0.9, 0.5, 0.5], False)


def test_what_is_read_for_the_large_file_alone() -> None:
    def starts(*read_mib: int) -> list[Start]:
        return [Start(1.0, 1.0, mib * MIB, 0) for mib in read_mib]

    row = restart_row(Restarts(100 * MIB, 1.0, large=starts(15, 16, 115), small=starts(12, 12, 12)))
    assert (row.value, row.values, row.met) == (4, [3, 4, 103], True)


def test_one_file_has_a_limit_and_shows_the_slowest() -> None:
    found = OneFile(MIB, api_ms=[float(ms) for ms in range(1, 201)], command_ms=[])
    row = one_file_row(found)
    assert (row.value, row.met) == (100.5, False)
    assert as_text(small.one_file_table(found), 200).split()[-4:] == ["200", "100", "198", "200"]


def test_a_tree_is_of_so_many_files() -> None:
    case = tree(250)
    assert (case.size, case.files, case.receivers) == (250 * 16 * KIB, 250, 1)


def test_trees_have_a_hundred_files_in_a_directory(tmp_path: Path) -> None:
    make_random_tree(tmp_path / "tree", 201, 3)
    files = sorted(path.relative_to(tmp_path / "tree") for path in (tmp_path / "tree").rglob("*") if path.is_file())
    assert len(files) == 201
    assert str(files[-1]) == "002/00.bin"
    assert {path.stat().st_size for path in (tmp_path / "tree").rglob("*.bin")} == {3}


def test_copies_are_removed_and_trees_moved_aside(tmp_path: Path) -> None:
    copies = [tmp_path / "file", tmp_path / "tree"]
    for _ in range(2):
        copies[0].touch()
        copies[1].mkdir()
        remove_copies(copies)
        assert not any(copy.exists() for copy in copies)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sparse", "much"], "--sparse"),
        (["--only", "everything"], "--only"),
        (["--fetches", "0"], "--fetches"),
        (["--report", "/nowhere/report.json"], "--report /nowhere/report.json: its directory does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_an_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_size: int, _rounds: int, work: Path, _tell: object) -> Hashing:
        assert work.parent == tmp_path
        (work / "file").touch()
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it goes on")

    monkeypatch.setattr("benchmarks.hashing.measure", interrupted)
    assert main(["--only", "hashing", "--work", str(tmp_path)]) == 130
    assert capsys.readouterr().err.strip() == "interrupted by SIGINT; all processes are ended"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.process
def test_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(small, "HASHED_BYTES", MIB)
    monkeypatch.setattr("benchmarks.restart.WATCH_SECONDS", 0)
    monkeypatch.setattr("benchmarks.one_file.WARM_COUNT", 0)
    monkeypatch.setattr("benchmarks.one_file.FETCHES_PER_COMMAND", 2)
    monkeypatch.setattr("benchmarks.rounds.WARM_ROUNDS_COUNT", 0)
    work, report = tmp_path / "work", tmp_path / "report.json"
    work.mkdir()
    arguments = ["--fetches", "2", "--rounds", "1", "--files", "120", "--sparse", "64MiB"]
    code = main([*arguments, "--work", str(work), "--report", str(report)])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert list(work.iterdir()) == []
    found = json.loads(report.read_bytes())
    assert [row["case"] for row in found["rows"]][-2:] == ["hashing", "restart"]
    assert (len(found["one_file"]["api_ms"]), len(found["one_file"]["command_ms"])) == (2, 1)
    assert found["tree"]["medians"]["zswarm"]["mib_s"] > 0
    assert set(found["tree"]["medians"]) | set(found["missing"]) == {"zswarm", "rsync", "rsync --fsync", "libtorrent"}
    assert len(found["hashing"]["ours"]) == len(found["restart"]["large"]) == 1
    assert 0 < found["restart"]["large"][0]["joined_s"] <= found["restart"]["large"][0]["listed_s"]
    assert found["rows"][-1]["met"]
    assert "MiB read again for the large file" in shown.out
