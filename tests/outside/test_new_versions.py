"""A new version of what a machine has already: only what is new in it is fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Running, eventually

LENGTH = 16 * 2**20
CHANGED = slice(5_000_000, 5_000_000 + LENGTH // 10)


@pytest.fixture
def versions() -> tuple[bytes, bytes]:
    """The second is the first but for a tenth of it, in one place."""
    old = os.urandom(LENGTH)
    new = bytearray(old)
    new[CHANGED] = os.urandom(LENGTH // 10)
    return old, bytes(new)


def shared(network: Machine, directory: str, data: bytes) -> Running:
    """A peer with ``data`` as ``m.bin``."""
    (network.place / directory).mkdir()
    (network.place / directory / "m.bin").write_bytes(data)
    share = network.start("share", f"{directory}/m.bin", "--data-dir", f"{directory}-data")
    eventually(lambda: "zswarm://" in share.out, "a link")
    return share


def got_first(network: Machine, old: bytes, new: bytes) -> tuple[Path, Running]:
    """Where the old version was got to, and who shares the new one."""
    share = shared(network, "s1", old)
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "g").code == 0
    assert share.interrupt().code == 0
    return network.place / "o/m.bin", shared(network, "s2", new)


@pytest.mark.parametrize(
    ("directory", "data_dir"),
    [
        pytest.param("elsewhere", "g", id="beside the old version", marks=pytest.mark.slow),
        pytest.param("o", "g", id="in its place"),
        pytest.param("o", "fresh", id="in the place of a file of which nothing is known", marks=pytest.mark.slow),
    ],
)
def test_of_a_new_version_only_the_new_tenth_is_fetched(
    network: Machine, versions: tuple[bytes, bytes], directory: str, data_dir: str
) -> None:
    old, new = versions
    old_file, _ = got_first(network, old, new)
    got = network.z("get", "m.bin", "-o", directory, "--force", "--data-dir", data_dir, "--json")
    assert got.code == 0, got.err
    (result,) = got.json["results"]
    assert result["verified"]
    assert result["received_bytes"] <= 0.11 * LENGTH
    assert result["reused_bytes"] >= 0.89 * LENGTH
    assert result["reused_from"] == [str(old_file)]
    assert (network.place / directory / "m.bin").read_bytes() == new
    if directory == "elsewhere":
        assert old_file.read_bytes() == old


@pytest.mark.slow
def test_a_person_is_told_how_much_was_reused_and_others_get_it(
    network: Machine, versions: tuple[bytes, bytes]
) -> None:
    old_file, share = got_first(network, *versions)
    link = share.out.strip()
    network.start_peer("g")
    got = network.z("get", link, "-o", "p", "--data-dir", "g")
    assert got.code == 0, got.err
    assert f"reused 14.4 MiB of 16.0 MiB from {old_file}, verified" in got.out
    (job,) = network.status("g")["jobs"]
    assert job["download"]["reused_bytes"] >= 0.89 * LENGTH
    assert "14.4 MiB from other content on this machine" in network.z("status", "--data-dir", "g").out
    share.interrupt()
    other = network.z("get", link, "-o", "q", "--data-dir", "newcomer")
    assert other.code == 0, other.err
    assert (network.place / "q/m.bin").read_bytes() == versions[1]


@pytest.mark.slow
def test_an_old_version_that_was_deleted_is_no_loss(network: Machine, versions: tuple[bytes, bytes]) -> None:
    old_file, _ = got_first(network, *versions)
    old_file.unlink()
    got = network.z("get", "m.bin", "-o", "p", "--data-dir", "g", "--json")
    assert got.code == 0, got.err
    assert got.json["results"][0]["reused_bytes"] == 0
    assert (network.place / "p/m.bin").read_bytes() == versions[1]
