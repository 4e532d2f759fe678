"""Carries out what a plan says on the processes, links, disks and files of a cluster, and undoes it.

A machine whose program ended is started again after a second, as systemd would, unless it is down or lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
from msgspec import Struct

from cluster.chaos.disks import SmallDisk
from cluster.chaos.plan import EVERYTHING, Action, Kind
from cluster.content import Original
from cluster.local import TRACKER, LocalCluster
from cluster.namespaces import switch_link
from cluster.processes import SUPERVISOR, Program, children_of
from protocol.errors import NetworkError

RESTART_SECONDS = 1.0
AGAIN_SECONDS = 1.0
"""After this what could not be undone, such as damage on a disk that is read-only now, is tried again."""
DAMAGED_BYTES = 4_096
DISK_KINDS: Sequence[Kind] = ("full", "read_only")


class _End(Struct, frozen=True):
    """What undoes a fault ``at`` a moment, in seconds of the plan."""

    at: float
    kind: Kind
    undo: Callable[[], None]


class Faults:
    """Of ``cluster``, whose peers seed ``originals``, by name. ``disks`` by their directories. ``tell`` hears what
    happens, a line each. Times are seconds of the plan."""

    def __init__(
        self,
        cluster: LocalCluster,
        originals: Mapping[str, Original],
        disks: Mapping[Path, SmallDisk],
        tell: Callable[[str], None],
    ) -> None:
        self._peers = {peer.name: peer for peer in cluster.peers}
        self._programs = {TRACKER: cluster.tracker.program, **{peer.name: peer.program for peer in cluster.peers}}
        self._originals = originals
        self._disks = disks
        self._tell = tell
        self._down: dict[str, int] = {}
        self._restart_at: dict[str, float] = {}
        self._ends: list[_End] = []
        self.count = 0
        """How many happened."""

    def act(self, action: Action, now: float) -> None:
        """Make ``action`` happen, or tell why it cannot."""
        do = {
            "kill": self._kill,
            "crash": self._crash,
            "restart": self._restart,
            "pause": self._pause,
            "cut": self._cut,
            "full": self._full,
            "read_only": self._read_only,
            "damage": self._damage,
            "lose": self._lose,
        }[action.kind]
        try:
            undo = do(action)
        except (OSError, NetworkError, psutil.NoSuchProcess) as error:
            self._tell(f"{action.machine}: {action.kind} {action.what} left out: {error}")
            return
        self.count += 1
        if undo is not None:
            self._ends.append(_End(now + action.lasting, action.kind, undo))

    def tick(self, now: float) -> None:
        """Undo what is over, and start what has ended."""
        for end in [end for end in self._ends if end.at <= now]:
            self._ends.remove(end)
            try:
                end.undo()
            except (OSError, NetworkError):
                self._ends.append(_End(now + AGAIN_SECONDS, end.kind, end.undo))
        for name, program in self._programs.items():
            if self._down.get(name) or (program.pid and program.exit_code() is None):
                continue
            if name not in self._restart_at:
                self._restart_at[name] = now + RESTART_SECONDS
                self._tell(f"{name} has ended, {_how(program)}")
                program.wait(0)
            elif now >= self._restart_at[name]:
                del self._restart_at[name]
                program.start()

    def heal(self, now: float) -> None:
        """Undo everything: disks first, since files are mended on them, and those first that cannot be written, since
        others may be full of what has to be deleted. Raises `OSError`, `NetworkError`."""
        for end in sorted(self._ends, key=lambda end: (end.kind != "read_only", end.kind != "full")):
            end.undo()
        self._ends.clear()
        self.tick(now + RESTART_SECONDS)

    # --- what happens; each returns what undoes it ---------------------------------------------------------

    def _kill(self, action: Action) -> None:
        for process in self._processes(action):
            process.send_signal(signal.SIGKILL)
        self._tell(f"{action.machine}: kill -9 of its {action.what}")

    def _pause(self, action: Action) -> Callable[[], None]:
        processes = self._processes(action)
        for process in processes:
            process.suspend()
        self._tell(f"{action.machine}: {_called(action.what)} stopped for {action.lasting:.1f} s")

        def resume() -> None:
            for process in processes:
                if process.is_running():  # its id may be another's by now
                    process.resume()

        return resume

    def _crash(self, action: Action) -> Callable[[], None]:
        self._go_down(action.machine)
        self._tell(f"{action.machine}: kill -9 of all at once, down for {action.lasting:.1f} s")

        def come_back() -> None:
            self._down[action.machine] -= 1

        return come_back

    def _lose(self, action: Action) -> None:
        self._go_down(action.machine)
        self._tell(f"{action.machine}: lost for good")

    def _restart(self, action: Action) -> None:
        self._programs[action.machine].signal(signal.SIGTERM)
        self._tell(f"{action.machine}: told to end")

    def _cut(self, action: Action) -> Callable[[], None]:
        number = list(self._programs).index(action.machine)
        switch_link(number, on=False)
        self._tell(f"{action.machine}: its link is cut for {action.lasting:.1f} s")
        return lambda: switch_link(number, on=True)

    def _full(self, action: Action) -> Callable[[], None]:
        disk = self._disk(action)
        disk.fill()
        self._tell(f"{action.machine}: its disk of {action.what} is full for {action.lasting:.1f} s")
        return disk.clear

    def _read_only(self, action: Action) -> Callable[[], None]:
        """It comes back so: a disk is not made read-only while anything is written to it."""
        disk = self._disk(action)
        self._programs[action.machine].kill()
        disk.set_read_only(True)
        self._tell(
            f"{action.machine}: kill -9 of all, its disk of {action.what} is read-only for {action.lasting:.1f} s"
        )
        return lambda: disk.set_read_only(False)

    def _damage(self, action: Action) -> Callable[[], None]:
        original = self._originals[action.what]
        path, place = spot(original.path, action.place)
        right = _read(path, place)
        copy = self._peers[action.machine].download_dir / original.name / path.relative_to(original.path)
        _write(copy, place, bytes(byte ^ 0xFF for byte in right), action.quiet)
        self._tell(f"{action.machine}: {copy.name} is damaged at {place}{' quietly' * action.quiet}")
        return lambda: _write(copy, place, right, action.quiet)

    # --- parts ---------------------------------------------------------------------------------------------

    def _processes(self, action: Action) -> list[psutil.Process]:
        program = self._programs[action.machine]
        if not program.pid or program.exit_code() is not None:
            raise NetworkError("it does not run")
        if action.what == SUPERVISOR:
            return [psutil.Process(program.pid)]
        if action.what == EVERYTHING:
            return [psutil.Process(program.pid), *children_of([program.pid])]
        child = program.children().get(action.what)
        if child is None:
            raise NetworkError("none runs now")
        return [child]

    def _go_down(self, machine: str) -> None:
        self._programs[machine].kill()
        self._down[machine] = self._down.get(machine, 0) + 1
        self._restart_at.pop(machine, None)

    def _disk(self, action: Action) -> SmallDisk:
        peer = self._peers[action.machine]
        path = peer.data_dir if action.what == "data" else peer.download_dir
        return self._disks[path]


def spot(content: Path, part: float) -> tuple[Path, int]:
    """The file of ``content``, and the offset in it, where ``part`` of its bytes end; below 1."""
    files: Sequence[Path] = [content]
    if content.is_dir():
        files = sorted(path for path in content.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    place = int(part * sum(sizes))
    for path, size in zip(files, sizes, strict=True):
        if place < size:
            return path, place
        place -= size
    raise ValueError(f"{content} has no bytes at {part}")


def _read(path: Path, place: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(DAMAGED_BYTES)


def _write(path: Path, place: int, data: bytes, quiet: bool) -> None:
    """``quiet``: its times stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)
    if quiet:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _how(program: Program) -> str:
    code = program.exit_code()
    if not program.pid or code is None:
        return "killed"
    last = next(iter(program.log_tail()[-1:]), "nothing")
    return f"by signal {-code}" if code < 0 else f"with exit code {code}; it said last: {last}"


def _called(role: str) -> str:
    return "all of it is" if role == EVERYTHING else f"its {role} is"
