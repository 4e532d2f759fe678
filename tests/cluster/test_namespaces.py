"""Network namespaces: what they let through, and that none is ever left. Skipped where there cannot be any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from cluster import goodput, namespaces
from cluster.goodput import measure_goodput
from cluster.namespaces import NAMESPACES, shaped_network
from cluster.processes import Host
from cluster.shaped_network import Machine, owner_of
from protocol.errors import NetworkError, UsageError
from tests.cluster.conftest import namespaces_of

TWO = [Machine("one", 12.5e6, 12.5e6), Machine("two", 125e6, 125e6)]
RATE = 12.5e6
WAIT_FOR_EVER = "import sys; print('ready', flush=True); sys.stdin.read()"
OWNER_PROGRAM = f"""
import subprocess, sys
from cluster.namespaces import shaped_network
from cluster.shaped_network import Machine

with shaped_network([Machine("one"), Machine("two")]) as hosts:
    subprocess.run([*hosts["one"].within, sys.executable, "-c", {WAIT_FOR_EVER!r}])
"""


@contextmanager
def another_run() -> Iterator[subprocess.Popen[str]]:
    """Its namespaces are there, and a process in one of them; both wait on."""
    command = [sys.executable, "-c", OWNER_PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def interfaces() -> list[str]:
    return sorted(psutil.net_if_stats())


@pytest.mark.process
@pytest.mark.usefixtures("can_make_namespaces")
def test_a_link_moves_what_it_is_said_to_and_is_gone_then(monkeypatch: pytest.MonkeyPatch) -> None:
    before = interfaces()
    monkeypatch.setattr(goodput, "MEASURED_SECONDS", 0.6)
    with shaped_network(TWO) as hosts:
        assert len(namespaces_of(os.getpid())) == 3
        up = measure_goodput(hosts["one"], hosts["two"], RATE)
        down = measure_goodput(hosts["two"], hosts["one"], RATE)
        assert interfaces() == before
    assert 0.85 * RATE < up < RATE
    assert 0.85 * RATE < down < RATE
    assert namespaces_of(os.getpid()) == []
    assert interfaces() == before


@pytest.mark.usefixtures("can_make_namespaces")
def test_they_reach_nothing_else() -> None:
    with shaped_network(TWO) as hosts:
        command = [*hosts["one"].within, "ip", "route"]
        routes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert [route.split()[:3] for route in routes.splitlines()] == [["10.77.0.0/16", "dev", "eth0"]]
        command = [*hosts["one"].within, "ip", "-brief", "address"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert [line.split()[0].partition("@")[0] for line in found.splitlines()] == ["lo", "eth0"]


@pytest.mark.usefixtures("can_make_namespaces")
def test_none_is_left_by_an_error() -> None:
    with pytest.raises(ZeroDivisionError), shaped_network(TWO):
        _ = 1 / 0
    assert namespaces_of(os.getpid()) == []


@pytest.mark.usefixtures("can_make_namespaces")
def test_none_is_left_by_a_command_that_fails_and_it_says_which() -> None:
    same = [Machine("one"), Machine("one")]
    with pytest.raises(NetworkError, match=r"'ip netns add zswarm-\d+-\d+-one' failed: .*exists"), shaped_network(same):
        pass
    assert namespaces_of(os.getpid()) == []


@pytest.mark.usefixtures("can_make_namespaces")
def test_who_still_runs_in_one_is_ended() -> None:
    with shaped_network(TWO) as hosts:
        process = start_in(hosts["one"])
    with process:
        assert process.wait() == -signal.SIGKILL


def start_in(host: Host) -> subprocess.Popen[str]:
    command = [*host.within, sys.executable, "-c", WAIT_FOR_EVER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.process
@pytest.mark.usefixtures("can_make_namespaces")
def test_what_a_killed_run_left_is_removed_by_the_next() -> None:
    with another_run() as run:
        inside = psutil.Process(run.pid).children()
        run.kill()
        run.wait()
        assert len(namespaces_of(run.pid)) == 3
        assert all(process.is_running() for process in inside)
        with shaped_network([]):
            assert namespaces_of(run.pid) == []
            assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in inside)


@pytest.mark.usefixtures("can_make_namespaces")
def test_what_another_run_has_removed_meanwhile_is_no_error() -> None:
    namespaces._remove(["zswarm-1-1-gone"])


@pytest.mark.process
@pytest.mark.usefixtures("can_make_namespaces")
def test_those_of_a_run_that_goes_on_are_left_alone() -> None:
    with another_run() as run:
        inside = psutil.Process(run.pid).children()
        with shaped_network(TWO):
            pass
        assert len(namespaces_of(run.pid)) == 3
        assert all(process.is_running() for process in inside)
        run.communicate()
        assert run.returncode == 0
        assert namespaces_of(run.pid) == []


@pytest.mark.usefixtures("can_make_namespaces")
def test_a_name_without_a_namespace_is_removed() -> None:
    """``ip`` makes the file first: it may have been killed right then."""
    name = NAMESPACES / "zswarm-1-1-half"  # process 1 did not start at tick 1
    name.touch()
    with shaped_network([]):
        assert not name.exists()


def test_without_root_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match=r"only root can make: .* or predict a run with 'run_cluster.py --simulate'"):
        namespaces.check_usable()


def test_without_its_tools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "SYSTEM_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="need the program ip: install iproute2"):
        namespaces.check_usable()


def test_without_permission_it_says_what_failed_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    for tool in namespaces.TOOLS:
        (tools / tool).write_text("#!/bin/sh\necho 'mount failed: Operation not permitted' >&2\nexit 1\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "NAMESPACES", tools / "none")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    what = (
        r"'ip netns add zswarm-\d+-\d+-hub' failed: mount failed: Operation not permitted\. It needs all rights of root"
    )
    with pytest.raises(NetworkError, match=what), shaped_network(TWO):
        pass


def test_a_process_that_has_ended_owns_nothing_reaped_or_not() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert namespaces._started_at(process.pid) is None
    process.wait()
    assert namespaces._started_at(process.pid) is None
    assert namespaces._started_at(os.getpid()) is not None
    assert owner_of("zswarm-1-2-hub") is not None
