"""A rollout predicted, and the command line that asks for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

import run_cluster
from cluster.follow import Followed
from cluster.interrupts import Interrupted
from cluster.links import Links
from cluster.report import Report
from cluster.simulated import rollout, scale
from cluster.simulated.rollout import RolloutPlan, run_rollout
from protocol.errors import NetworkError
from protocol.limits import MIB

PLAN = RolloutPlan(peers=8, seeders=1, size=4 * MIB, links=Links(31.25e6), delay=2e-4)


class QuietScreen:
    """Remembers what it was told. ``stop_at`` is what somebody presses Ctrl-C at."""

    def __init__(self, stop_at: str = "\0") -> None:
        self.stages: list[str] = []
        self._stop_at = stop_at

    def stage(self, text: str) -> None:
        self.stages.append(text)
        if self._stop_at in text:
            raise Interrupted(2)

    def step(self, text: str, now: float) -> None: ...
    def show(self, peers: Sequence[Followed], now: float) -> None: ...
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None: ...


def predicted(**changes: Any) -> Report:
    return run_rollout(msgspec.structs.replace(PLAN, **changes), QuietScreen())


def figure(value: float | None) -> float:
    """One that has to be there."""
    assert value is not None
    return value


def test_a_rollout_has_the_figures_of_a_run_and_a_bound() -> None:
    report = predicted()
    assert (report.ok, report.verified, report.peers, report.seeders) == (True, 8, 8, 1)
    assert (report.simulated, report.goodput_mib_s) == (True, None)
    assert (report.size, report.pieces, report.real_pieces) == (4 * MIB, 64, 64)
    assert report.bound_s == pytest.approx(4 * MIB / 31.25e6, abs=1e-4)
    assert report.last_s == report.wall_s
    assert figure(report.ratio) == pytest.approx(figure(report.last_s) / figure(report.bound_s), rel=1e-3)
    assert 1 < figure(report.ratio) < 2
    assert report.received_ratio == pytest.approx(1, abs=0.05)
    assert 1 <= figure(report.seeder_sent_ratio) < 2
    sent, received = (sum(getattr(peer, what) for peer in report.results) for what in ("sent", "received"))
    assert sent >= received >= 7 * report.size
    assert [peer.sources > 1 for peer in report.results] == [False] + 7 * [True]
    assert (report.cpu_s, report.cpu_s_per_gib, report.max_rss_mib) == (0, None, {})
    assert list(report.phases) == ["start", "get"]


def test_it_follows_from_the_seed() -> None:
    first, again, other = (
        msgspec.structs.replace(predicted(seed=seed, faults="light"), phases={}) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_a_slower_link_takes_longer_and_so_does_its_bound() -> None:
    slow, quick = predicted(links=Links(3.125e6)), predicted()
    assert figure(slow.bound_s) == pytest.approx(10 * figure(quick.bound_s), rel=1e-3)
    assert figure(slow.last_s) > figure(slow.bound_s)


def test_receivers_with_slow_uplinks_take_longer_and_so_does_the_bound() -> None:
    report = predicted(size=16 * MIB, links=Links(10e6, (2.5e6, 5e6)))
    assert report.bound_s == pytest.approx(7 * 16 * MIB / (10e6 + 4 * 2.5e6 + 3 * 5e6), abs=1e-4)
    assert 1 < figure(report.ratio) < 2
    assert "links of 80 Mbit/s both ways, but receivers' uplinks of 20 Mbit/s, 40 Mbit/s in turn" in report.notes[0]
    slow, quick = (sum(peer.sent for peer in report.results[first::2]) for first in (1, 2))
    assert quick > slow


def test_a_seeder_that_dies_with_one_copy_out_is_not_missed() -> None:
    report = predicted(seeder_dies_at=1.0)
    assert report.ok
    assert report.seeder_sent_ratio == pytest.approx(1, abs=0.2)
    assert any(note.startswith("the seeder lost power for good after") for note in report.notes)


def test_a_seeder_that_dies_too_early_is_said_and_does_not_take_for_ever() -> None:
    report = predicted(peers=4, seeder_dies_at=0.5)
    assert (report.ok, report.verified, report.last_s, report.ratio) == (False, 1, None, None)
    assert report.wall_s < 1_000
    errors = [peer.error for peer in report.results if not peer.seeder]
    assert all("nobody has" in error and "of 64 pieces" in error for error in errors)


def test_several_seeders_and_faults() -> None:
    report = predicted(seeders=2, faults="heavy", links=Links(5e6))
    assert (report.seeders, report.ok) == (2, True)
    assert "heavy faults, drawn from seed 1; the seeders are spared, and nobody lies" in report.notes


@pytest.mark.parametrize("seed", [4, 7, 8])
def test_what_befalls_a_copy_after_the_end_is_not_held_against_it(seed: int) -> None:
    """People write over files and bits flip: nobody waits for that when all are done."""
    report = predicted(size=2 * MIB, faults="heavy", seed=seed)
    assert [result.error for result in report.results if not result.ok] == []
    assert any(note.startswith("faults a second: ") for note in report.notes)


@pytest.mark.slow
def test_links_that_are_slow_for_its_pieces_only_take_longer() -> None:
    report = predicted(peers=3, size=MIB // 4, links=Links(625))
    assert report.ok
    assert figure(report.ratio) < 6


def test_what_takes_too_long_is_given_up() -> None:
    report = predicted(timeout=0.05)
    assert (report.ok, report.wall_s, report.ratio) == (False, 0.05, None)
    assert report.results[1].error.startswith("not done after 0.1 s: downloading")


def test_peers_that_cannot_join_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "JOIN_SECONDS", 1e-4)
    with pytest.raises(NetworkError, match="0 of 8 peers joined"):
        predicted()


@pytest.mark.slow
def test_too_many_pieces_are_simulated_by_fewer_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = predicted(size=16 * MIB, links=Links(1e6))
    monkeypatch.setattr(rollout, "WORK_COUNT_MAX", 400)
    coarse = predicted(size=16 * MIB, links=Links(1e6))
    assert fine.pieces == fine.real_pieces == coarse.real_pieces == 256
    assert fine.estimate_s == fine.last_s
    assert 32 <= coarse.pieces < 128
    assert (coarse.ok, coarse.size, coarse.bound_s) == (True, 16 * MIB, fine.bound_s)
    assert figure(fine.last_s) < figure(coarse.last_s) < 2 * figure(fine.last_s)
    assert figure(coarse.estimate_s) == pytest.approx(figure(fine.last_s), rel=0.15)
    assert coarse.received_ratio == pytest.approx(1, abs=0.05)
    assert any(f"{coarse.pieces} pieces of" in note and "stand for 256" in note for note in coarse.notes)
    assert not any("stand for" in note for note in fine.notes)


def test_a_model_may_hear_of_few_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SOURCES_COUNT", 4)
    monkeypatch.setattr(rollout, "WORK_COUNT_MAX", 400)
    report = predicted(peers=13)
    assert report.ok
    assert (report.pieces, report.real_pieces) == (33, 64)
    assert "a download hears of 4 others on average, not of all, so there is no grid" in report.notes
    assert 2 <= sum(peer.sources for peer in report.results) / 12 <= 6


# --- the command line ------------------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    options = ["--simulate", "--peers", "4", "--size", "1MiB", "--link-rate", "25mbit", "--report", str(path)]
    assert run_cluster.main(options) == 0
    shown = capsys.readouterr()
    lines = [line.rstrip() for line in shown.out.splitlines()]
    assert lines[0].split() == ["PEER", "SECONDS", "RATE", "SENT", "RECEIVED", "SOURCES", "VERDICT"]
    assert lines[-1] == "4 of 4 verified in the simulation: random.bin, 1.0 MiB in 16 pieces"
    assert any(
        line.startswith("bound     nobody could have all of it before 0.34 s; the last took 1.") for line in lines
    )
    assert "links of 25 Mbit/s both ways, 0.2 ms there and back" in shown.out
    assert "3 peers get random.bin, 1.0 MiB" in shown.err
    report = json.loads(path.read_text())
    assert (report["ok"], report["bound_s"], report["pieces"]) == (True, 0.3355, 16)
    assert report["ratio"] > 1


def test_no_bytes_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(["--simulate", "--peers", "2", "--size", "0"]) == 0
    assert "random.bin, 0 B in 0 pieces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--simulate", "--file", __file__], "--file: not with --simulate"),
        (["--simulate", "--keep", "/tmp/kept"], "--keep: not with --simulate"),
        (["--simulate", "--hash", "sha256"], "--hash: not with --simulate"),
        (["--faults", "light"], "--faults: only with --simulate"),
        (["--delay", "1ms"], "--delay: only with --simulate"),
        (["--seed", "2"], "--seed: only with --simulate"),
        (["--seeder-dies-at", "1"], "--seeder-dies-at: only with --simulate"),
        (["--peers", "1000"], "at most 200 run on one machine; more with --simulate"),
        (["--simulate", "--peers", "3000"], "--peers"),
        (["--simulate", "--link-rate", "fast"], "expected one such as 40mbit"),
        (["--simulate", "--link-rate", "0"], "nothing ever arrives"),
        (["--simulate", "--up-rates", "1mbit,0"], "nothing ever arrives"),
        (["--simulate", "--seeder-dies-at", "0"], "--seeder-dies-at"),
        (["--simulate", "--seeder-dies-at", "1.5"], "--seeder-dies-at"),
        (["--simulate", "--faults", "some"], "--faults"),
        (["--simulate", "--peers", "3", "--seeders", "3"], "at least one of the 3 peers has to get something"),
    ],
)
def test_bad_input(options: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(options) == 2
    assert what in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run_cluster, "open_screen", lambda: QuietScreen(stop_at="get"))
    assert run_cluster.main(["--simulate", "--peers", "3"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted by SIGINT; nothing was started"
