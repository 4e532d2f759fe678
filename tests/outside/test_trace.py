"""``trace`` of a download between real peers, while it goes on and when it is over."""

from __future__ import annotations

import json
import os

from tests.outside.commands import Machine, eventually

SIZE = 8 * 1024 * 1024


def test_a_download_is_traced_while_it_goes_on_and_afterwards(network: Machine) -> None:
    (network.place / "model").write_bytes(os.urandom(SIZE))
    network.start_peer("giver", config={"share": ["model"]})
    network.start_peer("taker", config={"download_rate": "4 MiB/s"})
    eventually(lambda: "model" in network.z("--data-dir", "taker", "list").out, "it is shared")
    get = network.start("--data-dir", "taker", "get", "model", "-o", "got")
    during = eventually(
        lambda: found.out if "giver (" in (found := network.z("--data-dir", "taker", "trace", "model")).out else "",
        "pieces have come",
    )
    assert during.startswith("model  8.0 MiB, "), "not all of it"
    assert get.wait().code == 0
    after = network.z("--data-dir", "taker", "trace", "model", "--json", "trace.json")
    assert after.out.startswith("model  8.0 MiB in ")
    assert "the rate limit" in after.out.splitlines()[-1]
    events = json.loads((network.place / "trace.json").read_text())["traceEvents"]
    (source,) = {event["tid"] for event in events if event["ph"] == "X" and event["pid"] == 1}
    pieces = [event["args"]["piece"] for event in events if event.get("tid") == source and event["ph"] == "X"]
    assert sorted(pieces) == list(range(128))
    assert any(event["ph"] == "i" and event["name"] == "connected" for event in events)
    assert network.z("--data-dir", "taker", "trace", str(network.place / "got" / "model")).code == 0, "by its path"
    assert network.z("--data-dir", "giver", "trace", "model").code == 3
