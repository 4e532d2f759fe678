"""The same bytes under several names: each name is listed, can be got, and goes on its own."""

from __future__ import annotations

import os
import signal
from typing import Any

import psutil
import pytest

from tests.outside.commands import Machine, eventually

DATA = b"precious" * 100_000


def entries(machine: Machine, name: str) -> list[dict[str, Any]]:
    """What the network lists, as the peer ``name`` is told; nothing while the tracker is being restarted."""
    found = machine.z("list", "--json", "--data-dir", name)
    assert found.code in (0, 4), found.err
    return list(found.json["entries"]) if found.code == 0 else []


def listed(network: Machine) -> list[str]:
    return [entry["name"] for entry in entries(network, "s")]


@pytest.mark.slow
def test_every_name_of_the_same_bytes_is_listed_and_can_be_got(network: Machine) -> None:
    place = network.place
    (place / "tree").mkdir()
    for path in ("one.bin", "tree/within.bin"):
        (place / path).write_bytes(DATA)
    os.link(place / "one.bin", place / "two.bin")
    network.start_peer("s")
    shared = network.z("share", "one.bin", "two.bin", "tree", "--data-dir", "s", "--json").json["results"]
    links = {result["name"]: result["link"] for result in shared}
    assert listed(network) == ["one.bin", "tree", "two.bin"]
    assert network.z("remove", "one.bin", "--data-dir", "s").code == 0
    assert listed(network) == ["tree", "two.bin"]

    network.start_peer("g")
    for target, path in ((links["one.bin"], "one.bin"), ("two.bin", "two.bin"), ("tree", "tree/within.bin")):
        got = network.z("get", target, "-o", "o", "--data-dir", "g")
        assert got.code == 0, got.err
        assert (place / "o" / path).read_bytes() == DATA


def edit(machine: Machine, name: str, path: str, data: bytes) -> None:
    """Change what the peer ``name`` serves at ``path``, and wait until the network lists it."""
    (machine.place / path).write_bytes(data)

    def listed_anew() -> bool:
        found = entries(machine, name)
        return bool(found) and found[0]["length"] == len(data)

    eventually(listed_anew, f"{path} is announced as what it is now")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_name_that_several_contents_have_means_the_newest_also_after_the_tracker_was_killed(
    network: Machine,
) -> None:
    place = network.place
    (place / "m.bin").write_bytes(DATA)
    quick = {"scan_seconds": 0.2}
    network.start_peer("s", config=quick)
    network.start_peer("g", config=quick)
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "g").code == 0
    # A copy that is served is edited: two contents have the name, and the edit is the newer one.
    edit(network, "g", "o/m.bin", b"edited" + DATA)
    for attempt in "12":
        got = network.z("get", "m.bin", "-o", f"p{attempt}", "--data-dir", f"c{attempt}", "--json")
        assert got.code == 0, got.err
        assert (place / f"p{attempt}/m.bin").read_bytes() == b"edited" + DATA
        assert "m.bin: 2 contents have this name; taking the newest, blake3:" in got.err
        old = got.json["results"][0]["contents"][1]["digest"]
        assert f"for another one get its digest: {old[:19]} (announced " in got.err
        if attempt == "1":
            # Those that answer too: nothing that is listed from here on was known before.
            for process in psutil.Process(network.processes()[0].process.pid).children():
                process.kill()
            eventually(lambda: listed(network) == ["m.bin", "m.bin"], "both have joined again")
    assert network.z("get", old[:19], "-o", "q", "--data-dir", "c3").code == 0
    assert (place / "q/m.bin").read_bytes() == DATA
    # What is put back is announced anew.
    edit(network, "s", "m.bin", b"newest" + DATA + b"!")
    edit(network, "g", "o/m.bin", DATA)
    got = network.z("get", "m.bin", "-o", "r", "--data-dir", "c4")
    assert got.code == 0, got.err
    assert (place / "r/m.bin").read_bytes() == DATA


@pytest.mark.slow
def test_after_the_tracker_was_killed_a_name_waits_for_the_peer_that_has_the_newest(network: Machine) -> None:
    (network.place / "m.bin").write_bytes(DATA)
    quick = {"scan_seconds": 0.2}
    network.start_peer("s", config=quick)
    late = network.start_peer("g", config=quick)
    network.start_peer("c")
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "g").code == 0
    edit(network, "g", "o/m.bin", b"edited" + DATA)
    os.killpg(late.process.pid, signal.SIGSTOP)
    try:
        for child in psutil.Process(network.processes()[0].process.pid).children():
            child.kill()
        eventually(lambda: listed(network) == ["m.bin"], "only the old one is listed")
        got = network.start("get", "m.bin", "-o", "p", "--data-dir", "c")
        eventually(lambda: "may not list the newest" in got.err, "it says that it waits")
    finally:
        os.killpg(late.process.pid, signal.SIGCONT)
    assert got.wait().code == 0, got.err
    assert (network.place / "p/m.bin").read_bytes() == b"edited" + DATA
