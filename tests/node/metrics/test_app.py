"""The figures of a peer over HTTP: what is said when, who is let in, and what is never waited for."""

from __future__ import annotations

import re
import threading
from math import inf
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.local_messages import BottleneckKind
from node.metrics import app
from node.metrics.machine import FileSystem
from node.metrics.reading import Reading
from node.rate_limit import RateLimits
from tests.node.metrics.served import REPORT, hanging, reading, served
from tests.web.fed_page import get

TOKEN = "0123456789abcdef-token"


def values(text: str) -> dict[str, float]:
    """By name and label values."""
    return {
        " ".join([sample.name.removeprefix("zswarm_peer_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_says_what_the_agent_reports_and_what_the_machine_has() -> None:
    with served(lambda: reading(limits=RateLimits(0, 100.0))) as url:
        answer = get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = values(answer.body)
    assert (found["up"], found["network joined"], found["network left"]) == (1, 1, 0)
    assert (found["sent_bytes_total"], found["received_bytes_total"]) == (500, 1_000)
    assert (found["pieces_verified_total"], found["pieces_failed_total"], found["sources_banned_total"]) == (7, 2, 1)
    assert (found["downloads downloading"], found["downloads paused"], found["downloads checking"]) == (2, 1, 0)
    assert (found["downloads_ended_total done"], found["downloads_ended_total failed"]) == (4, 0)
    assert (found["shared_items served"], found["shared_items damaged"]) == (5, 1)
    assert (found["disk_free_bytes data"], found["disk_size_bytes data"]) == (10, 100)
    assert (found["rate_limit_bytes_per_second up"], found["rate_limit_bytes_per_second down"]) == (inf, 100)
    assert found["process_cpu_seconds_total agent"] == 1.5
    assert found["downloads_held_back disk"] == 1


def test_names_end_in_units_and_labels_have_few_values() -> None:
    with served(reading) as url:
        families = list(text_string_to_metric_families(get(f"{url}/metrics").body))
    own = [family for family in families if family.name.startswith("zswarm_peer_")]
    assert all(family.name.startswith("process_") for family in families if family not in own)
    for family in own:
        assert family.documentation
        assert len(family.samples) <= len(get_args(BottleneckKind)), family.name
        assert (family.type == "counter") == family.samples[0].name.endswith("_total")
        for sample in family.samples:
            assert all(re.fullmatch(r"[a-z_0-9]+", value) for value in sample.labels.values()), sample


def test_an_agent_that_does_not_answer_is_down_and_the_rest_is_told() -> None:
    with served(lambda: Reading(None, {}, "no peer runs here")) as url:
        found = values(get(f"{url}/metrics").body)
        health = get(f"{url}/healthz")
    assert (found["up"], found["disk_free_bytes data"]) == (0, 10)
    assert "network joined" not in found
    assert (health.status, health.body) == (503, "no peer runs here\n")


@pytest.mark.parametrize(
    ("changes", "health", "readiness"),
    [
        ({}, (200, "ok\n"), (200, "ok\n")),
        (
            {"network": "unreachable", "problem": "connection refused"},
            (200, "ok\n"),
            (503, "unreachable: connection refused\n"),
        ),
        ({"network": "left"}, (200, "ok\n"), (503, "left\n")),
        (
            {"silent_seconds": {"piece_server": 0.1, "downloader": 12.0}},
            (503, "downloader has been silent for 12 s\n"),
            (503, "downloader has been silent for 12 s\n"),
        ),
    ],
)
def test_a_restart_is_asked_for_only_where_it_may_help(
    changes: dict[str, object], health: tuple[int, str], readiness: tuple[int, str]
) -> None:
    with served(lambda: reading(**changes)) as url:
        answers = [get(f"{url}{path}") for path in ("/healthz", "/readyz")]
    assert [(answer.status, answer.body) for answer in answers] == [health, readiness]


def test_a_disk_that_hangs_holds_nothing_else_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "DISKS_SECONDS", 0.05)
    released, asked = threading.Event(), list[bool]()

    def hang() -> dict[str, FileSystem]:
        asked.append(True)
        released.wait()
        return {}

    try:
        with served(reading, hang) as url:
            found = [values(get(f"{url}/metrics").body) for _ in range(3)]
    finally:
        released.set()
    assert len(asked) == 1
    assert all(one["up"] == 1 and "disk_free_bytes data" not in one for one in found)


def test_an_agent_that_takes_too_long_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ANSWER_SECONDS", 0.05)
    released = threading.Event()
    try:
        with served(hanging(released)) as url:
            assert values(get(f"{url}/metrics").body)["up"] == 0
            assert get(f"{url}/healthz").status == 503
    finally:
        released.set()


def test_with_a_token_only_probes_need_none() -> None:
    with served(reading, token=TOKEN) as url:
        assert [get(f"{url}{path}").status for path in ("/healthz", "/readyz")] == [200, 200]
        assert [get(f"{url}{path}").status for path in ("/metrics", "/", "/nothing")] == [401, 401, 401]
        assert get(f"{url}/metrics", {"Authorization": f"Bearer {TOKEN}"}).status == 200


def test_without_one_only_names_of_this_machine_are_answered() -> None:
    with served(reading) as url:
        assert get(f"{url}/metrics", {"Host": "evil.example"}).status == 421
        assert get(f"{url}/metrics", method="POST").status == 405
        assert get(f"{url}/").body.startswith("a zswarm peer: /metrics")


def test_no_name_of_anybody_is_told() -> None:
    with served(reading) as url:
        text = get(f"{url}/metrics").body
    assert not any(word in text for word in (REPORT.name, REPORT.tracker, REPORT.endpoint))
