"""What everybody does first."""

from __future__ import annotations

from tests.outside.commands import Machine, eventually


def test_a_file_is_shared_and_got_by_name(network: Machine) -> None:
    (network.place / "m.bin").write_bytes(b"precious" * 100_000)
    share = network.start("share", "m.bin", "--data-dir", "s")
    eventually(lambda: "zswarm://" in share.out, "a link")
    got = network.z("get", "m.bin", "-o", "o", "--data-dir", "g")
    assert got.code == 0, got.err
    assert "note:" not in share.err
    assert "verified" in got.out
    assert (network.place / "o/m.bin").read_bytes() == b"precious" * 100_000
    assert share.interrupt().code == 0
