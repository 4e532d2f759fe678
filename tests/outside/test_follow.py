"""Following a name: what is announced under it is there, and what is newer takes its place, whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from tests.outside.commands import Machine, Running, eventually

LENGTH = 4 << 20
PACE_SECONDS = 2.0
SECONDS = 20.0


def publish(network: Machine, data: bytes) -> None:
    """Have ``data`` in the shared folder as m.bin, in one step."""
    fresh = network.place / "src/m.bin.tmp"
    fresh.write_bytes(data)
    fresh.replace(network.place / "src/m.bin")


@pytest.fixture
def publisher(network: Machine) -> Running:
    (network.place / "src").mkdir()
    config = {"share": [str(network.place / "src")], "scan_seconds": 0.2}
    return network.start_peer("s", config=config)


def follow(network: Machine, *arguments: str | Path) -> Running:
    running = network.start("follow", "m.bin", "--to", "out", *arguments, "--data-dir", "f")
    eventually(lambda: "until Ctrl-C" in running.err or running.process.poll() is not None, "it follows")
    return running


def becomes(path: Path, data: bytes) -> None:
    eventually(lambda: path.exists() and path.read_bytes() == data, f"{path.name} is as it should be")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("publisher")
def test_of_versions_that_come_every_two_seconds_the_last_is_there_though_follower_and_tracker_are_killed(
    network: Machine,
) -> None:
    """A reader finds one of them, whole, at any time."""
    path = network.place / "out/m.bin"
    common = os.urandom(LENGTH)
    versions = [os.urandom(LENGTH // 8) + common for _ in range(int(SECONDS / PACE_SECONDS))]
    digests = {hashlib.sha256(version).digest() for version in versions}
    running = follow(network, "--keep", "1", "--json")
    started, seen = time.monotonic(), set()
    for number, version in enumerate(versions):
        publish(network, version)
        while time.monotonic() < started + (number + 1) * PACE_SECONDS:
            if path.exists():
                seen.add(hashlib.sha256(path.read_bytes()).digest())
        if number == len(versions) // 4:
            children = psutil.Process(network.processes()[0].process.pid).children()
            (registrar,) = [child for child in children if "broker.registrar" in child.cmdline()]
            registrar.kill()
        if number == len(versions) // 2:
            lines = running.out.splitlines()
            running.kill()
            running = follow(network, "--keep", "1", "--json")
    becomes(path, versions[-1])
    assert seen <= digests
    assert len(seen) > len(versions) // 2
    result = running.interrupt()
    assert result.code == 0
    lines += result.out.splitlines()
    assert all(json.loads(line)["verified"] for line in lines)
    assert any(json.loads(line)["reused_bytes"] >= LENGTH * 0.9 for line in lines), "of the version before"
    kept = [other for other in path.parent.iterdir() if other != path and not other.name.startswith(".")]
    assert [hashlib.sha256(other.read_bytes()).digest() in digests for other in kept] == [True]


@pytest.mark.slow
@pytest.mark.usefixtures("publisher")
def test_what_somebody_put_there_is_replaced_only_by_force(network: Machine) -> None:
    path = network.place / "out/m.bin"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    publish(network, b"first")
    running = follow(network)
    eventually(lambda: f"{path} exists with other content; use --force to replace it" in running.err, "it says so")
    assert running.interrupt().code == 0
    assert path.read_bytes() == b"mine"
    running = follow(network, "--force")
    becomes(path, b"first")
    assert running.interrupt().code == 0
    # What was fetched is replaced by what is newer, but not after somebody has changed it.
    running = follow(network)
    publish(network, b"second")
    becomes(path, b"second")
    path.write_bytes(b"changed here")
    publish(network, b"third!")
    eventually(lambda: "exists with other content" in running.err, "it says so")
    assert path.read_bytes() == b"changed here"
    path.rename(path.with_name("mine"))
    becomes(path, b"third!")


def test_a_peer_follows_what_its_configuration_says_and_a_tree_is_replaced_as_a_whole(network: Machine) -> None:
    source, path = network.place / "src/t", network.place / "out/t"
    path.parent.mkdir()
    for number in (1, 2):
        made = network.place / f"src/.t{number}"
        (made / "sub").mkdir(parents=True)
        (made / f"of {number}").write_text(str(number))
        (made / "sub/x").write_text(str(number))
    config = {"share": [str(source.parent)], "scan_seconds": 0.2}
    network.start_peer("s", config=config)
    following = {"follow": [{"pattern": "t*", "to": str(path.parent), "keep": 1}]}
    network.start_peer("f", config={**following, "share": [str(path.parent)], "scan_seconds": 0.2})
    (network.place / "src/.t1").rename(source)
    eventually((path / "of 1").exists, "the first is there")
    source.rename(network.place / "src/.gone")
    (network.place / "src/.t2").rename(source)
    eventually((path / "of 2").exists, "the second is there")
    assert sorted(other.name for other in path.iterdir()) == ["of 2", "sub"]
    assert (path / "sub/x").read_text() == "2"
    (kept,) = [other for other in path.parent.iterdir() if other.name.startswith("t.")]
    assert (kept / "sub/x").read_text() == "1"
    # The old one is put back: that is newer.
    source.rename(network.place / "src/.t2")
    (network.place / "src/.gone").rename(source)
    eventually((path / "of 1").exists, "the first is there again")
    listed = network.z("--data-dir", "f", "list", "--json").json["entries"]
    assert {entry["name"] for entry in listed} == {"t"}, "what is kept beside it is not announced"
