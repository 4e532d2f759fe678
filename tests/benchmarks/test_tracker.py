"""The tracker's benchmark: its figures, what it refuses, and one short real run."""

from __future__ import annotations

import resource

import pytest
from click.testing import CliRunner

from benchmarks.output import as_text
from benchmarks.tracker import command, render_registries, render_requests
from benchmarks.tracker_figures import CASES, HEARTBEAT, Registered, Served, percentile, ratios, result_rows, served
from benchmarks.tracker_load import samples
from benchmarks.tracker_load.registry import PROCESSES_COUNT, check_open_files
from protocol.errors import UsageError
from tests.benchmarks.commands import run_benchmark

MIB = 1024 * 1024


def one_round(ours: float, echo: float) -> dict[str, Served]:
    found = {}
    for case in CASES:
        found[case.ours] = Served(ours, 9.0, 3.0, 0.5, 1.0, 2.0)
        found[case.echo] = Served(echo, 5.0, 3.0, 0.25, 0.5, 1.0)
    return found


def registered(after: int, entries: int = 1_000_000) -> Registered:
    return Registered(
        entries=entries,
        registrar_before=30 * MIB,
        registrar_after=30 * MIB + after,
        registrar_peak=30 * MIB + 2 * after,
        lookup_before=25 * MIB,
        lookup_after=25 * MIB + after // 2,
        members_s=4.0,
        lookup_s=6.0,
        registrar_cpu_s=3.0,
        lookup_cpu_s=2.0,
        peers_cpu_s=1.0,
    )


def test_percentiles_are_values_that_were_there() -> None:
    values = list(range(1, 1001))
    assert [percentile(values, part) for part in (0.5, 0.99, 0.999, 1.0)] == [500, 990, 999, 1000]
    assert percentile([7], 0.5) == percentile([7], 0.999) == 7
    assert percentile([1, 2], 0.5) == 1


def test_requests_are_counted() -> None:
    found = served(2_000, 0.5, 0.02, 0.01, {"p50": 0.1, "p99": 0.2, "p99.9": 0.3})
    assert found == Served(4_000, 10.0, 5.0, 0.1, 0.2, 0.3)


def test_each_server_is_compared_with_its_echo() -> None:
    rounds = [one_round(7, 10), one_round(5, 10), one_round(90, 100)]
    assert ratios(rounds, HEARTBEAT) == [0.7, 0.5, 0.9]
    rows = list(result_rows(rounds, []))
    assert [(row.case, row.value, row.met) for row in rows] == [
        ("Heartbeat", 0.7, True),
        ("GetSeederList", 0.7, True),
    ]
    assert not any(row.met for row in result_rows([one_round(6.9, 10)], []))


def test_memory_is_that_of_an_entry() -> None:
    found = registered(150_000_000)
    assert (found.entry_bytes, found.peak_entry_bytes, found.lookup_entry_bytes) == (150, 300, 75)
    assert [(row.value, row.met) for row in result_rows([], [found, registered(250_000_000), found])] == [(150, True)]
    assert [row.met for row in result_rows([], [registered(201_000_000)])] == [False]
    assert list(result_rows([], [registered(201_000_000, entries=999_999)])) == []


def test_tables_have_a_line_for_everything() -> None:
    shown = as_text(render_requests([one_round(7_000, 10_000)]), 80).splitlines()
    assert [line.split()[-6:] for line in shown[1:3]] == [
        ["7,000", "0.70", "9.0", "0.50", "1.00", "2.00"],
        ["registrar", "10,000", "5.0", "0.25", "0.50", "1.00"],
    ]
    assert max(map(len, shown)) <= 80
    shown = as_text(render_registries([registered(100_000_000), registered(110_000_000)]), 80).splitlines()
    assert shown[0].split() == ["1,000,000", "ENTRIES", "MEDIAN", "EACH", "TIME"]
    assert shown[1].split()[-3:] == ["105.0", "100.0,", "110.0"]


def test_sample_entries_are_shared_and_told_apart() -> None:
    assert samples.entries(300) is samples.entries(300)
    assert len({entry.digest for entry in samples.entries(300)}) == 300
    assert len({samples.peer_id(number) for number in range(300)}) == 300


# --- what is refused -------------------------------------------------------------------------------------


def test_too_few_open_files_are_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 1_024))
    check_open_files(100 * PROCESSES_COUNT)
    with pytest.raises(UsageError, match=r"1000 peers need 1064 open files in one process, and 1024 are allowed here"):
        check_open_files(1_000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ahead", "51"], "51 is not in the range 1<=x<=50"),
        (["--rounds", "0", "--registries", "0"], "nothing is left to be measured"),
        (["--report", "/nowhere/report.json"], "its directory does not exist"),
    ],
)
def test_bad_options_are_refused(options: list[str], said: str) -> None:
    outcome = CliRunner().invoke(command, options)
    assert outcome.exit_code != 0
    assert said in f"{outcome.output} {outcome.exception}"


# --- for real --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.process
def test_a_short_real_run() -> None:
    peers, files = 20, 150  # more than a page of entries
    options = ("--rounds", "1", "--requests", "300", "--registries", "1")
    ended = run_benchmark("benchmarks.tracker", *options, "--peers", str(peers), "--files", str(files))
    (found,), (registry,) = ended.report["rounds"], ended.report["registries"]
    assert found.keys() == {name for case in CASES for name in (case.ours, case.echo)}
    assert all(0 < one["p50_ms"] <= one["p99_ms"] <= one["p999_ms"] and one["requests_s"] > 0 for one in found.values())
    assert registry["entries"] == peers * files
    assert registry["registrar_after"] > 0
    assert 0 < registry["members_s"] <= registry["lookup_s"]
    assert [row["case"] for row in ended.report["rows"]] == [case.name for case in CASES]
    assert "registrar, Heartbeat" in ended.stdout
    assert ended.plot is None or ended.plot.startswith(b"\x89PNG")
    assert ended.left == []
