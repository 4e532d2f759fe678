"""One command brings a file to every machine, and says of each whether it has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.outside.commands import Machine, Running, eventually

CONTENT = b"precious" * 500_000


@pytest.fixture
def network(machine: Machine) -> Machine:
    """A network whose tracker forgets soon who is gone; peer ``s`` has ``m.bin``."""
    (machine.place / "tracker.yaml").write_text(json.dumps({"heartbeat": "300ms", "lease": "1500ms"}))
    machine.start_tracker("--config", "tracker.yaml")
    machine.start_peer("s")
    (machine.place / "m.bin").write_bytes(CONTENT)
    return machine


def start_taker(network: Machine, name: str, **config: Any) -> Running:
    """A peer that puts what is ordered below ``NAME.d``."""
    return network.start_peer(name, config={"rollouts": str(network.place / f"{name}.d"), **config})


def placed(network: Machine, name: str) -> Path:
    return network.place / f"{name}.d" / "m.bin"


@pytest.mark.slow
def test_who_refuses_and_who_is_gone_is_named_and_who_joins_later_gets_it_too(network: Machine) -> None:
    start_taker(network, "good")
    gone = start_taker(network, "gone", download_rate="100 KiB/s")
    network.start_peer("unwilling")
    rollout = network.start("--data-dir", "s", "rollout", "m.bin", "--receipt", "r.json")
    eventually(lambda: "gone: fetching" in rollout.err, "the slow one has begun")
    gone.kill()
    result = rollout.wait()
    assert result.code == 5, result.err
    verdict, *others = result.out.splitlines()
    assert verdict.startswith("1 of 3 have it after ")
    assert [line.split(":")[:2] for line in others] == [["unwilling", " refuses"], ["gone", " gone"]]
    assert placed(network, "good").read_bytes() == CONTENT
    assert "m.bin, 3.8 MiB, to 3 peers" in result.err
    assert "accept no orders: unwilling" in result.err
    assert "free space: " in result.err

    receipt = json.loads((network.place / "r.json").read_text())
    assert (receipt["verdict"], receipt["have"], receipt["expected"]) == ("incomplete", 1, 3)
    assert (receipt["name"], receipt["length"]) == ("m.bin", len(CONTENT))
    assert {peer["name"]: peer["state"] for peer in receipt["peers"]} == {
        "good": "has it",
        "gone": "gone",
        "unwilling": "refuses",
    }

    start_taker(network, "late")
    result = network.z("--data-dir", "good", "rollout", "--watch", "m.bin", "--expect", "2", "--json")
    assert result.code == 0, result.err
    assert (result.json["verdict"], result.json["have"]) == ("complete", 2)
    assert placed(network, "late").read_bytes() == CONTENT


@pytest.mark.slow
def test_a_rollout_goes_on_without_its_command_and_ends_when_it_is_cancelled(network: Machine) -> None:
    start_taker(network, "slow", download_rate="100 KiB/s")
    rollout = network.start("--data-dir", "s", "rollout", "m.bin", "--receipt", "r.json")
    eventually(lambda: "slow: fetching" in rollout.err, "it is being fetched")
    result = rollout.interrupt()
    assert result.code == 130
    assert "rollout --watch m.bin' shows it, '--cancel m.bin' ends it" in result.err
    assert json.loads((network.place / "r.json").read_text())["verdict"] == "interrupted"
    (part,) = (network.place / "slow.d").iterdir()

    assert network.z("--data-dir", "slow", "rollout", "--cancel", "m.bin").code == 3
    cancelled = network.z("--data-dir", "s", "rollout", "--cancel", "m.bin")
    assert (cancelled.code, cancelled.err[:9]) == (0, "cancelled")
    eventually(lambda: not part.exists(), "what was fetched is deleted")
    assert network.z("--data-dir", "s", "rollout", "--watch", "m.bin").code == 3

    again = network.z("--data-dir", "s", "rollout", "m.bin", "--timeout", "1s")
    assert again.code == 5
    assert again.out.splitlines()[1].startswith("slow: ")


def test_what_cannot_be_is_an_error_before_anything_starts(network: Machine) -> None:
    unwritable = network.z("--data-dir", "s", "rollout", "m.bin", "--receipt", "no/such/r.json")
    assert unwritable.code == 6
    assert "cannot write the receipt" in unwritable.err
    assert network.z("--data-dir", "s", "rollout", "m.bin", "--to-dir", "../up").code == 2
    assert network.z("--data-dir", "s", "rollout", "m.bin").code == 3
    too_long = network.z("--data-dir", "s", "rollout", "x" * 300)
    assert (too_long.code, "too long for a name" in too_long.err) == (2, True)
    assert network.z("--data-dir", "s", "rollout", "--watch", "m.bin").code == 3
    assert network.z("--data-dir", "nobody", "rollout", "m.bin").code == 4


@pytest.mark.slow
def test_a_repeated_rollout_looks_at_the_copies_again(network: Machine) -> None:
    start_taker(network, "t")
    first = network.z("--data-dir", "s", "rollout", "m.bin")
    assert first.code == 0
    assert "no estimate: none of them has measured a rate yet" in first.err
    with placed(network, "t").open("r+b") as copy:
        copy.write(b"damaged")
    again = network.z("--data-dir", "s", "rollout", "m.bin")
    assert (again.code, again.out.splitlines()[0][:13]) == (5, "0 of 1 have i")
    assert "m.bin exists with other content; use --force to replace it" in again.out
    assert network.z("--data-dir", "s", "rollout", "m.bin", "--force").code == 0
    assert placed(network, "t").read_bytes() == CONTENT


@pytest.mark.slow
def test_a_later_rollout_has_an_estimate(network: Machine) -> None:
    start_taker(network, "t", download_rate="2 MiB/s")
    assert network.z("--data-dir", "s", "rollout", "m.bin").code == 0
    (network.place / "n.bin").write_bytes(CONTENT[::-1])

    def told() -> bool:
        later = network.z("--data-dir", "s", "rollout", "n.bin", "--timeout", "1ms")
        return "t, the slowest, fetched at " in later.err

    eventually(told, "the rate of the last download has been told")
