"""Who is told which address: a tracker with the first peer beside it on one machine, the others elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import zmq

from tests.outside.commands import Machine, Running, eventually
from tests.outside.namespaces import Network, network_of

CONTENT = b"precious" * 100_000


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three machines: on the first a tracker with all defaults, and a peer of the default tracker that shares."""
    with network_of(tmp_path_factory.mktemp("lan"), 3) as network:
        first = network.machines[0]
        first.start_tracker(listen="tcp://*:5550")
        first.tracker = ""
        (first.place / "m.bin").write_bytes(CONTENT)
        share = first.start("share", "m.bin")
        eventually(lambda: "zswarm://" in share.out, "a link")
        for machine, tracker in zip(network.machines[1:], (network.ipv4(0), f"[{network.ipv6(0)}]"), strict=True):
            machine.tracker = f"tcp://{tracker}:5550"
        yield network


@pytest.mark.slow
def test_what_is_beside_the_tracker_is_got_by_name_from_elsewhere(lan: Network) -> None:
    """And each is shown the addresses that it can dial."""
    first, *others = lan.machines
    gets = [machine.start("get", "m.bin", "-o", "o", "--keep-serving") for machine in others]
    for machine, get in zip(others, gets, strict=True):
        copy = machine.place / "o/m.bin"
        eventually(partial(arrived, copy, get), "a copy")
        assert copy.read_bytes() == CONTENT
    assert hosts_shown(first) == {"tcp://127.0.0.1", f"tcp://{lan.ipv4(1)}", f"tcp://[{lan.ipv6(2)}]"}
    assert f"tcp://{lan.ipv4(0)}" in hosts_shown(others[0])
    assert f"tcp://[{lan.ipv6(0)}]" in hosts_shown(others[1])
    for get in gets:
        assert get.interrupt().code == 0


def arrived(copy: Path, get: Running) -> bool:
    assert get.process.poll() is None, get.err
    return copy.exists()


def hosts_shown(machine: Machine) -> set[str]:
    return {peer["endpoint"].rpartition(":")[0] for peer in machine.z("peers", "--json").json["peers"]}


@pytest.mark.slow
def test_a_peer_that_serves_its_own_machine_only_is_warned(lan: Network) -> None:
    first = lan.machines[0]
    (first.place / "hidden.bin").write_bytes(b"hidden")
    share = first.start("share", "hidden.bin", "--listen", "tcp://127.0.0.1:0", "--data-dir", "hidden")
    eventually(lambda: "zswarm://" in share.out, "a link")
    assert "other machines cannot fetch from this peer" in first.z("status", "--data-dir", "hidden").out
    assert share.interrupt().code == 0


@pytest.mark.slow
def test_a_tracker_that_comes_where_another_program_was_is_joined(machine: Machine) -> None:
    """Until then the peer says what is wrong, and logs each reason once."""
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
        machine.tracker = f"tcp://127.0.0.1:{stranger.bind_to_random_port('tcp://127.0.0.1')}"
        peer = machine.start("--data-dir", "p", "--name", "p")
        says(machine, "something that is not a zswarm tracker answers there")
    says(machine, "connection refused; is it running there?")
    assert "connection refused; is it running there?" in machine.z("list", "--data-dir", "p").err
    machine.start_tracker(listen=machine.tracker)
    joined = machine.z("join", "--data-dir", "p")
    assert joined.code == 0, joined.err
    assert machine.status("p")["network"] == "joined"
    assert peer.err.count("connection refused") == 1


def says(machine: Machine, what: str) -> None:
    eventually(lambda: what in machine.status("p").get("problem", ""), what)


@pytest.mark.slow
def test_a_lookup_that_hangs_is_named(network: Machine) -> None:
    network.start_peer("p")
    lookup = next(pid for pid in children_of(network.processes()[0].process.pid) if "broker.lookup" in command_of(pid))
    os.kill(lookup, signal.SIGSTOP)
    try:
        get = network.start("get", "m.bin", "--data-dir", "p")
        eventually(lambda: "does not answer; still trying (no answer for" in get.err, "the reason")
    finally:
        os.kill(lookup, signal.SIGCONT)
    get.end()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
