"""``status`` on a terminal: what comes first, what is left out where there is no room, what survives narrow columns."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from node.api_messages import SharedStatus
from node.cli.output import in_order, screen_lines
from node.local_messages import SourceReport
from tests.node.cli.fakes import DIGEST, LINK, download, job, report

REASON = "no source can be reached: bob (tcp://10.0.0.9:5600) refused the connection"


def item(name: str, sessions: int = 0) -> SharedStatus:
    return SharedStatus(name, DIGEST, LINK, 5, f"/data/{name}", "shared", 0, sessions)


JOBS = [
    *(job(number=n, name=f"old-{n}.bin", finished_at=1000.0 + n) for n in range(1, 11)),
    job(phase="waiting", number=11, name="wanted.bin", detail=REASON, download=download("waiting", rate=0.0)),
    job(number=12, name="new.bin", finished_at=2000.0),
]
ITEMS = [*(item(f"idle-{n}.bin") for n in range(20)), item("fetched.bin", sessions=2)]


def texts(width: int, height: int) -> list[str]:
    lines = [line.text for line in screen_lines(report(JOBS, ITEMS), width, height)]
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    return lines


def test_what_goes_on_comes_first_then_the_newest() -> None:
    assert [found.job for found in in_order(JOBS)] == [11, 12, *range(10, 0, -1)]


def test_with_room_for_all_nothing_is_left_out() -> None:
    lines = texts(200, 100)
    assert not any(line.startswith("+") for line in lines)
    assert sum(line.startswith(("get", "idle-", "fetched")) for line in lines) == len(JOBS) + len(ITEMS)


def test_the_least_important_is_left_out_and_counted() -> None:
    lines = texts(160, 20)
    assert any(REASON in line for line in lines)
    assert any(line.startswith("fetched.bin") for line in lines)
    assert not any(line.startswith("idle-") for line in lines)
    (jobs, shared) = [int(line[1:].split()[0]) for line in lines if line.startswith("+")]
    assert jobs == len(JOBS) - sum(line.startswith("get") for line in lines)
    assert shared == 20


def test_what_is_fetched_now_comes_before_what_is_not() -> None:
    shown = [line.split()[0] for line in texts(200, 100) if line.startswith(("idle", "fetched"))]
    assert shown[:2] == ["fetched.bin", "idle-0.bin"]


def test_trouble_is_shown_before_what_is_done() -> None:
    failed = job(phase="failed", number=20, name="failed.bin", detail="it is full", finished_at=500.0)
    away = SharedStatus(
        "away.bin", DIGEST, LINK, 5, "/data/away.bin", "shared", 0, 0, "missing", "it is not there", 1e9
    )
    lines = [line.text for line in screen_lines(report([*JOBS, failed], [*ITEMS, away]), 40, 30)]
    whole = " ".join(line.strip() for line in lines)
    assert "it is full" in whole
    assert re.search(r"away.bin .* missing", whole)
    assert re.search(r"since 200\d-\d\d-\d\d \d\d:\d\d: it is not there", whole)


@pytest.mark.parametrize(("width", "height"), [(40, 24), (40, 12), (80, 10)])
def test_the_reason_of_what_waits_survives_a_small_terminal(width: int, height: int) -> None:
    assert REASON in " ".join(line.strip() for line in texts(width, height))


@pytest.mark.parametrize("height", range(1, 8))
def test_any_terminal_gets_as_much_as_it_has_lines(height: int) -> None:
    assert len(texts(20, height)) == height


def test_the_trouble_with_the_tracker_is_wrapped_not_cut() -> None:
    problem = "the tracker tcp://10.0.0.1:5550 speaks another version of the protocol"
    lines = screen_lines(report(network="refused", problem=problem), 40, 24)
    assert problem in " ".join(line.text.strip() for line in lines)


def test_why_a_source_is_of_no_use_survives_a_narrow_terminal() -> None:
    reason = "refused the connection, and so it has for a while"
    source = SourceReport("p1", "bob", "tcp://10.0.0.9:5600", "unreachable", reason, 0, 0.0, 0)
    waits = job(phase="waiting", name="wanted.bin", download=download("waiting", sources=[source]))
    lines = [line.text for line in screen_lines(report([waits], ITEMS), 40, 30)]
    assert any("tcp://10.0.0.9:5600" in line for line in lines)
    assert f"not reachable: {reason}" in " ".join(line.strip() for line in lines)


def test_a_warning_is_wrapped_not_cut() -> None:
    warning = "peers on other machines cannot reach this one at 127.0.0.1"
    lines = screen_lines(report(reach_problem=warning), 40, 24)
    assert warning in " ".join(line.text.strip() for line in lines)
