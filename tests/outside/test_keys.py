"""A network with keys: who has none, or one that was revoked, is told nothing and gets nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import zmq
from zmq.utils import z85

from tests.outside.commands import Machine, Running, eventually
from tests.outside.namespaces import network_of

CONTENT = b"confidential" * 100_000
HEARTBEAT_SECONDS = 5.0
LISTEN_SECONDS = 1.5
"""Longer than the roster is silent."""
TRY_SECONDS = "1500ms"


class Keyed(NamedTuple):
    """A network with keys on one machine: alice shares m.bin there."""

    machine: Machine
    alice: Running
    digest: str

    def keys(self, *arguments: str) -> Any:
        """What ``keys ARGUMENTS --json`` prints."""
        result = self.machine.z("keys", *arguments, "--keys", "keys", "--json")
        assert result.code == 0, result.err
        return result.json

    def invite(self, *options: str) -> str:
        return str(self.keys("invite", "--tracker", self.machine.tracker, *options)["invite"])


def start(machine: Machine, listen: str) -> Keyed:
    assert machine.z("keys", "init", "--keys", "keys", "-q").code == 0
    machine.start_tracker("--keys", "keys", listen=listen)
    keyed = Keyed(machine, None, "")  # type: ignore[arg-type]
    alice = machine.start_peer("alice", "--invite", keyed.invite())
    (machine.place / "m.bin").write_bytes(CONTENT)
    shared = machine.z("--data-dir", "alice", "share", "m.bin")
    assert shared.code == 0, shared.err
    return Keyed(machine, alice, shared.out.removeprefix("zswarm://").partition("/")[0])


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    machine = Machine(tmp_path_factory.mktemp("keyed"))
    try:
        yield start(machine, "tcp://127.0.0.1:0")
    finally:
        machine.close()


# --- peers -----------------------------------------------------------------------------------------------


def test_an_invited_peer_joins_gets_and_is_put_out(keyed: Keyed) -> None:
    machine = keyed.machine
    bob = machine.start_peer("bob", "--invite", keyed.invite())
    got = machine.z("--data-dir", "bob", "get", "m.bin", "-o", "first")
    assert (got.code, (machine.place / "first/m.bin").read_bytes()) == (0, CONTENT), got.err
    assert [one["name"] for one in keyed.keys("list")["members"]].count("bob") == 1
    keyed.keys("revoke", "bob")
    began = time.monotonic()
    eventually(lambda: machine.status("bob").get("network") != "joined", "bob is out")
    assert time.monotonic() - began < HEARTBEAT_SECONDS
    eventually(lambda: "revoked" in machine.status("bob").get("problem", ""), "bob is told why")
    names = [peer["name"] for peer in machine.z("--data-dir", "alice", "peers", "--json").json["peers"]]
    assert names == ["alice"]
    (machine.place / "first/m.bin").unlink()
    again = machine.z("--data-dir", "bob", "get", keyed.digest, "-o", "second", "--timeout", TRY_SECONDS)
    assert again.code == 4
    assert not (machine.place / "second/m.bin").exists()
    bob.interrupt()


@pytest.mark.slow
def test_a_command_with_an_invite_does_not_use_a_peer_of_another_network(keyed: Keyed, tmp_path: Path) -> None:
    """What is meant for members would be shared with everybody."""
    machine = Machine(tmp_path)
    try:
        machine.start_tracker()
        peer = machine.start_peer("data")
        (tmp_path / "secret.bin").write_bytes(CONTENT)
        invite = "--invite", keyed.invite()
        refused = machine.z(*invite, "--data-dir", "data", "share", "secret.bin")
        assert (refused.code, "stop it" in refused.err) == (2, True), refused.err
        assert machine.z("--data-dir", "data", "list", "--json").json["entries"] == []
        peer.interrupt()
        machine.tracker = ""
        got = machine.z(*invite, "--data-dir", "data", "get", "m.bin", "-o", "files")
        assert got.code == 0, got.err
    finally:
        machine.close()


@pytest.mark.slow
def test_nothing_more_is_taken_from_a_source_that_is_put_out(keyed: Keyed) -> None:
    machine = keyed.machine
    ivan = machine.start_peer("ivan", "--invite", keyed.invite())
    (machine.place / "ivan.bin").write_bytes(os.urandom(3_000_000))
    assert machine.z("--data-dir", "ivan", "share", "ivan.bin").code == 0
    assert machine.z("--data-dir", "ivan", "limit", "--up", "100KiB/s").code == 0
    judy = machine.start_peer("judy", "--invite", keyed.invite())
    get = machine.start("--data-dir", "judy", "get", "ivan.bin", "-o", "judy-files")
    eventually(lambda: machine.status("ivan").get("sent_bytes"), "it began")
    keyed.keys("revoke", "ivan")
    eventually(lambda: machine.status("ivan").get("network") != "joined", "ivan is out", HEARTBEAT_SECONDS)
    time.sleep(LISTEN_SECONDS)
    sent = machine.status("ivan")["sent_bytes"]
    time.sleep(LISTEN_SECONDS)
    assert machine.status("ivan")["sent_bytes"] == sent
    for running in (get, judy, ivan):
        running.interrupt()


def test_an_invite_for_one_lets_no_second_in(keyed: Keyed) -> None:
    line = keyed.invite()
    machine = keyed.machine
    first = machine.z("--data-dir", "carol", "--invite", line, "get", "m.bin", "-o", "carol-files")
    assert first.code == 0, first.err
    again = machine.z("--data-dir", "carol", "--invite", line, "get", "m.bin", "-o", "carol-files")
    assert again.code == 0, again.err
    other = f"{line[:-64]}{'0' * 64}"  # one that never was, of the same network: it is in already
    again = machine.z("--data-dir", "carol", "--invite", other, "get", "m.bin", "-o", "carol-files")
    assert again.code == 0, again.err
    second = machine.z("--data-dir", "dave", "--invite", line, "get", "m.bin", "-o", "dave-files")
    assert (second.code, "another has used it" in second.err) == (2, True)
    assert not (machine.place / "dave-files/m.bin").exists()


@pytest.mark.slow
def test_a_key_is_authorised_by_hand(keyed: Keyed) -> None:
    machine = keyed.machine
    config = machine.place / "erin.yaml"
    config.write_text(json.dumps({"tracker_key": keyed.keys("list")["tracker_key"], "mdns": False}))
    erin = "--config", "erin.yaml", "--data-dir", "erin"
    denied = machine.z(*erin, "get", "m.bin", "-o", "erin-files", "--timeout", TRY_SECONDS)
    assert (denied.code, "never authorised" in denied.err) == (4, True)
    key = machine.z(*erin, "keys", "show").out.strip()
    (machine.place / "keys/members" / f"{key}.key").touch()
    got = machine.z(*erin, "get", "m.bin", "-o", "erin-files")
    assert got.code == 0, got.err
    (machine.place / "erin-files/m.bin").unlink()
    again = machine.z(*erin[2:], "get", "m.bin", "-o", "erin-files")  # without the file that names the key
    assert again.code == 0, again.err


def test_without_a_key_a_peer_is_told_what_to_do(keyed: Keyed) -> None:
    plain = keyed.machine.z("--data-dir", "plain", "get", keyed.digest, "-o", "x", "--timeout", TRY_SECONDS)
    assert (plain.code, "ask for an invite" in plain.err) == (4, True)


@pytest.mark.slow
def test_a_peer_that_has_a_key_does_not_speak_plain(keyed: Keyed, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    try:
        endpoint = machine.start_tracker()
        line = keyed.invite()
        assert keyed.machine.z("--data-dir", "frank", "--invite", line, "get", "m.bin", "-o", "frank-files").code == 0
        plain = keyed.machine.run(
            [*keyed.machine.peer()[:3], "--tracker", endpoint, "--data-dir", "frank", "get", "x", "--timeout", "2s"]
        )
        assert (plain.code, "it has no keys" in plain.err) == (4, True)
    finally:
        machine.close()


@pytest.mark.parametrize("path", ["keys/tracker.secret", "keys"])
def test_a_tracker_whose_secret_others_may_read_does_not_start(keyed: Keyed, path: str) -> None:
    machine = keyed.machine
    place, mode = machine.place / path, (machine.place / path).stat().st_mode
    place.chmod(mode | 0o044)
    command = machine.start_command([*machine.peer()[:2], "broker", "--listen", "tcp://127.0.0.1:0", "--keys", "keys"])
    ended = command.wait()
    place.chmod(mode)
    assert (ended.code, "chmod" in ended.err) == (2, True)


def test_nor_does_a_peer(keyed: Keyed) -> None:
    machine = keyed.machine
    assert machine.z("keys", "show", "--data-dir", "gina").code == 0
    (machine.place / "gina/identity.json").chmod(0o644)
    refused = machine.z("--data-dir", "gina", "--invite", keyed.invite(), "get", "m.bin", "-o", "gina-files")
    assert (refused.code, "chmod 600" in refused.err) == (2, True)


# --- strangers -------------------------------------------------------------------------------------------


class Caller:
    """One connection with a key (None: without) that says something, and counts what it hears."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, server: str, secret: bytes | None, say: Any) -> None:
        self.heard = 0
        self.socket = context.socket(zmq.SUB if say is None else zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        if secret is not None:
            self.socket.set(zmq.CURVE_SERVERKEY, bytes.fromhex(server))
            self.socket.set(zmq.CURVE_PUBLICKEY, zmq.curve_public(secret))
            self.socket.set(zmq.CURVE_SECRETKEY, secret)
        self.socket.connect(endpoint)
        if say is None:
            self.socket.subscribe(b"")
        else:
            self.socket.send(msgspec.msgpack.encode({"v": 1, **say}))

    def listen(self) -> None:
        while self.socket.poll(0):
            self.socket.recv_multipart()
            self.heard += 1


def heard(keyed: Keyed, secret: bytes | None) -> dict[str, int]:
    """What comes of the tracker's and alice's sockets to whoever has this key and asks."""
    machine = keyed.machine
    ready = json.loads((machine.place / "ready-0.json").read_text())
    status = machine.status("alice")
    piece_server = next(p["endpoint"] for p in machine.z("--data-dir", "alice", "peers", "--json").json["peers"])
    own = machine.z("--data-dir", "alice", "keys", "show", "--json").json
    assert status["peer"] == own["peer"]
    tracker = keyed.keys("list")["tracker_key"]
    member = {"id": 1, "peer": own["peer"], "token": bytes(32), "version": 0, "load": 0}
    asked = {
        "registrar": (ready["registrar"], tracker, {"t": "Heartbeat", **member}),
        "lookup": (ready["lookups"][0], tracker, {"t": "GetPeerList", "id": 1}),
        "roster": (ready["roster"], tracker, None),
        "piece server": (piece_server, own["key"], {"t": "Test", "session": 1, "digest": keyed.digest}),
    }
    context = zmq.Context()
    callers = {who: Caller(context, at, key, secret, say) for who, (at, key, say) in asked.items()}
    deadline = time.monotonic() + LISTEN_SECONDS
    while time.monotonic() < deadline:
        for caller in callers.values():
            caller.listen()
        time.sleep(0.02)
    for caller in callers.values():
        caller.socket.close(0)
    context.term()
    return {who: caller.heard for who, caller in callers.items()}


@pytest.mark.slow
def test_a_stranger_hears_nothing_from_anybody(keyed: Keyed) -> None:
    nothing = {"registrar": 0, "lookup": 0, "roster": 0, "piece server": 0}
    assert heard(keyed, zmq.curve_keypair()[1]) == nothing
    assert heard(keyed, None) == nothing
    invite = keyed.invite().rpartition("/")[2]
    only_registrar = heard(keyed, z85.encode(bytes.fromhex(invite)))
    assert only_registrar == {**nothing, "registrar": 1}  # that an invite is for nothing else


def test_a_member_hears_from_all_of_them(keyed: Keyed) -> None:
    """Or the test before would prove nothing."""
    secret = json.loads((keyed.machine.place / "alice/identity.json").read_text())["secret"]
    assert all(heard(keyed, z85.encode(bytes.fromhex(secret))).values())


# --- machines --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_user_on_another_machine_joins_and_is_put_out_in_the_middle_of_a_download(tmp_path: Path) -> None:
    with network_of(tmp_path, 2) as network:
        first, second = network.machines
        keyed = start(first, "tcp://*:5550")
        line = str(keyed.keys("invite")["invite"])  # with this machine's address
        assert line.startswith(f"zswarm-invite://{network.ipv4(0)}:5550/")
        assert first.z("--data-dir", "alice", "limit", "--up", "100KiB/s").code == 0
        second.tracker = ""
        mallory = second.start_peer("mallory", "--invite", line)
        get = second.start("--data-dir", "mallory", "get", "m.bin", "-o", "files")
        eventually(lambda: first.status("alice").get("sent_bytes"), "it began")
        began = time.monotonic()
        keyed.keys("revoke", "mallory")
        eventually(lambda: second.status("mallory").get("network") != "joined", "out", HEARTBEAT_SECONDS)
        time.sleep(max(0.0, began + HEARTBEAT_SECONDS - time.monotonic()))
        sent = first.status("alice")["sent_bytes"]
        time.sleep(LISTEN_SECONDS)
        assert first.status("alice")["sent_bytes"] == sent
        assert "revoked" in second.status("mallory")["problem"]
        assert not (second.place / "files/m.bin").exists()
        get.interrupt()
        mallory.interrupt()
        assert "without keys" not in keyed.alice.err
