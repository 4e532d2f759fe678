"""What a key says that a name means: receivers that believe it take nothing else, whoever offers what."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.outside.commands import Machine, Running, eventually

UNSIGNED = 7


class Signed(NamedTuple):
    """alice shares m.bin, signed by ``key``; bob believes that key alone, by his configuration; carol anybody."""

    machine: Machine
    key: str
    alice: Running

    def run(self, peer: str, *arguments: str) -> Any:
        return self.machine.z("--data-dir", peer, *arguments)

    def publish(self, peer: str, name: str, data: bytes, *options: str) -> str:
        """Have ``peer`` share ``data`` as ``name``; the link."""
        place = self.machine.place / f"{peer}-files"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        shared = self.run(peer, "share", f"{peer}-files/{name}", *options)
        assert shared.code == 0, shared.err
        return str(shared.out.strip())

    def listed(self, name: str) -> list[list[str]]:
        """Who has signed each content of that name, as carol sees it."""
        entries = self.run("carol", "list", name, "--json").json["entries"]
        return [entry["signed_by"] for entry in entries]


VERSION = os.urandom(300_000)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    machine = Machine(tmp_path_factory.mktemp("signed"))
    try:
        # A name is refused only once the tracker knows all peers, a lease after its start.
        (machine.config / "tracker.yaml").write_text("{mdns: false, heartbeat: 200ms, lease: 600ms}\n")
        machine.start_tracker()
        key = machine.z("signing-key", "release", "-q").out.strip()
        alice = machine.start_peer("alice")
        believer = {"signed_by": [key], "rollouts": str(machine.place / "rollouts"), "mdns": False}
        machine.start_peer("bob", config=believer)
        machine.start_peer("carol")
        world = Signed(machine, key, alice)
        world.publish("alice", "m.bin", VERSION, "--sign", "release")
        yield world
    finally:
        machine.close()


def test_list_shows_who_signed_and_get_takes_it(signed: Signed) -> None:
    assert signed.listed("m.bin") == [[signed.key]]
    got = signed.run("carol", "get", "m.bin", "--signed-by", signed.key, "-o", "carol-got")
    assert (got.code, got.out.strip().endswith(f"signed by {signed.key[:20]}")) == (0, True), got.err
    assert (signed.machine.place / "carol-got/m.bin").read_bytes() == VERSION


@pytest.mark.slow
def test_what_others_call_so_is_refused_by_whoever_believes_the_key(signed: Signed) -> None:
    signed.publish("carol", "m.bin", b"something else")
    other = signed.machine.z("signing-key", "mallory", "-q").out.strip()
    link = signed.publish("carol", "x.bin", b"what mallory says", "--sign", "mallory")
    got = signed.run("bob", "get", "m.bin", "-o", "bob-got")
    assert got.code == 0, got.err
    assert (signed.machine.place / "bob-got/m.bin").read_bytes() == VERSION
    for target in ("x.bin", link):
        refused = signed.run("bob", "get", target, "-o", "bob-got")
        assert (refused.code, "not signed by" in refused.err) == (UNSIGNED, True), refused.err
    assert signed.run("bob", "get", "x.bin", "--signed-by", other, "-o", "bob-got").code == 2
    assert signed.run("carol", "get", "x.bin", "--signed-by", signed.key, "-o", "carol-got").code == UNSIGNED
    assert signed.run("carol", "get", "x.bin", "--signed-by", "ed25519:short", "-o", "carol-got").code == 2


@pytest.mark.slow
def test_an_order_is_carried_out_only_once_it_is_signed(signed: Signed) -> None:
    signed.publish("alice", "o.bin", b"to be ordered")
    refused = signed.run("alice", "rollout", "alice-files/o.bin", "--to", "bob")
    assert (refused.code, "not signed by" in refused.out + refused.err) == (5, True), refused
    signed.publish("alice", "o.bin", b"to be ordered", "--sign", "release")
    done = signed.run("alice", "rollout", "alice-files/o.bin", "--to", "bob")
    assert done.code == 0, done.err
    assert (signed.machine.place / "rollouts/o.bin").read_bytes() == b"to be ordered"


@pytest.mark.slow
def test_signatures_survive_restarts_and_their_first_source_and_what_follows_never_goes_back(signed: Signed) -> None:
    machine = signed.machine
    first, second = os.urandom(100_000), os.urandom(100_000)
    signed.publish("alice", "v.bin", first, "--sign", "release")
    assert signed.run("carol", "get", "v.bin", "-o", "carol-got").code == 0
    following = machine.start("--data-dir", "bob", "follow", "v.bin", "--to", "bob-follows")
    place = machine.place / "bob-follows/v.bin"
    eventually(lambda: place.exists() and place.read_bytes() == first, "the first version is there")
    signed.publish("alice", "v.bin", second, "--sign", "release")
    eventually(lambda: place.read_bytes() == second, "the second version is there")
    (machine.place / "carol-got/v.bin").rename(machine.place / "carol-got/v.old")
    signed.publish("carol", "v.bin", first)  # announced as the newest, and it was signed, earlier
    following.interrupt()
    following = machine.start("--data-dir", "bob", "follow", "v.bin", "--to", "bob-follows")
    eventually(lambda: "until Ctrl-C" in following.err, "it follows")
    signed.alice.interrupt()
    again = machine.start_peer("alice")
    eventually(lambda: [signed.key] in signed.listed("v.bin"), "it is signed after a restart")
    again.interrupt()
    got = signed.run("carol", "get", "v.bin", "--signed-by", signed.key, "-o", "carol-last")
    assert got.code == 0, got.err
    assert hashlib.sha256((machine.place / "carol-last/v.bin").read_bytes()).digest() == hashlib.sha256(second).digest()
    assert place.read_bytes() == second
    following.interrupt()
    machine.start_peer("alice")


def test_a_seed_carries_its_signature_and_no_other(signed: Signed) -> None:
    place = signed.machine.place
    (place / "s.bin").write_bytes(b"with a seed")
    assert signed.run("alice", "share", "s.bin").code == 0
    made = signed.machine.z("seed", "s.bin", "--sign", "release", "-o", "s.seed", "--json")
    assert (made.code, made.json["signed_by"]) == (0, [signed.key]), made.err
    got = signed.run("bob", "get", "s.seed", "-o", "bob-got")
    assert got.code == 0, got.err
    assert signed.key in signed.machine.z("verify", "bob-got/s.bin", "s.seed").out
    (place / "t.seed").write_bytes((place / "s.seed").read_bytes().replace(b"s.bin", b"t.bin"))
    assert signed.run("bob", "get", "t.seed", "-o", "bob-got").code == 2
    text = signed.machine.z("seed", "s.bin", "--sign", "release", "--format", "text", "-o", "u.seed")
    assert (text.code, "no room for a signature" in text.err) == (2, True)


def test_a_signing_key_that_others_may_read_signs_nothing(signed: Signed) -> None:
    path = signed.machine.config / "signing/release.key"
    path.chmod(0o644)
    try:
        shared = signed.run("alice", "share", "alice-files/m.bin", "--sign", "release")
    finally:
        path.chmod(0o600)
    assert (shared.code, "chmod 600" in shared.err) == (2, True)
    assert signed.run("alice", "share", "alice-files/m.bin", "--sign", "absent").code == 3
