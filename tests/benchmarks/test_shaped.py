"""The comparison over slow links: what the figures come to, what is refused, and one short real run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks import shaped, shaped_rounds
from benchmarks.command import run_command
from benchmarks.comparison import medians
from benchmarks.contenders import contender
from benchmarks.contenders.contender import ContenderError, Counters, Round, Task, Traffic, settled_traffic
from benchmarks.output import as_text
from benchmarks.shaped_cases import (
    MIXED,
    OURS,
    RECEIVERS,
    Figures,
    busy_notes,
    case_of,
    figures,
    spread_rows,
)
from benchmarks.shaped_rounds import CaseResult, case_lines, case_table, measure_case
from cluster.links import Links
from cluster.measured_links import MeasuredLinks
from cluster.processes import HERE, PROJECT_ROOT
from cluster.report import peer_names
from protocol.limits import MIB
from protocol.manifest import piece_length_for
from tests.cluster.conftest import namespaces_of

END_SECONDS = 30


def main(arguments: list[str]) -> int:
    return run_command(shaped.command, "benchmarks.shaped", arguments)


def said(_line: str) -> None:
    """Nobody listens."""


def lasted(seconds: float, busy: float = 0.5) -> Figures:
    return figures([seconds], 1.0, MIB, MIB, size=MIB, bound_s=1.0, busy=busy)


def test_figures_are_of_the_content_and_the_bound() -> None:
    found = figures([2.0, 3.0, 2.5, 4.0], 3.0, 66 * MIB, 260 * MIB, size=64 * MIB, bound_s=2.5, busy=0.75)
    assert (found.last_s, found.median_s, found.of_bound) == (4.0, 2.75, 1.6)
    assert found.seeder_copies == pytest.approx(66 / 64, abs=1e-4)
    assert found.received_part == pytest.approx(260 / 256, abs=1e-4)
    assert (found.cpu_s_per_gib, found.busy) == (12.0, 0.75)


def test_sixteen_receivers_are_judged_and_so_are_mixed_links() -> None:
    asked = {target.figure: target.limit for target in case_of(16, MIB, mixed=False).targets}
    assert asked == {"of_bound": 1.08, "seeder_copies": 1.03, "received_part": 1.01}
    assert [case_of(count, MIB, mixed=False).targets for count in (4, 8, 32)] == [()] * 3
    assert [target.limit for target in case_of(4, MIB, mixed=True).targets] == [1.12]


def test_the_default_content_has_the_pieces_that_are_usual() -> None:
    assert piece_length_for(64 * MIB) == 64 * 1024


def test_mixed_links_are_slow_for_those_who_receive_only() -> None:
    assert [rate * 8 / 1e6 for rate in MIXED.ups(5)] == [10, 20, 40, 80, 10]
    assert MIXED.rate * 8 / 1e6 == 80
    assert MIXED.bound(80_000_000, 1, 4) == pytest.approx(4 * 80e6 / ((80 + 150) * 1e6 / 8))


def test_many_receivers_are_compared_with_few_round_by_round() -> None:
    few, many = ([{OURS: lasted(seconds)} for seconds in found] for found in ([10.0, 20.0, 10.0], [11.0, 20.0, 10.2]))
    (row,) = spread_rows({4: few, 8: [], 32: many})
    assert (row.values, row.value, row.met) == ([1.1, 1.0, 1.02], 1.02, True)
    assert list(spread_rows({4: few})) == []
    assert list(spread_rows({16: few})) == []


def test_processors_that_were_the_limit_are_said_for_whom_they_were() -> None:
    rounds = [{OURS: lasted(1, busy=0.5), "other": lasted(1, busy=0.97)}, {OURS: lasted(1, busy=0.9)}]
    (note,) = busy_notes(rounds)
    assert note == (
        "other: this machine's processors were busy for 97% of the time, so they count too and not the links alone"
    )


def test_counters_are_read_until_they_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contender, "PAUSE_SECONDS", 0.0)
    late = [Counters(9, 0), Counters(0, 10), Counters(9, 9)]
    more = [Counters(11, 0), Counters(0, 10), Counters(8, 10)]  # twenty came, nineteen were sent
    done = [Counters(12, 0), Counters(0, 10), Counters(8, 10)]
    looks = iter([late, more, done])
    assert settled_traffic(lambda: next(looks), 10) == Traffic(12, 20)
    monkeypatch.setattr(contender, "SETTLE_SECONDS", 0.0)
    with pytest.raises(ContenderError, match="does not add up"):
        settled_traffic(lambda: late, 10)


def test_tables_fit_a_terminal() -> None:
    found = figures([123.456], 99.0, 20 * MIB, 20 * MIB, size=MIB, bound_s=1.0, busy=0.97)
    rounds = [{OURS: found, "libtorrent": found}]
    notes = ["libtorrent: busy"]
    result = CaseResult("x", 32, 64 * MIB, 1, str(Links(5e6)), 4.6, 14.0, notes, rounds, medians(rounds), [])
    assert [line.split()[0] for line in as_text(case_table(result), 80).splitlines()] == ["32", OURS, "libtorrent"]
    assert max(len(line) for line in as_text(case_table(result), 200).splitlines()) <= 80
    assert case_lines(result) == [
        "links of 40 Mbit/s both ways",
        "goodput 4.6 MiB/s between two alone; nobody could be done before 14.00 s",
        "note: libtorrent: busy",
    ]


class Made:
    """Says that it delivered, and leaves ``copy``."""

    name, verifies = OURS, "nothing"

    def __init__(self, copy: bytes | None) -> None:
        self._copy = copy
        self.tasks: list[Task] = []

    def missing(self) -> str:
        return ""

    @contextmanager
    def start(self, task: Task) -> Iterator[Made]:
        self.tasks.append(task)
        assert list(task.directory.iterdir()) == []
        yield self

    def run(self) -> Round:
        task = self.tasks[-1]
        path = task.directory / "copy"
        path.write_bytes(task.content.read_bytes() if self._copy is None else self._copy)
        return Round(4.0, 1.0, [path], [3.0, 4.0])

    def traffic(self) -> Traffic:
        return Traffic(2 * MIB, 3 * MIB)

    def clear(self) -> None:
        raise AssertionError("it is ended instead")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that are not real, with a bound of two seconds."""

    @contextmanager
    def made(_links: Links, _size: int, seeders: int, receivers: int, _stage: object) -> Iterator[MeasuredLinks]:
        yield MeasuredLinks(dict.fromkeys(peer_names(seeders + receivers), HERE), float(MIB), 2.0)

    monkeypatch.setattr(shaped_rounds, "measured_links", made)


@pytest.mark.usefixtures("no_network")
def test_everybody_is_started_anew_in_every_round(tmp_path: Path) -> None:
    made = Made(None)
    result = measure_case(case_of(2, MIB, mixed=True), MIXED, [made], 3, tmp_path, said)
    assert [found[OURS].of_bound for found in result.rounds] == [2.0] * 3
    assert (result.medians[OURS].seeder_copies, result.medians[OURS].received_part) == (2.0, 1.5)
    assert [(row.value, row.met) for row in result.rows] == [(2.0, False)]
    assert len(made.tasks) == 3
    assert not made.tasks[0].directory.exists()
    assert made.tasks[0].seconds == pytest.approx(140)


@pytest.mark.usefixtures("no_network")
def test_a_wrong_copy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"zswarm: .*copy: differs"):
        measure_case(case_of(2, MIB, mixed=False), MIXED, [Made(bytes(MIB))], 1, tmp_path, said)
    assert not (tmp_path / "round").exists()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--rate", "9kbit"], "real links have at least 1mbit"),
        (["--rate", "fast"], "expected one such as 40mbit"),
        (["--rate", "40mbit", "--mixed"], "--rate: not with --mixed"),
        (["--receivers", "0"], "not in the range"),
        (["--receivers", "101"], "not in the range"),
        (["--size", "much"], "--size"),
        (["--size", "0"], "--size: nothing to move takes no time"),
        (["--report", "/nowhere/r.json"], "directory does not exist"),
    ],
)
def test_bad_options_are_refused(options: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == 2
    assert what in capsys.readouterr().err


def test_without_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([]) == 2
    assert "error: shaped links are network namespaces, which only root can make" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("can_make_namespaces")
def test_a_short_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    options = ["--receivers", "2", "--rate", "100mbit", "--size", "4MiB", "--rounds", "1"]
    assert main([*options, "--work", str(tmp_path), "--report", str(path)]) == 0
    report = json.loads(path.read_text())
    (case,) = report["cases"]
    (found,) = case["rounds"]
    assert list(found) == [name for name in (OURS, "libtorrent") if name not in report["missing"]]
    assert 10 < case["goodput_mib_s"] < 100e6 / 8 / MIB
    for one in found.values():
        assert one["median_s"] <= one["last_s"]
        assert 1 < one["of_bound"] < 20
        assert 1 <= one["seeder_copies"] <= 2.5
        assert 1 <= one["received_part"] < 2
        assert one["cpu_s_per_gib"] > 0
    assert "links of 100 Mbit/s both ways" in capsys.readouterr().out
    assert namespaces_of(os.getpid()) == []
    assert psutil.Process().children(recursive=True) == []
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("can_make_namespaces")
@pytest.mark.parametrize("moment", ["measuring", "zswarm", "libtorrent"])
def test_ctrl_c_leaves_nothing(moment: str, tmp_path: Path) -> None:
    options = ["--receivers", "2", "--rate", "100mbit", "--size", "4MiB", "--rounds", "9", "--work", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.shaped", *options]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            if not any(moment in line and "left out" not in line for line in process.stderr):
                pytest.skip(f"{moment} is not installed")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=END_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted by SIGINT; all processes are ended"
    assert namespaces_of(process.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_the_receivers_that_are_compared_are_measured_by_default() -> None:
    assert {4, 16, 32} <= set(RECEIVERS)
