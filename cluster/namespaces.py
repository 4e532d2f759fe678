"""Network namespaces with shaped links between them, made and removed by ``ip`` and ``tc``, as root.

They are gone when the block that uses them ends, however it ends. Those of a run that was killed are found by their
names, and removed by the next one. All that stays is `NAMESPACES`, the directory that ``ip`` makes for their names.
What they consist of is `cluster.shaped_network`'s.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.interrupts import shielded
from cluster.processes import Host
from cluster.shaped_network import Command, Machine, Owner, address_of, commands, owner_of, switch
from protocol.errors import NetworkError, UsageError

NAMESPACES = Path("/run/netns")
"""Where ``ip netns`` keeps the names."""
TOOLS = ("ip", "tc")
SYSTEM_PATH = "/usr/sbin:/sbin"
"""Where they are, and where root's PATH may not lead, depending on how one became root."""
KILL_SECONDS = 10.0
"""How long a killed process may take until it is in no namespace any more. Who reaps it is not our business."""
PAUSE_SECONDS = 0.02
PERMISSION = "It needs all rights of root over the network; in a container, one that is privileged"


def check_usable() -> None:
    """Raises `UsageError` when there can be no namespaces here, as far as one can tell without making one."""
    if os.geteuid() != 0:
        raise UsageError(
            f"shaped links are network namespaces, which only root can make: run 'sudo {sys.executable} ...', or "
            "predict a run with 'run_cluster.py --simulate'"
        )
    for tool in TOOLS:
        if _path_of(tool) is None:
            raise UsageError(f"shaped links need the program {tool}: install iproute2")


@contextmanager
def shaped_network(machines: Sequence[Machine]) -> Iterator[dict[str, Host]]:
    """A namespace for each of ``machines``, by its name, that reach each other and nothing else.

    Removes what killed runs left behind first. When the block ends, what still runs in the namespaces is killed.
    Raises `UsageError` and `NetworkError`.
    """
    check_usable()
    with shielded():
        _remove(namespace for namespace, owner in _present() if has_ended(owner))
    us = this_process()
    try:
        for command in commands(us, machines):
            run_as_root(command)
        yield {machine.name: _host(us, number, machine) for number, machine in enumerate(machines)}
    finally:
        with shielded():
            _remove(namespace for namespace, owner in _present() if owner == us)


def switch_link(number: int, on: bool) -> None:
    """Cut the link of the machine with this ``number`` in the network of this process, or mend it. `NetworkError`."""
    run_as_root(switch(this_process(), number, on))


def this_process() -> Owner:
    """Whose name is on what this process makes."""
    return Owner(os.getpid(), _started_at(os.getpid()) or 0)


def has_ended(owner: Owner) -> bool:
    """Whether what it made is left over."""
    return _started_at(owner.pid) != owner.started


def _host(owner: Owner, number: int, machine: Machine) -> Host:
    within = _command(("ip", "netns", "exec", owner.namespace(machine.name)))
    return Host(address_of(number), within)


def _present() -> list[tuple[str, Owner]]:
    """The namespaces of this and other runs."""
    names = sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []
    return [(name, owner) for name in names if (owner := owner_of(name)) is not None]


def _started_at(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it has ended, reaped or not. See proc(5)."""
    try:
        # The second field is the name in brackets, which may have blanks and brackets in it.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(fields[18])


def _remove(namespaces: Iterable[str]) -> None:
    """End what runs in ``namespaces``, and remove them. `NetworkError` when one is still there after that."""
    names = list(namespaces)
    deadline = time.monotonic() + KILL_SECONDS
    while (processes := _processes_in(names)) and time.monotonic() < deadline:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(PAUSE_SECONDS)
    errors = []
    for name in names:
        try:
            run_as_root(("ip", "netns", "delete", name))
        except NetworkError as error:
            if (NAMESPACES / name).exists():  # it was not another run that was quicker
                errors.append(str(error))
    if errors:
        raise NetworkError("; ".join(errors))


def _processes_in(namespaces: Sequence[str]) -> list[psutil.Process]:
    """In one look at the process table."""
    # Of one that `ip` was killed at before it had made it there is only an empty file, which no process is in.
    wanted = set()
    for namespace in namespaces:
        with contextlib.suppress(FileNotFoundError):  # another run has removed it
            wanted.add(_identity(NAMESPACES / namespace))
    found = []
    for process in psutil.process_iter() if wanted else ():
        with contextlib.suppress(OSError):  # it has ended
            if _identity(Path(f"/proc/{process.pid}/ns/net")) in wanted:
                found.append(process)
    return found


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of a namespace."""
    found = path.stat()
    return found.st_dev, found.st_ino


def run_as_root(command: Command) -> None:
    """Raises `NetworkError` with what it said. A Ctrl-C waits for it to end, and does not reach it."""
    with shielded():
        done = subprocess.run(
            _command(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            process_group=0,
        )
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        hint = f". {PERMISSION}" if re.search("permitted|denied", said) else ""
        raise NetworkError(f"'{shlex.join(command)}' failed: {said}{hint}")


def _command(command: Command) -> Command:
    """``command`` with the path of its program."""
    tool, *arguments = command
    return (_path_of(tool) or tool, *arguments)


def _path_of(tool: str) -> str | None:
    return shutil.which(tool, path=os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH]))
