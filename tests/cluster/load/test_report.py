"""The figures of a load test, when it is a success, and how a person sees them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from rich.console import Console

from cluster.load.messages import Phase, Progress
from cluster.load.plan import LoadPlan
from cluster.load.report import Gauge, LoadReport, Measured, Reading, Setting, TrackerCost, build_report, limit_of
from cluster.load.table import render_load, verdict
from cluster.load.tally import Tally
from cluster.report import MIB, Usage

PLAN = LoadPlan(clients=1_000, trackers=1, files=10, seconds=10.0, idle=False, seed=1)
SETTING = Setting(PLAN, processes=2, cores=4, open_files_max=20_000)
PHASES = {"start": 1.0, "join": 0.5, "load": 10.2, "leave": 0.4, "end": 0.3}
USAGE = Usage(
    cpu_s={"registrar": 8.0, "lookup": 4.0, "supervisor": 0.0, "clients": 16.0},
    max_rss={"registrar": 70 * MIB, "lookup": 60 * MIB, "supervisor": 25 * MIB, "clients": 80 * MIB},
    busy=0.9,
)
BUSY = {
    "supervisor": Gauge(1, 0.0, 12),
    "clients": Gauge(2, 0.75, 2_016),
    "registrar": Gauge(1, 0.7, 1_017),
    "lookup": Gauge(1, 0.35, 1_016),
}
READING = Reading(BUSY, 10 * MIB)


def progress(worker: int, phase: Phase, tally: Tally, settled: int = 500, seconds: float = 10.0) -> Progress:
    return Progress(
        worker=worker,
        tracker=0,
        phase=phase,
        over=True,
        settled=settled,
        given_up=0,
        seconds=seconds,
        counts=tally.counts(),
        epoch=7,
        seq=9,
        asked_again=1,
    )


def tally_of(seconds: float, count: int = 1_000) -> Tally:
    tally = Tally()
    for request in ("Heartbeat", "GetSeederList"):
        for _ in range(count):
            tally.answered(request, seconds)
    return tally


def measured(load: Tally | None = None, gone: int = 500, **changes: Any) -> Measured:
    first = load or tally_of(0.050)
    measurement = Measured(
        latest={
            Phase.DIAL: [],
            Phase.JOIN: [progress(worker, Phase.JOIN, Tally(), seconds=0.5) for worker in (0, 1)],
            Phase.LOAD: [progress(0, Phase.LOAD, first), progress(1, Phase.LOAD, tally_of(0.100))],
            Phase.LEAVE: [progress(worker, Phase.LEAVE, Tally(), gone, 0.4) for worker in (0, 1)],
        },
        left=(0, 0),
        usage=USAGE,
        reading=READING,
    )
    return measurement._replace(**changes)


def report_of(**changes: Any) -> LoadReport:
    return build_report(SETTING, measured(**changes), PHASES)


def shown(report: LoadReport, width: int = 80) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(render_load(report))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_figures_are_those_of_all_processes() -> None:
    report = report_of()
    assert report.ok
    assert [figures.request for figures in report.requests] == ["Heartbeat", "GetSeederList"]
    figures = report.all_requests
    assert (figures.count, figures.per_s, figures.max_ms) == (4_000, 400.0, 100.0)
    assert figures.p50_ms == pytest.approx(50, rel=0.032)
    assert figures.p90_ms == pytest.approx(100, rel=0.032)
    assert (report.joined.clients, report.joined.seconds, report.left.seconds) == (1_000, 0.5, 0.4)
    assert report.asked_again == 2
    assert {role.role: role.requests_per_cpu_s for role in report.roles} == {
        "registrar": 250.0,
        "lookup": 500.0,
        "supervisor": None,
        "clients": None,
    }
    assert report.tracker == TrackerCost(mib=155.0, cores=1.2, bytes_per_s=MIB)
    assert report.busy_cores == {"tracker": 1.2, "clients": 1.6, "other programs": 0.8}


def test_what_a_tracker_costs_is_the_mean_of_several() -> None:
    roles = {role: gauge._replace(processes=4 if role == "clients" else 2) for role, gauge in BUSY.items()}
    seconds = {Phase.JOIN: 0.5, Phase.LOAD: 10.0, Phase.LEAVE: 0.4}
    latest = {
        phase: [progress(worker, phase, tally_of(0.05), 500, lasted) for worker in range(4)]
        for phase, lasted in seconds.items()
    }
    setting = SETTING._replace(plan=msgspec.structs.replace(PLAN, trackers=2, idle=True), processes=4)
    report = build_report(setting, measured(reading=READING._replace(roles=roles), latest=latest), PHASES)
    assert (report.ok, report.joined.clients, report.mix) == (True, 2_000, {})
    assert report.tracker == TrackerCost(mib=155.0, cores=0.6, bytes_per_s=MIB / 2)
    lines = shown(report, 200)
    assert any("1000 in 4 processes" in line and "members of each of 2 trackers" in line for line in lines)
    assert "cost      of each tracker: 155 MiB, 0.600 cores, 512.0 KiB/s in and out" in lines


def failed_load() -> Tally:
    tally = tally_of(0.05)
    tally.failed("Update", "no reply", "load-00003: for 10.2 s")
    return tally


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"load": failed_load()}, "1 x Update: no reply; the first: load-00003: for 10.2 s"),
        ({"gone": 499}, "left      998 of 1000 in 0.4 s"),
        ({"left": (3, 0)}, "the tracker lists 3 contents and 0 members"),
        ({"left": (0, 500)}, "0 contents and 500 or more members"),
        ({"left": None}, "the tracker did not say what it lists"),
    ],
)
def test_what_is_no_success_says_why(changes: dict[str, Any], what: str) -> None:
    report = report_of(**changes)
    assert not report.ok
    assert any(what in line for line in shown(report, 200))
    assert verdict(report).startswith("FAILED: 1000 clients")


def test_errors_are_counted_by_kind_of_request() -> None:
    report = report_of(load=failed_load())
    assert report.error_count == report.all_requests.errors == 1
    assert {figures.request: figures.errors for figures in report.requests} == {
        "Heartbeat": 0,
        "Update": 1,
        "GetSeederList": 0,
    }


@pytest.mark.parametrize(
    ("machine", "registrar", "lookup", "clients", "limit"),
    [
        (1.0, 0.97, 0.92, 0.99, "registrar"),
        (0.7, 0.50, 0.92, 0.99, "lookup"),
        (0.99, 0.62, 0.50, 0.99, "machine"),
        (0.7, 0.62, 0.50, 0.95, "clients"),
        (0.2, 0.10, 0.10, 0.10, "none"),
    ],
)
def test_the_limit_is_what_had_no_time_left(
    machine: float, registrar: float, lookup: float, clients: float, limit: str
) -> None:
    busy = {"registrar": registrar, "lookup": lookup, "clients": clients}
    assert limit_of(machine, {role: Gauge(1, share, 1) for role, share in busy.items()}) == limit


@pytest.mark.parametrize(
    ("machine", "busy", "text"),
    [
        (0.9, {**BUSY, "registrar": Gauge(1, 0.98, 1)}, "limit     the registrar's core, 98 % busy"),
        (0.99, BUSY, "limit     the 4 cores of this machine, all busy"),
        (
            0.9,
            {**BUSY, "clients": Gauge(2, 0.96, 1)},
            "the clients' processes, 96 % busy; the registrar 70 %",
        ),
        (0.2, BUSY, "limit     nobody was busy all the time"),
    ],
)
def test_the_limit_in_words(machine: float, busy: dict[str, Gauge], text: str) -> None:
    usage = msgspec.structs.replace(USAGE, busy=machine)
    assert any(text in line for line in shown(report_of(usage=usage, reading=Reading(busy, 0)), 200))


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    lines = shown(report_of())
    assert lines[0].split("  ")[0] == "REQUEST"
    assert lines[3].split() == ["all", "4,000", "400/s", "50.2", "100.0", "100.0", "100.0", "0"]
    assert lines[-1] == "no errors: 1000 clients, 4,000 requests in 10.0 s, 400 a second"
    assert all("…" not in line for line in lines)


def test_large_figures_fit_too() -> None:
    tally = Tally()
    for count in range(20):
        tally.failed("GetTorrentList", f"kind {count}", "", 1_000_000)
    tally.answered("GetTorrentList", 123.4567)
    report = report_of(load=tally)
    times = {"p50_ms": 11_000.0, "p90_ms": 11_000.0, "p99_ms": 11_000.0}
    figures = msgspec.structs.replace(report.requests[0], count=12_345_678, per_s=123_456.7, **times)
    report = msgspec.structs.replace(report, requests=[figures])
    assert all("…" not in line for line in shown(report))


def test_a_load_that_did_not_even_last_a_moment_has_a_report() -> None:
    nothing = measured(latest={phase: [] for phase in Phase}, usage=Usage(cpu_s={}, max_rss={}), reading=Reading({}, 0))
    report = build_report(SETTING, nothing, {})
    assert not report.ok
    assert shown(report)[-1].startswith("FAILED")
