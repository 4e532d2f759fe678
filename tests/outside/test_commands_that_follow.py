"""What a command leaves behind, and what the next one on the same data directory makes of it; and two at a time."""

from __future__ import annotations

import json
import signal
import sqlite3
from typing import Any

import pytest

from tests.outside.commands import Machine, Running, eventually

LENGTH = 12 << 20
SLOW = 3 << 20
"""Bytes a second of a download that a test comes in time to disturb."""


def seed(network: Machine) -> str:
    """Have m.bin shared; its link."""
    (network.place / "m.bin").write_bytes(b"precious" * (LENGTH // 8))
    (network.place / "slow.yaml").write_text(json.dumps({"download_rate": SLOW}))
    return link_of(network.start("share", "m.bin", "--data-dir", "s"))


def link_of(share: Running) -> str:
    eventually(lambda: share.out.endswith("\n"), "a link")
    return share.out.strip()


def slow_get(network: Machine, *arguments: str) -> Running:
    """A download that has begun."""
    get = network.start("get", *arguments, "--config", "slow.yaml", "--data-dir", "b")
    eventually(lambda: "downloading" in get.err, "it downloads")
    return get


def job(status: dict[str, Any], phase: str) -> list[str]:
    return [job["path"] for job in status["jobs"] if job["phase"] == phase]


def stored(network: Machine) -> dict[str, Any]:
    result = network.z("status", "--json", "--data-dir", "b")
    assert result.code == 4, result.err
    assert "no peer runs on" in result.err
    return dict(result.json)


@pytest.mark.slow
def test_an_interrupted_download_is_taken_up_by_nobody_who_was_not_asked_for_it(network: Machine) -> None:
    link = seed(network)
    target = network.place / "o/m.bin"
    target.parent.mkdir()
    target.write_text("mine")
    partial = target.with_name(".m.bin.part")
    assert slow_get(network, link, "--force", "-o", "o").interrupt().code == 130
    assert job(stored(network), "interrupted") == [str(target)]

    (network.place / "other.bin").write_text("other")
    share = network.start("share", "other.bin", "--data-dir", "b")
    link_of(share)
    assert job(network.status("b"), "interrupted") == [str(target)]
    assert share.interrupt().code == 0

    peer = network.start_peer("b")
    failed = eventually(lambda: job(network.status("b"), "failed"), "the destination is not free any more")
    assert (failed, target.read_text()) == ([str(target)], "mine")
    assert "use --force to replace it" in network.status("b")["jobs"][-1]["detail"]
    assert peer.interrupt().code == 0
    assert partial.exists()
    assert job(stored(network), "interrupted") == [str(target)], "what is on disk is not forgotten"

    again = network.z("get", link, "--force", "-o", "o", "--data-dir", "b", "--json")
    assert again.code == 0, again.err
    assert again.json["results"][0]["resumed_bytes"] > 0
    assert target.stat().st_size == LENGTH


@pytest.mark.slow
def test_what_is_stored_is_listed_and_removed_without_a_peer(network: Machine) -> None:
    link = seed(network)
    assert network.z("status", "--data-dir", "b").code == 4
    assert not (network.place / "b").exists()
    assert slow_get(network, link, "-o", "o").interrupt().code == 130
    assert slow_get(network, link, "-o", "p").interrupt().code == 130
    found = stored(network)
    assert job(found, "interrupted") == [str(network.place / place / "m.bin") for place in "op"]
    assert "since been requested elsewhere" in found["jobs"][0]["detail"]
    assert network.z("remove", "nothing", "--data-dir", "b").code == 3
    removed = network.z("remove", "m.bin", "--data-dir", "b")
    assert (removed.code, list(network.place.glob("[op]/.*"))) == (0, []), removed.err
    assert stored(network)["jobs"] == []


@pytest.mark.slow
def test_a_command_shares_what_it_names_and_nothing_else(network: Machine) -> None:
    for name in ("one", "two"):
        (network.place / name).write_text(name)
        share = network.start("share", name, "--data-dir", "b")
        link_of(share)
        assert [item["name"] for item in network.status("b")["shared"]] == [name]
        listed = network.z("list", "--json", "--data-dir", "b").json["entries"]
        assert [entry["name"] for entry in listed] == [name]
        assert share.interrupt().code == 0
    assert [item["name"] for item in stored(network)["shared"]] == ["one", "two"]
    network.start_peer("b")
    assert [item["name"] for item in network.status("b")["shared"]] == ["one", "two"]


@pytest.mark.slow
def test_a_command_goes_on_when_the_one_whose_peer_it_used_has_ended(network: Machine) -> None:
    link = seed(network)
    (network.place / "other.bin").write_text("other")
    first = network.start("share", "other.bin", "--config", "slow.yaml", "--data-dir", "b")
    link_of(first)
    get = slow_get(network, link, "-o", "o")
    again = network.start("share", "other.bin", "--data-dir", "b")
    eventually(lambda: "serving until" in again.err, "it shares until it is told not to")
    first.process.send_signal(signal.SIGKILL)
    done = get.wait()
    assert done.code == 0, done.err
    assert (network.place / "o/m.bin").stat().st_size == LENGTH
    names = eventually(lambda: [item["name"] for item in network.status("b").get("shared", [])], "it shares on")
    assert "other.bin" in names
    assert again.interrupt().code == 0


@pytest.mark.slow
def test_the_same_content_under_two_names_is_got_by_one_command(network: Machine) -> None:
    for name in ("one.bin", "two.bin"):
        (network.place / name).write_bytes(b"same" * 100_000)
    share = network.start("share", "one.bin", "two.bin", "--data-dir", "s")
    eventually(lambda: share.out.count("\n") == 2, "two links")
    got = network.z("get", "one.bin", "two.bin", "-o", "o", "--data-dir", "b")
    assert got.code == 0, got.err
    assert sorted(path.name for path in (network.place / "o").iterdir()) == ["one.bin", "two.bin"]


def test_two_contents_for_one_path_are_refused_before_anything_starts(machine: Machine) -> None:
    links = []
    for place in ("one", "two"):
        (machine.place / place).mkdir()
        (machine.place / place / "m.bin").write_text(place)
        links.append(machine.z("seed", f"{place}/m.bin", "-o", f"{place}.seed", "--json").json["link"])
    for targets in (links, [links[0], "two.seed"], ["one.seed", "two.seed"]):
        refused = machine.z("get", *targets, "--force", "-o", "o", "--data-dir", "b")
        assert refused.code == 2
        assert all(target in refused.err for target in targets)
    assert not (machine.place / "o").exists()
    assert not (machine.place / "b").exists()


@pytest.mark.slow
def test_what_cannot_be_remembered_is_not_begun(network: Machine) -> None:
    link = seed(network)
    (network.place / "shared.bin").write_text("shared")
    network.start_peer("b")
    assert network.z("share", "shared.bin", "--data-dir", "b").code == 0
    library = sqlite3.connect(network.place / "b/library.db", isolation_level=None)
    library.execute("BEGIN IMMEDIATE")  # as on a full disk, nothing can be written there
    got = network.z("get", link, "-o", "o", "--data-dir", "b")
    assert got.code == 6, got.err
    assert "cannot be recorded, so it was not started" in got.err
    assert list((network.place / "o").iterdir()) == []
    removed = network.z("remove", "shared.bin", "--data-dir", "b")
    assert removed.code == 6, removed.err
    library.close()
    assert network.z("get", link, "-o", "o", "--data-dir", "b").code == 0
