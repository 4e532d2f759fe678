"""What many peers with long lists cost a tracker: its memory, and how long it takes to know them again."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.contenders.contender import START_SECONDS, cpu_seconds
from benchmarks.contenders.helper import Answer, Helper
from benchmarks.peaks import memory_of
from benchmarks.tracker_figures import Registered
from benchmarks.tracker_load import samples
from benchmarks.tracker_load.conversation import Conversation
from cluster.local import LocalCluster
from protocol.errors import NetworkError, UsageError
from protocol.messages import GetSeederList, SeederList

MODULE = "benchmarks.tracker_load.light_peers_process"
PROCESSES_COUNT = 4
"""Of light peers: a process looks at all its sockets whenever it has to look at one."""
LIGHT_PEER_FILES_COUNT = 4
"""Open files of a light peer: a connection and what ZeroMQ wakes three sockets with."""
SETTINGS = {"lease": "1h"}
"""Processes whose light peers are all members say nothing while the others are waited for."""
OTHER_FILES_COUNT = 64
"""What a process has open besides."""
SECONDS_MAX, ENTRIES_PER_SECOND_MIN = 60.0, 5_000


def check_open_files(peers: int) -> None:
    """Raises `UsageError` when a process must not open as many files as ``peers`` need."""
    needed = OTHER_FILES_COUNT + max(peers, LIGHT_PEER_FILES_COUNT * -(-peers // PROCESSES_COUNT))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        raise UsageError(
            f"{peers} peers need {needed} open files in one process, and {allowed} are allowed here: "
            f"raise that (ulimit -Hn) or take fewer --peers"
        )


def measure_registry(root: Path, peers: int, files: int, tell: Callable[[str], None]) -> Registered:
    """``peers`` that list the same ``files`` join a new tracker, whose registrar is then killed. ``root``: an existing,
    empty directory."""
    seconds = SECONDS_MAX + peers * files / ENTRIES_PER_SECOND_MIN
    tell(f"registry: starting a tracker and {peers} light peers")
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster(root, SETTINGS))
        cluster.start_tracker()
        light = LightPeers(stack, cluster, peers, files, seconds)
        registrar, lookup = (cluster.tracker.program.children()[role].pid for role in ("registrar", "lookup"))
        before, lookup_before = memory_of(registrar), memory_of(lookup)
        light.begin(after=0)
        first = light.wait()
        after, lookup_after, lookup_cpu = memory_of(registrar), memory_of(lookup), cpu_seconds([lookup])

        tell(f"registry: {peers * files:,} entries are known; killing the registrar")
        light.begin(after=first.epoch)
        killed_at = time.monotonic()
        cluster.tracker.kill_role("registrar")
        again = light.wait()
        return Registered(
            entries=peers * files,
            registrar_before=before.resident,
            registrar_after=after.resident,
            registrar_peak=after.peak,
            lookup_before=lookup_before.resident,
            lookup_after=lookup_after.resident,
            members_s=round(again.members_at - killed_at, 2),
            lookup_s=round(again.known_at - killed_at, 2),
            registrar_cpu_s=round(cpu_seconds([cluster.tracker.program.children()["registrar"].pid]), 2),
            lookup_cpu_s=round(cpu_seconds([lookup]) - lookup_cpu, 2),
            peers_cpu_s=round(again.cpu_s, 2),
        )


class Joined(NamedTuple):
    """All are members of the registrar with ``epoch`` since ``members_at``, and a lookup knows it since ``known_at``
    (monotonic seconds). ``cpu_s``: what the light peers have used for it."""

    epoch: int
    members_at: float
    known_at: float
    cpu_s: float


class LightPeers:
    """``peers`` that list ``files``, in processes that end with ``stack``. Each step may take so many ``seconds``."""

    def __init__(self, stack: ExitStack, cluster: LocalCluster, peers: int, files: int, seconds: float) -> None:
        self._peers, self._files, self._seconds = peers, files, seconds
        count = min(PROCESSES_COUNT, peers)
        self._processes = [stack.enter_context(Helper(MODULE)) for _ in range(count)]
        self._asker = stack.enter_context(Conversation(cluster.tracker.endpoints["lookups"][0]))
        for number, process in enumerate(self._processes):
            process.tell("start", tracker=cluster.tracker.endpoint, numbers=[number, peers, count], files=files)
        self._hear()

    def begin(self, after: int) -> None:
        """They join any registrar whose epoch is above ``after``."""
        for process in self._processes:
            process.tell("members", after=after, within=self._seconds)

    def wait(self) -> Joined:
        """Until they have, and a lookup has all that they were welcomed for."""
        said = self._hear()
        epoch, seq = max((answer["epoch"], answer["seq"]) for answer in said)
        question = GetSeederList(self._asker.next_id(), samples.digest(self._files - 1), "", epoch, seq)
        total = self._asker.ask(question, SeederList, self._seconds).total
        if total != self._peers:
            raise NetworkError(f"the lookup knows {total} of {self._peers} peers")
        members_at, cpu_s = max(answer["at"] for answer in said), sum(answer["cpu_s"] for answer in said)
        return Joined(epoch, members_at, time.monotonic(), cpu_s)

    def _hear(self) -> list[Answer]:
        return [process.hear(START_SECONDS + self._seconds) for process in self._processes]
