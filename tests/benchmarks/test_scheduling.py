"""Small swarms through the cases of the scheduling benchmark: that the figures are those of the worlds."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import scheduling
from benchmarks import scheduling_cases as cases
from benchmarks.output import as_text
from benchmarks.scheduling import Report, render
from benchmarks.scheduling_cases import Case, Figures
from benchmarks.scheduling_rows import SWARMS, Row, Run, Swarms, results
from benchmarks.swarm import PIECE_BYTES, RATE, Swarm, corrupt, machine
from cluster.report_file import report_bytes

ROOT = Path(__file__).parents[2]
SEED, RECEIVERS, PIECES = 1, 8, 32
small = {swarms.name: partial(swarms.case, SEED, RECEIVERS, PIECES) for swarms in SWARMS}
small["larger-swarm"] = partial(cases.larger_swarm, SEED, 16, 16)


@pytest.mark.parametrize("swarms", SWARMS, ids=lambda swarms: swarms.name)
def test_every_row_has_its_figure(swarms: Swarms) -> None:
    figures = small[swarms.name]()
    assert [row.figure for row in swarms.rows if figures[row.figure] == inf] == []


@pytest.mark.parametrize("case", [cases.equal_links, cases.mixed_uplinks, cases.killed_receivers, cases.seeder_dies])
def test_nobody_is_faster_than_can_be(case: Case) -> None:
    figures = case(SEED, RECEIVERS, PIECES)
    assert min(value for name, value in figures.items() if name in ("last / optimum", "last / bound")) >= 1


def test_figures_follow_from_the_seed() -> None:
    first, again, other = (cases.killed_receivers(seed, RECEIVERS, PIECES) for seed in (1, 1, 2))
    assert first == again != other


def test_equal_links_are_counted() -> None:
    figures = cases.equal_links(SEED, RECEIVERS, PIECES)
    assert figures["seconds"] == figures["last / optimum"] * cases.optimum(RECEIVERS, PIECES)
    assert 1 <= figures["seeder until a full copy is out / size"] <= figures["seeder in all / size"] <= RECEIVERS
    assert 1 <= figures["received / needed"] < 2
    assert figures["last / median"] >= 1


def test_everybody_survives_a_seeder_that_dies() -> None:
    assert cases.seeder_dies(SEED, RECEIVERS, PIECES)["complete"] == 1


def test_liars_are_seen() -> None:
    figures = cases.liars(SEED, RECEIVERS, PIECES)
    assert figures["bad pieces of one liar to one receiver"] >= 1
    assert figures["bad pieces accepted"] == 0


# --- what the figures are made of ------------------------------------------------------------------------


def test_corrupt_pieces_are_found_on_the_wire_and_on_disks() -> None:
    swarm = Swarm(SEED, machine(), [machine()] * 2, 4)
    swarm.seeder.tamper = corrupt
    swarm.get()
    swarm.run(swarm.receivers, 1)
    assert sorted(swarm.watch.bad) == [("seeder", "peer-1"), ("seeder", "peer-2")]
    assert swarm.seconds(swarm.receivers) == [inf, inf]
    assert swarm.watch.seeder_sent_bytes == inf
    assert swarm.bad_pieces() == 0
    (partial_content,) = swarm.receivers[0].disk.partials.values()
    partial_content.pieces[3] = b"wrong"
    assert swarm.bad_pieces() == 1


def test_one_receiver_is_as_fast_as_its_link() -> None:
    swarm = Swarm(SEED, machine(), [machine()], 16)
    swarm.get()
    swarm.run(swarm.receivers, 4)
    assert swarm.seconds(swarm.receivers)[0] == pytest.approx(16 * PIECE_BYTES / RATE, rel=0.05)
    assert swarm.seeder.net.sent_bytes == swarm.watch.seeder_sent_bytes == swarm.watch.received_bytes == swarm.size


def test_optimum_is_that_of_equal_links() -> None:
    piece_times = [cases.optimum(receivers, 256) * RATE / PIECE_BYTES for receivers in (1, 2, 15, 16, 64)]
    assert piece_times == [256, 257, 259, 260, 262]


# --- what is made of them --------------------------------------------------------------------------------


def runs_of(name: str, figures: list[Figures]) -> list[Run]:
    return [Run(name, seed, one, 0.5) for seed, one in enumerate(figures, 1)]


def test_the_worst_seed_counts() -> None:
    (row,) = results(SWARMS, runs_of("mixed-uplinks", [{"last / bound": value} for value in (1.1, 1.2, 1.0)]))
    assert (row.worst, row.worst_seed, row.median, row.seeds, row.met) == (1.2, 2, 1.1, 3, False)
    (row,) = results(SWARMS, runs_of("seeder-dies", [{"complete": value} for value in (1.0, 0.9)]))
    assert (row.worst, row.worst_seed, row.met) == (0.9, 2, False)


def test_a_target_may_be_reached() -> None:
    assert Row("", "", 1.5).is_met(1.5)
    assert Row("", "", 1.5, at_least=True).is_met(1.5)


def test_what_never_happened_is_shown_so() -> None:
    rows = list(results(SWARMS, runs_of("mixed-uplinks", [{"last / bound": inf}])))
    assert as_text(render(rows), 200).split()[-5:] == ["1.060", "never", "never", "1", "MISSED"]
    assert json.loads(report_bytes(Report(rows, [], {})))["rows"][0]["worst"] is None


IN_WORKERS = """
from benchmarks import scheduling
from cluster.report_file import report_bytes
scheduling.SWARMS = [one._replace(receivers=2, pieces=4, seeds=2) for one in scheduling.SWARMS if "equal" in one.name]
report = scheduling.measure(["equal-64"], 3, 1, print)
assert report.failed == {}
print(report_bytes(report).decode())
"""


@pytest.mark.process
def test_worlds_run_in_workers() -> None:
    """In a process of its own: what Python starts to look after its workers stays until that ends."""
    ended = subprocess.run(
        [sys.executable, "-c", IN_WORKERS], cwd=ROOT, capture_output=True, text=True, check=True, timeout=50
    )
    told, brace, report = ended.stdout.partition("{")
    assert [line.partition(":")[0] for line in told.splitlines()[:2]] == [
        "1/2 equal-64, seed 1",
        "2/2 equal-64, seed 2",
    ]
    runs = json.loads(brace + report)["runs"]
    assert [(run["swarms"], run["seed"]) for run in runs] == [("equal-64", 1), ("equal-64", 2)]
    assert [run["figures"] for run in runs] == [cases.equal_links(seed, 2, 4) for seed in (1, 2)]


def test_command_prints_the_table_and_writes_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(names: object, seeds: int, jobs: int, _tell: object) -> Report:
        assert (names, seeds, jobs) == (("seeder-dies",), 2, 1)
        runs = runs_of("seeder-dies", [{"complete": 1.0}, {"complete": 0.5}])
        return Report(list(results(SWARMS, runs)), runs, {})

    monkeypatch.setattr(scheduling, "measure", measure)
    path = tmp_path / "report.json"
    arguments = ["--only", "seeder-dies", "--seeds", "2", "--jobs", "1", "--report", str(path)]
    outcome = CliRunner().invoke(scheduling.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.split()[-6:] == [">=", "100.0%", "50.0%", "75.0%", "2", "MISSED"]
    assert [run["figures"]["complete"] for run in json.loads(path.read_bytes())["runs"]] == [1, 0.5]


def test_worlds_that_break_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Report([], [], {"liars, seed 3": "KeyError(1)"})
    monkeypatch.setattr(scheduling, "measure", lambda *_: broken)
    outcome = CliRunner().invoke(scheduling.main, [])
    assert outcome.exit_code == 1
    assert "liars, seed 3" in outcome.output
