"""The floor: what moving verified bytes over ZeroMQ costs when nothing else is done.

One ROUTER sends pieces to a DEALER of each receiver, which hashes each with BLAKE3 and writes it. One hop, no swarm, no
tracker, no resuming, nothing made durable; the content is not hashed as a whole.
"""

from __future__ import annotations

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
from service.supervisor import MALLOC_SETTINGS

MODULE = "benchmarks.contenders.floor_process"


class Floor:
    name = "pyzmq floor"
    verifies = "pieces"

    def missing(self) -> str:
        return ""

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningFloor]:
        with ExitStack() as stack:
            source, *receivers = [
                stack.enter_context(Helper(MODULE, MALLOC_SETTINGS)) for _ in range(task.receivers + 1)
            ]
            yield RunningFloor(task, source, receivers)


class RunningFloor:
    def __init__(self, task: Task, source: Helper, receivers: list[Helper]) -> None:
        self._helpers = [source, *receivers]
        self._receivers = receivers
        self._copies = [directory / task.content.name for directory in directories(task)]
        said = source.ask("open", START_SECONDS, path=str(task.content))
        for receiver, copy in zip(receivers, self._copies, strict=True):
            receiver.ask("connect", START_SECONDS, **said, size=task.size, path=str(copy))
        self._source = source

    def run(self) -> Round:
        pids = [helper.pid for helper in self._helpers]
        before = cpu_seconds(pids)
        began = time.monotonic()
        self._source.tell("send", receivers=len(self._receivers))
        for receiver in self._receivers:
            receiver.tell("get")
        for helper in (*self._receivers, self._source):
            helper.hear(ROUND_SECONDS)
        return Round(time.monotonic() - began, cpu_seconds(pids) - before, self._copies)

    def clear(self) -> None:
        remove_copies(self._copies)
