"""The same bytes under several names: each name is listed, can be got, and goes on its own."""

from __future__ import annotations

import os

import pytest

from tests.outside.commands import Machine

DATA = b"precious" * 100_000


def listed(network: Machine) -> list[str]:
    found = network.z("list", "--json", "--data-dir", "s").json
    return [entry["name"] for entry in found["entries"]]


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
