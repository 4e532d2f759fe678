"""Who has a content, who fetches it, who failed to, and why: asked at any peer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.outside.commands import Machine, eventually


def standings(network: Machine, *arguments: str) -> dict[str, Any]:
    """By peer, what ``list --peers --json`` says."""
    result = network.z("--data-dir", "s", "list", "--peers", "--json", *arguments)
    return {peer["name"]: peer for peer in result.json["peers"]} if result.code == 0 else {}


@pytest.mark.slow
def test_every_peer_says_how_it_stands_with_a_content(network: Machine) -> None:
    (network.place / "m.bin").write_bytes(b"precious" * 500_000)
    (network.place / "taken").mkdir()
    (network.place / "taken" / "m.bin").write_bytes(b"other content")
    for name in ("s", "done", "blocked", "idle"):
        network.start_peer(name)
    network.start_peer("slow", config={"download_rate": "100 KiB/s"})
    link = network.z("--data-dir", "s", "share", "m.bin").out.strip()
    assert network.z("--data-dir", "done", "get", "m.bin", "-o", "done.d").code == 0
    assert network.z("--data-dir", "blocked", "get", "m.bin", "-o", "taken").code == 6
    slow = network.start("--data-dir", "slow", "get", "m.bin", "-o", "slow.d")

    def told() -> dict[str, Any]:
        found = standings(network, "m.bin")
        fetching = found.get("slow", {}).get("rate") and found["slow"]["state"] == "fetching"
        return found if fetching and found["blocked"]["state"] == "failed" else {}

    found = eventually(told, "the network knows of the downloads")
    assert {name: found[name]["state"] for name in ("s", "done", "idle")} == {
        "s": "has it",
        "done": "has it",
        "idle": "has not",
    }
    assert 0 <= found["slow"]["percent"] < 100
    assert found["slow"]["sources"]
    assert "taken/m.bin" in found["blocked"]["reason"]
    digest = link.split("/")[2]
    assert standings(network, digest[:19]).keys() == found.keys()

    table = network.z("--data-dir", "idle", "list", digest, "--peers")
    assert "verified" in table.out
    assert "taken/m.bin" in table.out
    assert table.err.startswith("2 of 5 peers have it; ")
    assert network.z("--data-dir", "idle", "list", "m.bi", "--peers").code == 3
    slow.interrupt()
    assert network.z("--data-dir", "slow", "remove", "m.bin").code == 0
    eventually(lambda: standings(network, "m.bin")["slow"]["state"] == "has not", "what was cancelled is not told of")
