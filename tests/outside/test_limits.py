"""What happens at the limits of a process: open files, its place as process 1, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.outside.commands import Machine, eventually

OPEN_FILES = 256
STRANGERS = 300
SHAKE_HANDS = (
    bytes([0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0])
    + b"NULL".ljust(20, b"\0")
    + bytes(32)
    + b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
)
"""What a client of ZeroMQ says first (ZMTP 3.0)."""


@contextlib.contextmanager
def strangers(endpoint: str) -> Iterator[None]:
    """Many who connect to ``endpoint``, shake hands, and say no more."""
    address = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        for _ in range(STRANGERS):
            each = stack.enter_context(socket.create_connection(address, timeout=10.0))
            with contextlib.suppress(ConnectionError):  # closed already
                each.sendall(SHAKE_HANDS)
        yield


def cpu_share(pid: int, meanwhile: Callable[[], object]) -> float:
    """The part of one core that ``pid`` takes while ``meanwhile`` is done."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    meanwhile()
    return (used() - before) / (time.monotonic() - began)


@pytest.mark.slow
@pytest.mark.alone
def test_more_connections_than_open_files_stop_nobody_for_long(tmp_path: Path) -> None:
    small = Machine(tmp_path, ["prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}"])
    try:
        small.start_tracker()
        (tmp_path / "m.bin").write_bytes(b"precious" * 100_000)
        share = small.start("share", "m.bin", "--data-dir", "s", "--listen", "tcp://127.0.0.1:0")
        eventually(lambda: "zswarm://" in share.out, "a link")
        peer = small.status("s")
        with strangers(peer["endpoint"]), strangers(small.tracker):
            assert cpu_share(peer["pids"]["piece_server"], lambda: [small.status("s") for _ in range(5)]) < 0.3
        got = small.z("get", "m.bin", "-o", "o", "--data-dir", "g")
        assert got.code == 0, got.err
        tracker = small.processes()[0]
        assert "too many connections for 256 open files" in tracker.err
        assert "raise the limit (ulimit -n)" in tracker.err
        assert share.interrupt().code == 0
    finally:
        small.close()


AS_PROCESS_1 = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def can_unshare() -> bool:
    """Whether this user may make a process 1."""
    return shutil.which("unshare") is not None and subprocess.run([*AS_PROCESS_1, "true"], check=False).returncode == 0


def children_of(pid: int) -> dict[int, str]:
    """State (``Z`` for a zombie) by process id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
            if int(parent) == pid:
                found[int(path.parent.name)] = state
    return found


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="needs the right to make a process namespace")
def test_as_process_1_it_reaps_what_others_leave_behind(tmp_path: Path) -> None:
    container = Machine(tmp_path, AS_PROCESS_1)
    container.start_tracker()
    (init,) = children_of(container.processes()[0].process.pid)
    try:
        own = children_of(init)
        into = ["nsenter", "--target", str(init), "--pid", "--mount"]
        for _ in range(3):
            assert container.run([*into, "sh", "-c", "sleep 0.5 >/dev/null 2>&1 &"]).code == 0
        eventually(lambda: len(children_of(init)) > len(own), "orphans are adopted")
        eventually(lambda: list(children_of(init)) == list(own), "they are reaped, and nothing else")
    finally:
        os.kill(init, signal.SIGTERM)  # unshare passes nothing on
        assert container.processes()[0].wait().code == 0
        container.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("tracker", ["nowhere", "silent"])
def test_a_peer_ends_within_a_second_whatever_its_tracker_does(machine: Machine, tracker: str) -> None:
    machine.start_tracker()
    registrar, *_ = (pid for pid in children_of(machine.processes()[0].process.pid))
    if tracker == "nowhere":
        machine.tracker = "tcp://127.0.0.1:9"
    peer = machine.start("--data-dir", "p")
    wanted = "unreachable" if tracker == "nowhere" else "joined"
    eventually(lambda: machine.status("p").get("network") == wanted, wanted)
    if tracker == "silent":
        os.kill(registrar, signal.SIGSTOP)
    began = time.monotonic()
    assert peer.interrupt().code == 0
    assert time.monotonic() - began < 1.5, "with some time for a busy machine"
    os.kill(registrar, signal.SIGCONT)
