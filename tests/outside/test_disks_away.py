"""Disks that fill up, become read-only or go away under a running peer: it says so, keeps all, and goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.outside.commands import Machine, Running, eventually

SIZE = 8 * 2**20
SLOWLY = {"download_rate": "1.5 MiB/s", "scan_seconds": 0.5}


class Disks:
    """A machine whose processes see mounts of their own; ``m.bin`` is shared there by a peer without trouble."""

    def __init__(self, place: Path) -> None:
        self._holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "infinity"])
        self._place = place
        place.mkdir()
        enter = ["nsenter", "-t", str(self._holder.pid), "-m"]  # a working directory would be that of the other mounts
        self.machine = Machine(place, [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(place)])
        self.content = os.urandom(SIZE)

    def start(self) -> None:
        eventually(lambda: self.sh("mount -t tmpfs t /mnt").code == 0, "mounts of its own", 5.0)
        self.machine.start_tracker()
        (self._place / "m.bin").write_bytes(self.content)
        self.machine.start_peer("s")
        assert self.machine.z("share", "m.bin", "--data-dir", "s").code == 0

    def sh(self, script: str) -> Any:
        return self.machine.run([*self.machine.prefix, "sh", "-ec", script])

    def mount(self, name: str) -> None:
        assert self.sh(f"mkdir {name}; mount -t tmpfs -o size=64m t {name}").code == 0

    def fill(self, name: str) -> None:
        self.sh(f"head -c 100m /dev/zero >{name}/filler")

    def seen(self, path: str) -> Path:
        """``path`` below the machine's place, as its processes see it."""
        return Path(f"/proc/{self._holder.pid}/root{self._place}/{path}")

    def close(self) -> None:
        self.machine.close()
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def disks(tmp_path: Path, machine: Machine) -> Iterator[Disks]:
    if machine.run(["unshare", "-m", "mount", "-t", "tmpfs", "t", "/mnt"]).code:
        pytest.skip("no file systems can be mounted here")
    made = Disks(tmp_path / "m")
    try:
        made.start()
        yield made
    finally:
        made.close()


def job(disks: Disks, name: str) -> dict[str, Any]:
    jobs = disks.machine.status(name).get("jobs") or [{"phase": "", "detail": "", "done_bytes": 0}]
    return dict(jobs[-1])


def begin(disks: Disks, data: str, to: str) -> Running:
    """Get ``m.bin`` with a peer on ``data``; some of it is there already."""
    disks.machine.start_peer(data, config=SLOWLY)
    getting = disks.machine.start("get", "m.bin", "-o", to, "--data-dir", data)
    eventually(lambda: job(disks, data)["done_bytes"] > SIZE // 8, "it has begun")
    return getting


def paused_because(disks: Disks, data: str, reason: str) -> int:
    """It waits, and says why; how many bytes of it are there."""
    found = eventually(lambda: (one := job(disks, data))["phase"] == "paused" and one, f"it waits: {reason}")
    report = found["download"] or {}
    assert reason in found["detail"] + report.get("detail", "")
    return int(found["done_bytes"])


def completes(disks: Disks, getting: Running, copy: str) -> None:
    result = getting.wait()
    assert result.code == 0, result.err
    assert disks.seen(copy).read_bytes() == disks.content


@pytest.mark.slow
def test_a_destination_that_is_full(disks: Disks) -> None:
    disks.mount("to")
    getting = begin(disks, "g", "to/o")
    disks.fill("to")
    assert paused_because(disks, "g", "the disk is full; free some space")
    disks.sh("rm to/filler")
    completes(disks, getting, "to/o/m.bin")


@pytest.mark.slow
def test_a_destination_that_goes_away_and_comes_back(disks: Disks) -> None:
    disks.mount("to")
    getting = begin(disks, "g", "to/o")
    assert disks.sh("mkdir /mnt/away; mount --move to /mnt/away").code == 0
    there = paused_because(disks, "g", "to/o is not there any more")
    assert disks.sh("mount --move /mnt/away to").code == 0
    completes(disks, getting, "to/o/m.bin")
    assert job(disks, "g")["download"]["received_bytes"] <= 2 * SIZE - there + 2**20, "what was there was kept"


@pytest.mark.slow
def test_a_destination_that_is_read_only_or_not_mounted_when_the_peer_starts_again(disks: Disks) -> None:
    disks.mount("to")
    getting = begin(disks, "g", "to/o")
    assert disks.machine.z("stop", "--data-dir", "g").code == 0
    getting.wait()
    assert disks.sh("mount -o remount,ro to").code == 0
    disks.machine.start_peer("g", config=SLOWLY)
    assert paused_because(disks, "g", "read-only") > 0
    assert disks.machine.z("stop", "--data-dir", "g").code == 0
    assert disks.sh("mount -o remount,rw to; mkdir /mnt/away; mount --move to /mnt/away").code == 0
    disks.machine.start_peer("g", config=SLOWLY)
    assert paused_because(disks, "g", "does not exist") > 0
    assert disks.sh("mount --move /mnt/away to").code == 0
    eventually(lambda: job(disks, "g")["phase"] == "done", "it goes on by itself")
    assert disks.seen("to/o/m.bin").read_bytes() == disks.content
    assert job(disks, "g")["download"]["resumed_bytes"] > 0


@pytest.mark.slow
def test_a_data_directory_that_is_full(disks: Disks) -> None:
    disks.mount("g")
    getting = begin(disks, "g", "o")
    disks.fill("g")
    assert paused_because(disks, "g", "journal.db: the disk is full; free some space")
    disks.sh("rm g/filler")
    completes(disks, getting, "o/m.bin")


@pytest.mark.slow
def test_a_share_is_refused_on_a_full_data_directory_and_remembered_when_there_is_room(disks: Disks) -> None:
    disks.mount("g")
    peer = disks.machine.start_peer("g", config={"scan_seconds": "1h"})
    disks.fill("g")
    shared = disks.machine.z("share", "m.bin", "--data-dir", "g")
    assert shared.code == 6
    assert "free some space" in shared.err
    disks.sh("rm g/filler")
    assert disks.machine.z("share", "m.bin", "--data-dir", "g").code == 0
    peer.interrupt()
    disks.machine.start_peer("g")
    assert [item["name"] for item in disks.machine.status("g")["shared"]] == ["m.bin"]


@pytest.mark.slow
def test_a_data_directory_that_goes_away_and_comes_back(disks: Disks) -> None:
    disks.mount("g")
    getting = begin(disks, "g", "o")
    assert disks.sh("mkdir /mnt/away; mount --move g /mnt/away").code == 0
    eventually(lambda: disks.seen("o/m.bin").exists(), "the download goes on")
    assert disks.sh("mount --move /mnt/away g; test -e g/library.db").code == 0
    completes(disks, getting, "o/m.bin")
    served = lambda: [one["state"] for one in disks.machine.status("g").get("shared", [])] == [""]  # noqa: E731
    eventually(served, "it is served again", 60.0)
