"""``trace`` of a download between real peers, while it goes on and when it is over."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.outside.commands import Machine, eventually

SIZE = 8 * 1024 * 1024


def pieces_of_sources(events: list[dict[str, Any]]) -> list[int]:
    return sorted(event["args"]["piece"] for event in events if "how" in event.get("args", {}))


@pytest.mark.slow
def test_a_download_is_traced_while_it_goes_on_and_afterwards(network: Machine) -> None:
    (network.place / "model").write_bytes(os.urandom(SIZE))
    network.start_peer("giver", config={"share": ["model"]})
    network.start_peer("taker", config={"download_rate": "256 KiB/s"})
    eventually(lambda: "model" in network.z("--data-dir", "taker", "list").out, "it is shared")
    get = network.start("--data-dir", "taker", "get", "model", "-o", "got")
    during = eventually(
        lambda: found.out if "giver (" in (found := network.z("--data-dir", "taker", "trace", "model")).out else "",
        "pieces have come",
    )
    assert during.startswith("model  8.0 MiB, "), "not all of it"
    assert network.z("--data-dir", "taker", "limit", "--down", "0").code == 0
    assert get.wait().code == 0
    after = network.z("--data-dir", "taker", "trace", "model", "--json", "trace.json")
    assert after.out.startswith("model  8.0 MiB in ")
    assert after.out.splitlines()[-1].startswith("held back by the rate limit ")
    events = json.loads((network.place / "trace.json").read_text())["traceEvents"]
    assert pieces_of_sources(events) == list(range(128))
    assert any(event["ph"] == "i" and event["name"] == "connected" for event in events)
    assert network.z("--data-dir", "taker", "trace", str(network.place / "got" / "model")).code == 0, "by its path"
    assert network.z("--data-dir", "giver", "trace", "model").code == 3


@pytest.mark.slow
def test_a_get_that_runs_its_own_peer_writes_its_trace(network: Machine) -> None:
    (network.place / "model").write_bytes(os.urandom(SIZE))
    network.start_peer("giver", config={"share": ["model"]})
    eventually(lambda: "model" in network.z("--data-dir", "giver", "list").out, "it is shared")
    got = network.z("--data-dir", "taker", "get", "model", "-o", "got", "--trace", "trace.json")
    assert got.code == 0, got.err
    events = json.loads((network.place / "trace.json").read_text())["traceEvents"]
    assert pieces_of_sources(events) == list(range(128))
    nothing = network.z("--data-dir", "taker", "get", "nothing", "-o", "got", "--trace", "none.json")
    assert nothing.code == 3
    assert not (network.place / "none.json").exists()
    several = network.z("--data-dir", "taker", "get", "a", "b", "--trace", "none.json")
    assert (several.code, "--trace is for one download" in several.err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["timeout", "interrupt"])
def test_a_get_that_does_not_end_writes_the_trace_of_what_it_did(network: Machine, ending: str) -> None:
    (network.place / "model").write_bytes(os.urandom(SIZE))
    network.start_peer("giver", config={"share": ["model"]})
    eventually(lambda: "model" in network.z("--data-dir", "giver", "list").out, "it is shared")
    (network.place / "slow.yaml").write_text('{"download_rate": "256 KiB/s"}')
    timeout = ("--timeout", "4s") if ending == "timeout" else ()
    get = network.start(
        "--config", "slow.yaml", "--data-dir", "t", "get", "model", "-o", "got", "--trace", "t.json", *timeout
    )
    if ending == "interrupt":
        eventually(lambda: "1 source" in get.err, "pieces come")
        get.process.send_signal(signal.SIGINT)
    assert get.wait().code == (4 if ending == "timeout" else 130)
    assert "no trace" not in get.err
    assert pieces_of_sources(json.loads((network.place / "t.json").read_text())["traceEvents"])


def test_a_trace_that_could_not_be_written_is_refused_before_the_download(network: Machine) -> None:
    for place, why in (("nowhere/t.json", "No such file or directory"), (".", "Is a directory")):
        got = network.z("--data-dir", "taker", "get", "model", "--timeout", "10s", "--trace", place)
        assert (got.code, got.err.strip()) == (6, f"error: --trace {place}: {why}")
