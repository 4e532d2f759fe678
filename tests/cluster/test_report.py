"""The figures of a report, and how a person sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from cluster.report import GIB, MIB, Outcome, PeerResult, Report, Usage, build_report
from cluster.report_file import write_report
from cluster.table import render, verdict
from protocol.errors import DiskError

SEEDER = PeerResult(peer="peer-01", ok=True, seeder=True, sent=150 * MIB)
QUICK = PeerResult(peer="peer-02", ok=True, seconds=1.0, sent=50 * MIB, received=100 * MIB, sources=2)
SLOW = PeerResult(peer="peer-03", ok=True, seconds=2.0, received=110 * MIB, sources=2)
FAILED = PeerResult(peer="peer-03", ok=False, received=10 * MIB, error="its copy is wrong: x is missing")
USAGE = Usage(
    cpu_s={"agent": 0.1, "downloader": 0.9, "supervisor": 0.0},
    max_rss={"agent": 30 * MIB, "downloader": 50 * MIB, "registrar": 1, "supervisor": 2 * MIB},
    busy=0.5,
)


OUTCOME = Outcome(
    name="data.bin",
    size=100 * MIB,
    pieces=400,
    digest="blake3:00",
    wall_s=2.0,
    results=[SEEDER, QUICK, SLOW],
    usage=USAGE,
)


def report_of(*results: PeerResult, size: int = 100 * MIB, wall_s: float = 2.0) -> Report:
    outcome = msgspec.structs.replace(OUTCOME, size=size, wall_s=wall_s, results=list(results))
    return build_report(outcome, {"start": 1.25, "get": 2.0})


def shown(report: Report, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(render(report))
    return captured.get().splitlines()


def test_figures_of_a_good_run() -> None:
    report = report_of(SEEDER, QUICK, SLOW)
    assert (report.ok, report.verified, report.peers, report.seeders) == (True, 3, 3, 1)
    assert (report.wall_s, report.median_s, report.last_s) == (2.0, 1.5, 2.0)
    assert report.aggregate_mib_s == 100.0
    assert (report.seeder_sent_ratio, report.received_ratio) == (1.5, 1.05)
    assert report.cpu_s == 1.0
    assert report.cpu_s_per_gib == pytest.approx(1.0 * GIB / (200 * MIB))


def test_the_seeder_is_no_receiver_and_its_own_copy_counts() -> None:
    report = report_of(msgspec.structs.replace(SEEDER, ok=False, error="its copy is wrong: differs"), QUICK, SLOW)
    assert not report.ok
    assert report.verified == 2
    assert report.median_s == 1.5


def test_who_did_not_finish_is_in_no_time_but_in_the_traffic() -> None:
    report = report_of(SEEDER, QUICK, FAILED, wall_s=10.0)
    assert (report.ok, report.verified) == (False, 2)
    assert (report.wall_s, report.last_s, report.aggregate_mib_s) == (10.0, 1.0, 100.0)
    assert report.received_ratio == 0.55


@pytest.mark.parametrize(
    "report",
    [report_of(SEEDER, FAILED), report_of(SEEDER, QUICK, SLOW, size=0)],
    ids=["nobody finished", "no bytes"],
)
def test_figures_that_do_not_exist_are_null(report: Report) -> None:
    assert report.cpu_s_per_gib is None
    assert any("-" in line for line in shown(report, 80))


def test_the_json_has_every_promised_key() -> None:
    found: dict[str, Any] = json.loads(msgspec.json.encode(report_of(SEEDER, QUICK, SLOW)))
    promised = "peers size pieces wall_s median_s last_s aggregate_mib_s seeder_sent_ratio received_ratio cpu_s"
    assert set(promised.split()) | {"cpu_s_per_gib", "max_rss_mib", "results"} <= set(found)
    assert {"registrar", "lookup", "agent", "piece_server", "downloader"} <= set(found["max_rss_mib"])
    keys = {"peer", "ok", "seconds", "sent", "received", "sources", "digest", "error"}
    assert all(keys <= set(result) for result in found["results"])


def test_a_role_that_was_never_seen_has_no_memory() -> None:
    report = report_of(SEEDER, QUICK)
    assert report.max_rss_mib == {
        "registrar": 0.0,
        "lookup": 0.0,
        "agent": 30.0,
        "piece_server": 0.0,
        "downloader": 50.0,
        "supervisor": 2.0,
    }


def test_a_run_over_known_links_is_compared_with_their_bound() -> None:
    outcome = msgspec.structs.replace(OUTCOME, goodput=62.5 * MIB, bound_s=1.6, notes=["links of 600 Mbit/s both ways"])
    report = build_report(outcome, {})
    assert (report.goodput_mib_s, report.bound_s, report.ratio, report.simulated) == (62.5, 1.6, 1.25, False)
    lines = [line.rstrip() for line in shown(report, 100)]
    assert "goodput   62.5 MiB/s between two alone; the bound is of such links" in lines
    assert "bound     nobody could have all of it before 1.60 s; the last took 1.25 x of that" in lines
    assert "note      links of 600 Mbit/s both ways" in lines
    assert lines[-1] == "3 of 3 verified: data.bin, 100.0 MiB in 400 pieces"


def test_who_did_not_finish_has_no_ratio() -> None:
    results = [SEEDER, QUICK, FAILED]
    report = build_report(msgspec.structs.replace(OUTCOME, results=results, goodput=1.0, bound_s=1.6), {})
    assert (report.bound_s, report.ratio) == (1.6, None)


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    lines = shown(report_of(SEEDER, QUICK, SLOW), 80)
    assert lines[0].split() == ["PEER", "SECONDS", "RATE", "SENT", "RECEIVED", "SOURCES", "VERDICT"]
    assert lines[1].split() == ["peer-01", "seeder", "-", "150.0", "MiB", "-", "-", "verified"]
    assert lines[2].split() == ["peer-02", "1.00", "100.0", "MiB/s", "50.0", "MiB", "100.0", "MiB", "2", "verified"]
    assert lines[-1].rstrip() == "3 of 3 verified: data.bin, 100.0 MiB in 400 pieces"
    assert all("…" not in line for line in lines)


def test_a_failure_says_who_and_why() -> None:
    report = report_of(SEEDER, FAILED)
    lines = [line.rstrip() for line in shown(report, 80)]
    assert "peer-03: its copy is wrong: x is missing" in lines
    assert lines[2].endswith("FAILED")
    assert verdict(report).startswith("1 of 2 verified")


def test_a_report_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "report", report_of(SEEDER))
