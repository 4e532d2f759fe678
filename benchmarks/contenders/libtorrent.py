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
    Round,
    Task,
    cpu_seconds,
    directories,
    remove_copies,
)
from benchmarks.contenders.helper import Helper

MODULE = "benchmarks.contenders.libtorrent_process"


class Libtorrent:
    name = "libtorrent"
    verifies = "pieces"

    def missing(self) -> str:
        return "" if importlib.util.find_spec("libtorrent") else "pip install libtorrent"

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningLibtorrent]:
        with ExitStack() as stack:
            yield RunningLibtorrent(task, [stack.enter_context(Helper(MODULE)) for _ in range(task.receivers + 1)])


class RunningLibtorrent:
    def __init__(self, task: Task, sessions: list[Helper]) -> None:
        self._sessions = sessions
        self._directories = directories(task)
        self._copies = [directory / task.content.name for directory in self._directories]
        ports = [session.ask("open", START_SECONDS)["port"] for session in sessions]
        self._addresses = [["127.0.0.1", port] for port in ports]
        self._torrent = sessions[0].ask("seed", START_SECONDS, path=str(task.content))["torrent"]

    def run(self) -> Round:
        pids = [session.pid for session in self._sessions]
        receivers = self._sessions[1:]
        before = cpu_seconds(pids)
        began = time.time()
        for number, (receiver, directory) in enumerate(zip(receivers, self._directories, strict=True), 1):
            others = self._addresses[:number]  # who comes later dials this one
            receiver.tell("get", torrent=self._torrent, directory=str(directory), peers=others, seconds=ROUND_SECONDS)
        ended = max(receiver.hear(ROUND_SECONDS)["at"] for receiver in receivers)
        return Round(ended - began, cpu_seconds(pids) - before, self._copies)

    def clear(self) -> None:
        for receiver in self._sessions[1:]:
            receiver.ask("forget", ROUND_SECONDS)
        remove_copies(self._copies)
