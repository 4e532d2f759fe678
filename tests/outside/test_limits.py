"""What happens at the limits of a process: open files, its place as process 1, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

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


def cpu_share(pid: int, seconds: float = 1.0) -> float:
    """The part of one core that ``pid`` takes."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    time.sleep(seconds)
    return (used() - before) / (time.monotonic() - began)


def test_more_connections_than_open_files_stop_nobody_for_long(tmp_path: Path) -> None:
    small = Machine(tmp_path, ["prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}"])
    try:
        small.start_tracker()
        (tmp_path / "m.bin").write_bytes(b"precious" * 100_000)
        share = small.start("share", "m.bin", "--data-dir", "s", "--listen", "tcp://127.0.0.1:0")
        eventually(lambda: "zswarm://" in share.out, "a link")
        peer = small.status("s")
        with strangers(peer["endpoint"]), strangers(small.tracker):
            assert cpu_share(peer["pids"]["piece_server"]) < 0.3
        got = small.z("get", "m.bin", "-o", "o", "--data-dir", "g")
        assert got.code == 0, got.err
        tracker = small.processes()[0]
        assert "too many connections for 256 open files" in tracker.err
        assert "raise the limit (ulimit -n)" in tracker.err
        assert share.interrupt().code == 0
    finally:
        small.close()
