"""rsync as a daemon, and a client for each receiver: what people copy trees with.

Each file is checked by a checksum as it is sent. Nothing is made durable, unless ``--fsync`` says so for each file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.contenders.contender import (
    ROUND_SECONDS,
    START_SECONDS,
    ContenderError,
    Round,
    Task,
    children_cpu,
    directories,
    remove_copies,
)
from cluster.local import free_ports
from cluster.processes import HERE

PAUSE_SECONDS = 0.02
CONFIGURATION = """\
address = {host}
port = {port}
use chroot = no
{user}
log file = {directory}/log
[content]
path = {root}
"""


class Rsync:
    verifies = "files"

    def __init__(self, *options: str) -> None:
        self.name = " ".join(["rsync", *options])
        self._options = options

    def missing(self) -> str:
        return "" if shutil.which("rsync") else "apt install rsync"

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningRsync]:
        directory = task.directory / "rsync"
        directory.mkdir()
        port = free_ports(1)
        configuration = directory / "rsyncd.conf"
        configuration.write_text(
            CONFIGURATION.format(
                host=HERE.address,
                port=port,
                user="uid = root\ngid = root" if os.geteuid() == 0 else "",
                directory=directory,
                root=task.content.parent,
            )
        )
        daemon = subprocess.Popen(
            ["rsync", "--daemon", "--no-detach", f"--config={configuration}"],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            url = f"rsync://{HERE.address}:{port}/content/"
            deadline = time.monotonic() + START_SECONDS
            while subprocess.run(["rsync", "--quiet", url], capture_output=True, check=False).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise ContenderError(f"the daemon of rsync does not serve: see {directory}/log")
                time.sleep(PAUSE_SECONDS)
            yield RunningRsync(task, psutil.Process(daemon.pid), [*self._options, url + task.content.name])
        finally:
            daemon.terminate()
            daemon.wait()


class RunningRsync:
    """``arguments`` are followed by the directory of the copy."""

    def __init__(self, task: Task, daemon: psutil.Process, arguments: list[str]) -> None:
        self._daemon = daemon
        self._command = ["rsync", "--archive", f"--timeout={ROUND_SECONDS:.0f}", *arguments]
        self._directories = directories(task)
        self._copies = [directory / task.content.name for directory in self._directories]

    def run(self) -> Round:
        before = self._cpu_seconds()
        began = time.monotonic()
        started = [subprocess.Popen([*self._command, f"{directory}/"]) for directory in self._directories]
        codes = [process.wait() for process in started]
        seconds = time.monotonic() - began
        if any(codes):
            raise ContenderError(f"rsync ended with {codes}")
        return Round(seconds, self._cpu_seconds() - before, self._copies)

    def clear(self) -> None:
        remove_copies(self._copies)

    def _cpu_seconds(self) -> float:
        """Of the clients, and of the daemon's child for each of them once it has reaped that."""
        deadline = time.monotonic() + START_SECONDS
        while self._daemon.children():
            if time.monotonic() > deadline:
                raise ContenderError("the daemon of rsync goes on though all clients have ended")
            time.sleep(PAUSE_SECONDS)
        return children_cpu() + sum(self._daemon.cpu_times()[:4])
