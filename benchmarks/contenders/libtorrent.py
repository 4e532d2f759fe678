"""libtorrent, tuned for a network of one's own: a session in a process of its own for each machine.

Everything that limits it is opened: no encryption, no uTP, no choking, many requests under way, and everybody is
connected to everybody at once, with no tracker in between.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contenders.contender import (
    ROUND_SECONDS,
    START_SECONDS,
    Counters,
    Round,
    Task,
    Traffic,
    cpu_seconds,
    directories,
    remove_copies,
    settled_traffic,
)
from benchmarks.contenders.helper import Helper
from protocol.limits import MIB

MODULE = "benchmarks.contenders.libtorrent_process"
PIECE_BYTES = 1 * MIB


class Libtorrent:
    """With pieces of ``piece_bytes``."""

    name = "libtorrent"
    verifies = "pieces"

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        self._piece_bytes = piece_bytes

    def missing(self) -> str:
        return "" if importlib.util.find_spec("libtorrent") else "pip install libtorrent"

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningLibtorrent]:
        with ExitStack() as stack:
            hosts = task.peer_hosts()
            sessions = [stack.enter_context(Helper(MODULE, host=host)) for host in hosts]
            yield RunningLibtorrent(task, sessions, [host.address for host in hosts], self._piece_bytes)


class RunningLibtorrent:
    def __init__(self, task: Task, sessions: list[Helper], addresses: list[str], piece_bytes: int) -> None:
        self._sessions = sessions
        self._size = task.size
        self._seconds = task.seconds
        self._directories = directories(task)
        self._copies = [directory / task.content.name for directory in self._directories]
        opened = zip(sessions, addresses, strict=True)
        self._addresses = [
            (address, session.ask("open", START_SECONDS, address=address)["port"]) for session, address in opened
        ]
        seeded = sessions[0].ask("seed", START_SECONDS, path=str(task.content), piece_bytes=piece_bytes)
        self._torrent = seeded["torrent"]

    def run(self) -> Round:
        pids = [session.pid for session in self._sessions]
        receivers = self._sessions[1:]
        before = cpu_seconds(pids)
        began = time.monotonic()
        for number, (receiver, directory) in enumerate(zip(receivers, self._directories, strict=True), 1):
            others = self._addresses[:number]  # who comes later dials this one
            receiver.tell("get", torrent=self._torrent, directory=str(directory), peers=others, seconds=self._seconds)
        each = [receiver.hear(self._seconds)["at"] - began for receiver in receivers]
        return Round(max(each), cpu_seconds(pids) - before, self._copies, each)

    def traffic(self) -> Traffic:
        def look() -> list[Counters]:
            return [Counters(**session.ask("traffic", START_SECONDS)) for session in self._sessions]

        return settled_traffic(look, self._size)

    def clear(self) -> None:
        for receiver in self._sessions[1:]:
            receiver.ask("forget", ROUND_SECONDS)
        remove_copies(self._copies)
