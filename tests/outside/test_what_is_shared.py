"""What becomes of shared content when its files are touched, moved, changed, added to or damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.outside.commands import Machine, eventually

SIZE = 8 * 2**20
QUICK = {"scan_seconds": 0.2}


def fill(path: Path, byte: bytes = b"x", size: int = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(byte * size)
    return path


def shared(machine: Machine, name: str, path: str) -> dict[str, Any]:
    """What ``status`` says of what the peer ``name`` shares at ``path``; empty when it shares nothing there."""
    items = machine.status(name).get("shared", [])
    return next(
        (item for item in items if item["path"] == str(machine.place / path) and item["state"] != "earlier"), {}
    )


def state_becomes(machine: Machine, name: str, path: str, state: str) -> dict[str, Any]:
    return eventually(  # type: ignore[no-any-return]
        lambda: (item := shared(machine, name, path)) and item["state"] == state and item, f"{path} is {state!r}"
    )


def listed(machine: Machine, name: str) -> list[str]:
    """The names that the tracker lists, as the peer ``name`` sees it."""
    return [entry["name"] for entry in machine.z("list", "--json", "--data-dir", name).json["entries"]]


@pytest.mark.slow
def test_shared_items_outlive_replaced_files_restarts_and_disks_that_are_away(network: Machine) -> None:
    place = network.place
    one, tree = fill(place / "i.bin"), place / "disk/t"
    fill(tree / "a", b"a")
    peer = network.start_peer("s", config=QUICK)
    assert network.z("share", "i.bin", "disk/t", "--data-dir", "s").code == 0
    before = shared(network, "s", "i.bin")
    assert before["state"] == ""
    # The peer is down while the file is replaced by a copy and the disk goes away.
    peer.interrupt()
    fill(place / "n").replace(one)
    (place / "disk").rename(place / "unmounted")
    (place / "disk").mkdir()
    peer = network.start_peer("s", config=QUICK)
    gone = state_becomes(network, "s", "disk/t", "missing")
    assert gone["since"] > 0
    eventually(lambda: listed(network, "s") == ["i.bin"], "what is missing is not announced")
    eventually(lambda: "being hashed" not in shared(network, "s", "i.bin")["detail"], "i.bin was looked at")
    assert shared(network, "s", "i.bin")["digest"] == before["digest"]
    assert "missing  since" in network.z("status", "--data-dir", "s").out
    (place / "disk").rmdir()
    (place / "unmounted").rename(place / "disk")
    state_becomes(network, "s", "disk/t", "")
    # And while it runs.
    os.utime(one)
    got = network.z("get", "i.bin", "t", "-o", "o", "--data-dir", "g")
    assert got.code == 0, got.err
    assert (place / "o/i.bin").read_bytes() == one.read_bytes()
    fill(one, b"y")
    eventually(lambda: shared(network, "s", "i.bin")["digest"] != before["digest"], "other bytes are new content")
    assert "withdrawing" not in peer.err


@pytest.mark.slow
def test_a_moved_data_directory_serves_what_it_did_and_mends_its_seeds(network: Machine) -> None:
    (network.place / "a.bin").write_bytes(b"a" * 1_000_000)
    (network.place / "b.bin").write_bytes(b"b" * 1_000_000)
    peer = network.start_peer("s")
    shared = network.z("share", "a.bin", "b.bin", "--data-dir", "s")
    assert (shared.code, peer.interrupt().code) == (0, 0)
    (network.place / "s").rename(network.place / "moved")
    lost, spoilt = sorted(network.place.glob("moved/seeds/*.seed"))
    lost.unlink()
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    network.start_peer("moved")
    got = network.z("get", *shared.out.split(), "-o", "o", "--data-dir", "b")
    assert got.code == 0, got.err


@pytest.mark.slow
def test_a_fetch_goes_on_while_a_file_is_added_to_the_tree(network: Machine) -> None:
    place = network.place
    fill(place / "t/a", b"a")
    fill(place / "t/b", b"b")
    network.start_peer("s", config={**QUICK, "upload_rate": "4 MiB/s"})
    assert network.z("share", "t", "--data-dir", "s").code == 0
    before = shared(network, "s", "t")["digest"]
    getting = network.start("get", before, "-o", "o", "--data-dir", "g")
    eventually(lambda: shared(network, "s", "t")["sent_bytes"] > 0, "it is being fetched")
    fill(place / "t/c", b"c", 10)
    os.utime(place / "t/a")
    eventually(lambda: shared(network, "s", "t")["digest"] != before, "the new state is shared")
    assert getting.process.poll() is None, "it was to take longer"
    states = {item["digest"]: item["state"] for item in network.status("s")["shared"]}
    assert states[before] == "earlier"
    result = getting.wait()
    assert result.code == 0, result.err
    assert sorted(path.name for path in (place / "o/t").iterdir()) == ["a", "b"]
    eventually(lambda: len(network.status("s")["shared"]) == 1, "nobody fetches the old one any more")


@pytest.mark.slow
def test_damage_is_found_by_who_fetches_it_told_and_mended(network: Machine) -> None:
    place = network.place
    fill(place / "m.bin")
    network.start_peer("s", config=QUICK)
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    keep = network.start("get", "m.bin", "-o", "k", "--data-dir", "k", "--keep-serving")
    eventually(lambda: "verified" in keep.out, "a second copy")
    again = network.z("get", "m.bin", "-o", "k", "--data-dir", "k")
    assert again.code == 0
    assert "already here" in again.out
    assert "verified" not in again.out
    link = shared(network, "s", "m.bin")["link"]
    spoil(place / "k/m.bin")
    mended = network.z("get", link, "--force", "-o", "k", "--data-dir", "k")
    assert mended.code == 0, mended.err
    assert (place / "k/m.bin").read_bytes() == (place / "m.bin").read_bytes()
    assert "verified" in mended.out


def spoil(path: Path) -> None:
    """Change three bytes in place and put the modification time back."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"???")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.slow
def test_a_foreground_share_says_what_went_and_ends_when_nothing_is_left(network: Machine) -> None:
    place = network.place
    fill(place / "a.bin")
    fill(place / "b.bin", b"b")
    config = place / "quick.yaml"
    config.write_text("scan_seconds: 0.2")
    share = network.start("share", "a.bin", "b.bin", "--data-dir", "s", "--config", str(config))
    eventually(lambda: share.out.count("zswarm://") == 2, "two links")
    (place / "a.bin").unlink()
    eventually(lambda: "a.bin any more: missing: it is not there" in share.err, "it says which went")
    jobs = {job["path"]: job["phase"] for job in network.status("s")["jobs"]}
    assert jobs[str(place / "a.bin")] == "withdrawn"
    assert network.z("remove", "./b.bin", "--data-dir", "s").code == 0
    result = share.wait()
    assert result.code != 0
    assert "nothing is left to serve" in result.err


@pytest.mark.slow
def test_what_is_being_hashed_can_be_removed(network: Machine) -> None:
    place = network.place
    with (place / "long.bin").open("wb") as file:
        file.truncate(300 * 2**30)
    fill(place / "short.bin")
    network.start_peer("s")
    network.start("share", "long.bin", "--data-dir", "s")
    eventually(lambda: network.status("s")["jobs"], "it is being hashed")
    short = network.start("share", "short.bin", "--data-dir", "s")
    eventually(lambda: len(network.status("s")["jobs"]) == 2, "the other waits")
    assert network.status("s")["jobs"][1]["detail"] == "waiting for long.bin to be hashed"
    assert network.z("remove", "long.bin", "--data-dir", "s").code == 0
    assert short.wait().code == 0
    assert network.status("s")["jobs"][0]["code"] == "cancelled"
