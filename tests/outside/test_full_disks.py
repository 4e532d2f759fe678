"""Disks with no room: what is said, and what is not refused though it fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Result, eventually

LENGTH = 2 * 1024 * 1024


@pytest.fixture(autouse=True)
def may_mount(machine: Machine) -> None:
    if machine.run(["unshare", "-m", "mount", "-t", "tmpfs", "t", "/mnt"]).code:
        pytest.skip("no file systems can be mounted here")


def z_on(machine: Machine, mount: str, *arguments: str | Path) -> Result:
    """Run a command with a file system of its own at ``disk``, which goes with it; ``mount`` is shell."""
    (machine.place / "disk").mkdir(exist_ok=True)
    return machine.run(["unshare", "-m", "sh", "-ec", f'{mount}; exec "$@"', "sh", *machine.peer(*arguments)])


@pytest.mark.parametrize("free", [0, 4_096, 8_192, 40_960])
def test_a_full_data_directory_is_named_and_what_to_do(machine: Machine, free: int) -> None:
    fill = f"mount -t tmpfs -o size=1m t disk; head -c {1024 * 1024 - free} /dev/zero >disk/filler"
    found = z_on(machine, fill, "get", "x", "--timeout", "1s", "--data-dir", "disk/d", "--tracker", "tcp://127.0.0.1:9")
    assert found.code == 6, found.err
    assert "Errno" not in found.err
    assert "Traceback" not in found.err
    assert f"{machine.place}/disk/d" in found.err
    assert "the disk is full; free some space" in found.err


@pytest.mark.slow
def test_what_fits_is_not_refused(network: Machine) -> None:
    (network.place / "m.bin").write_bytes(os.urandom(LENGTH))
    share = network.start("share", "m.bin", "--data-dir", "s")
    eventually(lambda: "zswarm://" in share.out, "a link")
    directory = 8 * 4096  # of a tmpfs itself
    for mount in ("mount -t ramfs r disk", f"mount -t tmpfs -o size={LENGTH + directory} t disk"):
        got = z_on(network, mount, "get", "m.bin", "-o", "disk", "--data-dir", "g")
        assert got.code == 0, got.err
    too_small = f"mount -t tmpfs -o size={LENGTH - 4096} t disk"
    got = z_on(network, too_small, "get", "m.bin", "-o", "disk", "--data-dir", "g")
    assert got.code == 6
    assert "not enough space" in got.err
