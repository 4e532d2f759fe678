"""Two trackers: no command fails, and nothing is lost, when one is killed, hangs, or comes back knowing nobody."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Running, eventually

pytestmark = pytest.mark.slow

CONTENT = b"precious" * 100_000
PORTS_COUNT = 3


def free_ports() -> int:
    """The first of three ports that nobody uses, below those that outgoing connections are given."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for number in range(port, port + PORTS_COUNT):
                held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


class Pair:
    """Two trackers on ``machine``, peer ``s`` that has ``m.bin``, and peer ``t`` that accepts orders."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        (machine.place / "tracker.yaml").write_text(json.dumps({"heartbeat": "300ms", "lease": "2s"}))
        self.endpoints = [f"tcp://127.0.0.1:{free_ports()}" for _ in range(2)]
        self.trackers = [self.start(number) for number in range(2)]
        machine.tracker = ",".join(self.endpoints)
        (machine.place / "m.bin").write_bytes(CONTENT)
        machine.start_peer("s")
        machine.start_peer("t", config={"rollouts": str(machine.place / "t.d")})
        self.ok("s", "share", "m.bin")

    def start(self, number: int) -> Running:
        self.machine.start_tracker("--config", "tracker.yaml", listen=self.endpoints[number])
        return self.machine.processes()[-1]

    def ok(self, peer: str, *arguments: str) -> tuple[str, str]:
        """What a command at ``peer`` prints, which does not fail."""
        result = self.machine.z("--data-dir", peer, *arguments)
        assert result.code == 0, result.err
        return result.out, result.err

    def use(self, name: str) -> list[str]:
        """All that people do, with new content ``name``; what they are warned of."""
        place = self.machine.place
        (place / name).write_bytes(name.encode() + CONTENT)
        listed, warned = self.ok("s", "list")
        assert "m.bin" in listed
        self.ok("s", "share", name)
        known = self.ok("t", "list", "--json")[0]
        assert {entry["name"] for entry in json.loads(known)["entries"]} >= {"m.bin", name}
        assert {one["name"] for one in json.loads(self.ok("t", "peers", "--json")[0])["peers"]} == {"s", "t"}
        out, err = self.ok("s", "rollout", name)
        assert out.startswith("1 of 1 have it, verified")
        self.ok(f"new-{name}", "get", name, "-o", f"got-{name}")
        for copy in (place / "t.d" / name, place / f"got-{name}"):
            assert _file(copy, name).read_bytes() == name.encode() + CONTENT
        return [warned, err]


def _file(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


@pytest.fixture
def pair(machine: Machine) -> Pair:
    return Pair(machine)


def kill(pair: Pair, number: int) -> Callable[[], object]:
    pair.trackers[number].kill()
    return lambda: pair.start(number)


def hang(pair: Pair, number: int) -> Callable[[], object]:
    group = pair.trackers[number].process.pid
    os.killpg(group, signal.SIGSTOP)
    return lambda: os.killpg(group, signal.SIGCONT)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("strike", [kill, hang])
def test_all_goes_on_without_one_which_knows_all_again_when_it_is_back(
    pair: Pair, strike: Callable[[Pair, int], Callable[[], object]], number: int
) -> None:
    back = strike(pair, number)
    warned = pair.use("one.bin")
    silent, other = pair.endpoints[number], pair.endpoints[1 - number]
    told = f"tracker {silent} does not answer; still trying; asking {other}"
    eventually(lambda: told in pair.ok("s", "status")[0], "status says so")
    eventually(lambda: told in pair.ok("s", "list")[1], "list says so")
    assert "failed" not in "".join(warned)
    back()
    eventually(lambda: "does not answer" not in pair.ok("s", "list")[1], "it answers again")
    pair.use("two.bin")
    alone = Machine(pair.machine.place / "alone")
    try:
        alone.tracker = silent
        alone.start_peer("a")
        entries = eventually(lambda: _settled(alone), "it is settled")
        assert {entry["name"]: entry["have"] for entry in entries} == {"m.bin": 1, "one.bin": 2, "two.bin": 2}
    finally:
        alone.close()


def _settled(machine: Machine) -> list[dict[str, object]]:
    found = machine.z("--data-dir", "a", "list", "--json").json
    return [] if found["settling"] else list(found["entries"])


@pytest.mark.timeout(180)
def test_one_that_comes_back_knowing_nobody_makes_nothing_disappear(pair: Pair) -> None:
    for name in ("one.bin", "two.bin"):
        pair.trackers[0].kill()
        pair.trackers[0] = pair.start(0)
        pair.use(name)


@pytest.mark.timeout(120)
def test_what_is_not_found_while_one_of_them_is_silent_may_be_known_to_that_one(pair: Pair) -> None:
    back = hang(pair, 1)
    silent, other = pair.endpoints[1], pair.endpoints[0]
    for peer in ("t", "new"):
        got = pair.machine.z("--data-dir", peer, "get", "nothing.bin")
        assert got.code == 3
        told = f"nobody in the network has nothing.bin; tracker {silent} does not answer; still trying; asking {other}"
        assert told in got.err
    back()
    eventually(
        lambda: "does not answer" not in pair.machine.z("--data-dir", "t", "get", "nothing.bin").err, "it is back"
    )


@pytest.mark.timeout(120)
def test_a_peer_that_reaches_only_one_of_them_is_seen_by_all_who_reach_that_one(pair: Pair) -> None:
    pair.machine.tracker = pair.endpoints[1]
    pair.machine.start_peer("half")
    pair.machine.tracker = ",".join(pair.endpoints)
    table = pair.ok("s", "peers")[0].splitlines()
    assert table[0].endswith("SEEN BY ONLY")
    seen = {line.split()[0]: pair.endpoints[1] in line for line in table[1:]}
    assert seen == {"half": True, "s": False, "t": False}
    found = json.loads(pair.ok("s", "peers", "--json")[0])
    (half,) = [one["peer"] for one in found["peers"] if one["name"] == "half"]
    assert found["seen_by"] == {half: [pair.endpoints[1]]}
    (pair.machine.place / "half.bin").write_bytes(CONTENT)
    pair.ok("half", "share", "half.bin")
    pair.ok("t", "get", "half.bin", "-o", "got-half")


def test_naming_one_twice_or_too_many_is_refused(machine: Machine) -> None:
    twice = machine.z("--tracker", "tcp://a:5550", "--tracker", "tcp://a:5550", "status")
    assert (twice.code, "name each tracker once" in twice.err) == (2, True)
    many = machine.z("list", env={"ZSWARM_TRACKER": ",".join(f"tcp://a:{number}" for number in range(1, 10))})
    assert (many.code, "9 are named; at most 8 are possible" in many.err) == (2, True)


def test_one_tracker_by_two_names_is_told_from_an_identity_that_was_copied(network: Machine) -> None:
    port = network.tracker.rpartition(":")[2]
    network.tracker = f"tcp://127.0.0.1:{port},tcp://localhost:{port}"
    peer = network.start_peer("one")
    eventually(lambda: "may be another of them by a second name: name each once" in peer.err, "it says so")
