"""`import zswarm`, in a program of somebody's own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.outside.commands import Machine, Result, eventually


def run_python(machine: Machine, program: str) -> Result:
    """A program that has ``machine``'s tracker in its environment and its data directory in ``data``."""
    env = {"ZSWARM_TRACKER": machine.tracker, "ZSWARM_DATA_DIR": str(machine.place / "data")}
    return machine.run([sys.executable, "-X", "dev", "-c", dedent(program)], env=env)


@pytest.mark.slow
def test_its_examples_do_what_they_say(network: Machine) -> None:
    (network.place / "model.bin").write_bytes(os.urandom(1_000_000))
    done = run_python(network, "import doctest, sys, zswarm; sys.exit(doctest.testmod(zswarm).failed)")
    assert (done.code, done.out) == (0, ""), done.out
    assert (network.place / "copies/model.bin").read_bytes() == (network.place / "model.bin").read_bytes()


def test_it_uses_the_peer_that_runs_and_leaves_it_running(network: Machine) -> None:
    (network.place / "model.bin").write_bytes(b"precious")
    peer = network.start_peer("data")
    done = run_python(
        network,
        """
        import zswarm
        with zswarm.Peer() as peer:
            print(peer.share("model.bin").wait().link)
        """,
    )
    assert done.code == 0, done.err
    assert done.err == ""
    assert peer.process.poll() is None
    shared = network.z("status", "--json", "--data-dir", "data").json["shared"]
    assert [item["link"] for item in shared] == [done.out.strip()]


@pytest.mark.slow
def test_it_signs_what_it_shares_and_takes_only_what_is_signed(machine: Machine) -> None:
    # A name is refused only once the tracker knows all peers, a lease after its start.
    (machine.config / "tracker.yaml").write_text("{mdns: false, heartbeat: 200ms, lease: 600ms}\n")
    machine.start_tracker()
    key = machine.z("signing-key", "release", "-q").out.strip()
    (machine.place / "model.bin").write_bytes(b"precious")
    (machine.place / "other.bin").write_bytes(b"worthless")
    machine.start_peer("data")
    done = run_python(
        machine,
        f"""
        import zswarm
        with zswarm.Peer() as peer:
            print(peer.share("model.bin", sign="release").wait().signed_by == ["{key}"])
            link = peer.share("other.bin").wait().link
            for keys in (["{key}"], "{key}", ["{key.upper()}"]):
                print(peer.get("model.bin", to="copies", signed_by=keys).wait().signed_by == ["{key}"])
            for wrong in ("", ["x"]):  # what is not set must not mean that anybody will do
                try:
                    peer.get("model.bin", to="copies", signed_by=wrong)
                except zswarm.UsageError as error:
                    print("is no key" in str(error))
            try:
                peer.get(link, to="copies", signed_by=["{key}"]).wait(timeout=20)
            except zswarm.SignatureError as error:
                print(error)
        """,
    )
    assert done.code == 0, done.err
    *rest, refusal = done.out.splitlines()
    assert rest == ["True"] * 6
    assert refusal.startswith("other.bin is there, but not signed by")


def test_its_own_peer_ends_with_it_whether_or_not_it_was_closed(network: Machine) -> None:
    done = run_python(
        network,
        """
        import json, zswarm
        peer = zswarm.Peer()
        while len(peer.status().pids) < 3:
            pass
        print(json.dumps(peer.status().pids))
        """,
    )
    assert done.code == 0, done.err
    pids = json.loads(done.out).values()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its processes end")


@pytest.mark.slow
def test_a_second_one_on_the_same_directory_is_refused_and_the_first_goes_on(network: Machine) -> None:
    done = run_python(
        network,
        """
        import zswarm
        with zswarm.Peer() as peer:
            try:
                zswarm.Peer()
            except zswarm.UsageError as error:
                print(error)
            print(len(peer.peers()))
        """,
    )
    assert done.code == 0, done.err
    refusal, count = done.out.splitlines()
    assert "data is another program's own, and ends with it; give this one another data_dir" in refusal
    assert count == "1"


@pytest.mark.slow
def test_what_goes_wrong_is_raised_with_what_to_do(network: Machine) -> None:
    (network.place / "file").write_bytes(b"")
    done = run_python(
        network,
        """
        import zswarm
        with zswarm.Peer() as peer:
            for attempt in (
                lambda: peer.share("no-such"),
                lambda: peer.get("zswarm://nonsense"),
                lambda: peer.get("a", to="file"),
                lambda: peer.get("no-such").wait(),
                lambda: peer.remove("no-such"),
                lambda: zswarm.Peer("other", tracker="http://x"),
                lambda: (peer.close(), peer.list()),
            ):
                try:
                    attempt()
                except zswarm.Error as error:
                    print(type(error).__name__, str(error), sep=": ")
        """,
    )
    assert done.code == 0, done.err
    kinds = [line.split(":")[0] for line in done.out.splitlines()]
    expected = [
        "NotFoundError",
        "SeedError",
        "DiskError",
        "NotFoundError",
        "NotFoundError",
        "ConfigError",
        "UsageError",
    ]
    assert kinds == expected, done.out


@pytest.mark.slow
def test_a_job_that_takes_too_long_goes_on_and_may_be_waited_for_again(network: Machine) -> None:
    (network.place / "model.bin").write_bytes(os.urandom(2_000_000))
    network.start_peer("source", config={"upload_rate": "1 MiB/s"})
    assert network.z("share", "model.bin", "--data-dir", "source").code == 0
    done = run_python(
        network,
        """
        import zswarm
        with zswarm.Peer() as peer:
            job = peer.get("model.bin", to="got")
            try:
                job.wait(timeout=0.5)
            except TimeoutError as error:
                print(error)
            print(job.wait().verified)
        """,
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("model.bin: not finished after 0.5 s"), done.out
    assert done.out.splitlines()[-1] == "True"
