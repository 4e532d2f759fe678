"""Two trackers of a network with keys, each with its copy of the key folder: what is copied, and what is not."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.outside.commands import Machine, Running, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONTENT = b"confidential" * 100_000
FOLDERS = ("keys-a", "keys-b")


class KeyedPair:
    """Two trackers on ``machine``, each with one of `FOLDERS`, and peer ``s`` that has ``m.bin``."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.keys(FOLDERS[0], "init")
        self.invites = {
            name: str(self.keys(FOLDERS[0], "invite", "--tracker", "tcp://127.0.0.1:5550")["invite"]) for name in "sx"
        }
        self.copy(*FOLDERS)
        (machine.place / "tracker.yaml").write_text(json.dumps({"heartbeat": "300ms", "lease": "2s"}))
        self.endpoints = [machine.start_tracker("--config", "tracker.yaml", "--keys", folder) for folder in FOLDERS]
        self.trackers: list[Running] = machine.processes()[-2:]
        machine.tracker = ",".join(self.endpoints)
        self.start("s")
        (machine.place / "m.bin").write_bytes(CONTENT)
        self.ok("s", "share", "m.bin")

    def start(self, peer: str) -> None:
        self.machine.start_peer(peer, "--invite", self.invites[peer])

    def keys(self, folder: str, *arguments: str) -> Any:
        """What ``keys`` prints, of this copy of the folder."""
        result = self.machine.z("keys", *arguments, "--keys", folder, "--json")
        assert result.code == 0, result.err
        return result.json

    def members(self, folder: str) -> set[str]:
        return {one["name"] for one in self.keys(folder, "list")["members"]}

    def copy(self, source: str, target: str) -> None:
        """As ``rsync -a`` does: nothing is deleted there."""
        place = self.machine.place
        shutil.copytree(place / source, place / target, dirs_exist_ok=True)

    def ok(self, peer: str, *arguments: str) -> str:
        """What a command at ``peer`` prints, which does not fail."""
        result = self.machine.z("--data-dir", peer, *arguments)
        assert result.code == 0, result.err
        return result.out

    def seen_by_s(self) -> set[str]:
        return {one["name"] for one in json.loads(self.ok("s", "peers", "--json"))["peers"]}

    def problem_of(self, peer: str) -> str:
        return str(self.machine.status(peer).get("problem", ""))


@pytest.fixture
def pair(machine: Machine) -> KeyedPair:
    return KeyedPair(machine)


def test_one_invite_lets_a_peer_in_at_both_and_it_goes_on_without_one_of_them(pair: KeyedPair) -> None:
    pair.start("x")
    assert pair.members(FOLDERS[0]) == pair.members(FOLDERS[1]) == {"s", "x"}
    pair.trackers[0].kill()
    pair.ok("x", "get", "m.bin", "-o", "got")
    assert (pair.machine.place / "got/m.bin").read_bytes() == CONTENT
    eventually(lambda: pair.endpoints[0] in pair.problem_of("x"), "it says which one does not answer")
    assert pair.seen_by_s() == {"s", "x"}


def test_a_peer_that_was_let_in_while_one_was_away_needs_the_folder_copied_to_it(pair: KeyedPair) -> None:
    pair.trackers[0].kill()
    pair.start("x")
    assert (pair.members(FOLDERS[0]), pair.members(FOLDERS[1])) == ({"s"}, {"s", "x"})
    pair.copy(FOLDERS[1], FOLDERS[0])
    assert pair.members(FOLDERS[0]) == {"s", "x"}


def test_a_key_has_to_be_revoked_at_both(pair: KeyedPair) -> None:
    pair.start("x")
    pair.keys(FOLDERS[0], "revoke", "x")
    eventually(lambda: "revoked" in pair.problem_of("x"), "the one says so")
    assert pair.machine.status("x")["network"] == "joined", "at the other"
    pair.ok("x", "get", "m.bin", "-o", "first")
    pair.copy(*FOLDERS)
    assert "x" in pair.seen_by_s(), "a copy that deletes nothing takes nothing back"
    pair.keys(FOLDERS[1], "revoke", "x")
    eventually(lambda: pair.machine.status("x")["network"] != "joined", "it is out")
    eventually(lambda: pair.seen_by_s() == {"s"}, "it is seen no more")
    again = pair.machine.z("--data-dir", "x", "get", "m.bin", "-o", "second", "--timeout", "1500ms")
    assert again.code != 0
    assert not (pair.machine.place / "second/m.bin").exists()
