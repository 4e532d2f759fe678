"""``share`` on one machine, ``get`` on another, and no tracker anywhere before: in network namespaces, because the
default ports are taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.outside.commands import Machine, Running, eventually
from tests.outside.namespaces import Network, network_of

CONTENT = b"precious" * 500_000
SECONDS = 20.0
"""What a person waits at most from the first command to the verified copy: two seconds on a machine that is idle."""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Network]:
    """Two machines."""
    with network_of(tmp_path, 2) as network:
        (network.machines[0].place / "m.bin").write_bytes(CONTENT)
        yield network


def sharing(machine: Machine, *arguments: str) -> Running:
    """A share that serves."""
    share = machine.start("share", "m.bin", *arguments)

    def serves() -> bool:
        assert share.process.poll() is None, share.err
        return share.out.endswith("\n")

    eventually(serves, "a link")
    return share


def processes_of(command: Running) -> list[psutil.Process]:
    return psutil.Process(command.process.pid).children(recursive=True)


def ended(processes: list[psutil.Process]) -> bool:
    return all(not process.is_running() for process in processes)


def test_two_commands_on_two_machines_are_enough(lan: Network) -> None:
    here, there = lan.machines
    started = time.monotonic()
    share = sharing(here)
    link = share.out.strip()
    assert link.startswith(f"zswarm://{lan.ipv4(0)}:5550/blake3:")
    assert f"get it on another machine with: python -m node get '{link}'\n" in share.err
    got = there.z("get", link, "-o", "o")
    assert (got.code, (there.place / "o/m.bin").read_bytes() == CONTENT) == (0, True), got.err
    assert time.monotonic() - started < SECONDS
    assert got.err.startswith(f"using the tracker that the link names, tcp://{lan.ipv4(0)}:5550\n")

    children = processes_of(share)
    assert len(children) == 5
    done = share.interrupt()
    assert (done.code, done.out) == (0, f"{link}\n")
    assert done.err.endswith("leaving the network\n"), "its peer leaves before its tracker ends"
    assert ended(children)


@pytest.mark.slow
def test_a_share_that_is_killed_leaves_no_process_and_the_next_one_takes_its_place(lan: Network) -> None:
    here, there = lan.machines
    share = sharing(here)
    children = processes_of(share)
    share.process.kill()
    share.process.wait()
    eventually(lambda: ended(children), "the children have ended")
    again = sharing(here, "--quiet")
    assert (again.out, again.err) == (share.out, "")
    registrar = next(child for child in processes_of(again) if "broker.registrar" in child.cmdline())
    registrar.kill()
    got = there.z("get", again.out.strip(), "-o", "o")
    assert got.code == 0, f"the tracker is restarted where it was: {got.err}"


@pytest.mark.slow
def test_where_another_program_has_a_port_free_ones_are_taken(lan: Network) -> None:
    here, there = lan.machines
    here.start_tracker(listen="tcp://*:5549")
    here.tracker = ""
    share = sharing(here)
    assert "cannot listen on tcp://*:5550: the port is in use, and no tracker answers" in share.err
    assert f"zswarm://{lan.ipv4(0)}:" in share.out
    assert "5550" not in share.out
    assert there.z("get", share.out.strip(), "-o", "o").code == 0


def test_the_second_share_uses_the_tracker_of_the_first_and_says_when_it_is_gone(lan: Network) -> None:
    here, there = lan.machines
    both = [here.start("share", "m.bin", "--data-dir", name) for name in "ab"]
    eventually(lambda: all(share.out for share in both), "two links")
    assert both[0].out == both[1].out
    first, second = sorted(both, key=lambda share: "this command runs one" not in share.err)
    assert "this command runs one" not in second.err
    first.interrupt()
    eventually(lambda: "connection refused; is it running there?" in second.err, "it says what is the matter")
    assert second.interrupt().code == 0
    assert there.z("get", second.out.strip(), "--timeout", "1s").code == 4


@pytest.mark.slow
def test_a_share_by_the_peer_of_another_brings_a_tracker_of_its_own_when_that_ends(lan: Network) -> None:
    here, there = lan.machines
    first = sharing(here)
    (here.place / "other.bin").write_bytes(b"other")
    second = here.start("share", "other.bin")
    eventually(lambda: second.out, "a link")
    assert second.out.startswith(f"zswarm://{lan.ipv4(0)}:5550/")
    first.interrupt()
    assert there.z("get", second.out.strip(), "-o", "o").code == 0


def test_without_a_network_the_link_is_for_this_machine_and_that_is_said(lan: Network) -> None:
    here, _ = lan.machines
    assert here.run([*here.prefix, "ip", "link", "set", "eth0", "down"]).code == 0
    share = sharing(here)
    assert share.out.startswith("zswarm://127.0.0.1:5550/")
    assert "only loopback addresses" in share.err
    got = here.z("get", share.out.strip(), "-o", "o", "--data-dir", "b")
    assert got.code == 0, got.err


@pytest.mark.slow
def test_the_tracker_of_a_link_is_not_used_where_there_is_another_and_that_is_said(lan: Network) -> None:
    here, there = lan.machines
    link = sharing(here).out.strip()
    there.start_tracker()
    got = there.z("get", link, "-o", "o", "--timeout", "1s")
    named, own = f"tcp://{lan.ipv4(0)}:5550", there.tracker
    assert got.code == 4
    assert f"the link names the tracker {named}, but this command is configured for {own}; trying with that" in got.err
    there.start_peer("p")
    got = there.z("get", link, "-o", "o", "--timeout", "1s", "--data-dir", "p")
    assert f"the link names the tracker {named}, but the running peer uses {own}; trying with that" in got.err


def with_mdns(machine: Machine) -> Machine:
    for name in ("peer.yaml", "tracker.yaml"):
        (machine.config / name).write_text("mdns: true\n")
    return machine


@pytest.mark.slow
def test_a_tracker_on_the_network_is_found_by_mdns(lan: Network) -> None:
    pytest.importorskip("zeroconf")
    here, there = map(with_mdns, lan.machines)
    sharing(here)
    got = there.z("get", "m.bin", "-o", "o")
    assert got.code == 0, got.err
    assert f"using tcp://{lan.ipv4(0)}:5550, which '" in got.err
    assert there.z("get", "m.bin", "--no-mdns", "--timeout", "1s", "-o", "p").code == 4

    there.start_tracker("--no-mdns", listen="tcp://*:0")
    there.tracker = ""
    assert there.z("get", "m.bin", "-o", "p").code == 0, "one that is not announced is not in the way"
    there.start_tracker(listen="tcp://*:0")
    other, there.tracker = f"tcp://{lan.ipv4(1)}:{there.tracker.rpartition(':')[2]}", ""
    announced = there.processes()[-1]
    eventually(lambda: "announcing the tracker" in announced.err, "both are announced")
    got = there.z("get", "m.bin", "-o", "q")
    assert got.code == 2
    assert all(endpoint in got.err for endpoint in (f"tcp://{lan.ipv4(0)}:5550", other, "--tracker"))
