"""One program of the product (``python -m broker``, ``python -m node``) as a child process, and the processes it has.

A program is a supervisor and its children. It runs in a process group of its own, so that a Ctrl-C in the terminal
reaches only whoever runs the cluster, which then ends its programs in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
from msgspec import Struct

from cluster.interrupts import shielded
from node.config import ENVIRONMENT

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LOG_TAIL_LINES = 5
LOG_TAIL_BYTES = 16_384

ROLES = {
    "node.agent": "agent",
    "node.piece_server": "piece_server",
    "node.downloader": "downloader",
    "broker.registrar": "registrar",
    "broker.lookup": "lookup",
    "broker.web": "web",
    "cluster.load.worker": "clients",
}
"""The role of a child by the module it runs."""
SUPERVISOR = "supervisor"


class Host(Struct, frozen=True):
    """Where a program runs: the ``address`` it is reached at, and the command that runs another one ``within`` it, in
    the same process; none for this machine as it is."""

    address: str = "127.0.0.1"
    within: Sequence[str] = ()


HERE = Host()


class Program:
    """``python -m module arguments`` on ``host``, with all it says in ``log_path``. It can be started again after it
    ended.

    The sockets between its processes lie in ``sockets``, a directory with a short path. ``settings`` is for a module
    that is a child (`service.child`): a JSON line without its newline.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log_path: Path,
        sockets: Path,
        host: Host = HERE,
        settings: bytes = b"",
    ) -> None:
        self._command = [*host.within, *python_command(module, arguments)]
        self._sockets = sockets
        self._settings = settings
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 when it was not started, or has ended and was reaped by `kill` or `end_all`."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Raises `OSError` when it cannot be started."""
        assert self._process is None, "it runs already"
        with shielded(), self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                bufsize=0,
                stdin=subprocess.PIPE if self._settings else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**python_environment(), "XDG_RUNTIME_DIR": str(self._sockets)},
                process_group=0,
            )
        if self._process.stdin is not None:  # it stays open: the child ends when this process does
            with contextlib.suppress(BrokenPipeError):  # it has ended already, with a code and a line in its log
                self._process.stdin.write(self._settings + b"\n")

    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def children(self) -> dict[str, psutil.Process]:
        """Its child processes by role; of several lookups, the first."""
        found: dict[str, psutil.Process] = {}
        for process in children_of([self.pid] if self.pid else []):
            role = role_of(process)
            if role:
                found.setdefault(role, process)
        return found

    def kill(self) -> None:
        """``kill -9`` of the program and all its children at once. All are gone when it returns."""
        kill_all([self])

    def log_tail(self) -> list[str]:
        """Its last few log lines."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
                return log.read().decode("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]
        except FileNotFoundError:
            return []

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended, and was reaped, within ``seconds``."""
        if self._process is not None:
            try:
                self._process.wait(max(0.0, seconds))
            except subprocess.TimeoutExpired:
                return False
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        return True


def python_command(module: str, arguments: Sequence[str]) -> list[str]:
    """What runs ``module`` of this project; its environment is `python_environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment() -> dict[str, str]:
    """This process's own, and the project's modules are found in it. What a person has set for a peer of their own is
    left out."""
    search = os.pathsep.join([str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    own = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT.values()}
    return {**own, "PYTHONPATH": search}


def children_of(pids: Iterable[int]) -> list[psutil.Process]:
    """The child processes of the processes ``pids``, in one look at the process table."""
    parents = set(pids)
    found = []
    for process in psutil.process_iter() if parents else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() in parents:
                found.append(process)
    return found


def role_of(process: psutil.Process) -> str:
    """Which of `ROLES` a child process plays; empty when none, or when it is gone."""
    try:
        command = process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
    return next((ROLES[part] for part in command if part in ROLES), "")


def end_all(programs: Sequence[Program], seconds: float) -> list[Program]:
    """End ``programs`` in order by SIGTERM, all at once, and kill what is left after ``seconds``; returns those.

    All of them, and their children, are gone when it returns.
    """
    running = [program for program in programs if program.pid]
    children = children_of(program.pid for program in running)
    deadline = time.monotonic() + seconds
    for program in running:
        program.signal(signal.SIGTERM)
    late = [program for program in running if not program.wait(deadline - time.monotonic())]
    kill_all(late)
    _kill_processes(children)  # of a program that was killed or crashed; none is left of one that ended in order
    return late


def kill_all(programs: Sequence[Program]) -> None:
    """``kill -9`` of ``programs`` and all their children. All are gone when it returns."""
    running = [program for program in programs if program.pid]
    children = children_of(program.pid for program in running)
    for program in running:
        program.signal(signal.SIGKILL)
    _kill_processes(children)
    for program in running:
        program.wait(float("inf"))


def _kill_processes(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes)
