"""Strangers that attack a real tracker, while an honest peer goes on asking it.

It is answered half as fast as before at least, and no process of the tracker takes much memory for the attack.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from protocol import messages
from protocol.endpoints import parse_endpoint
from protocol.limits import CONTROL_BYTES_MAX, MIB
from tests.broker.running import Client, RunningTracker
from tests.hostile.strangers import (
    ATTACK_SECONDS,
    Attack,
    DeafFlood,
    Endless,
    Flood,
    Subscribers,
    framed,
    note,
    resident_bytes,
)

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.alone]

SECONDS = max(3.0, ATTACK_SECONDS)
"""How long an attack lasts."""
SPARE_SECONDS = 0.1
"""What an answer may take longer than twice as long as before: the attack needs a part of the machine too."""
MEMORY_BYTES = 192 * MIB
"""What a process may take for an attack."""
NEIGHBOUR, STRANGER = "127.0.0.1", "127.0.0.2"
"""An attack from the address of the honest peer, and one from another."""
NOBODY = f"blake3:{64 * '0'}"
TOKEN = b"t" * 16


class Scene:
    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.tracker = stack.enter_context(RunningTracker(directory, config="lookups: 1\nlease: 60s\n"))
        self.honest = stack.enter_context(Client(self.tracker))
        self.honest.join("honest")
        lookup = self.tracker.endpoints["lookups"][0]
        self.ports = {
            "registrar": parse_endpoint(self.tracker.endpoints["registrar"]).port,
            "roster": parse_endpoint(self.tracker.endpoints["roster"]).port,
            "lookup": parse_endpoint(lookup).port,
        }
        children = psutil.Process(self.tracker.process.pid).children()
        self.pids = [child.pid for child in children if {"broker.registrar", "broker.lookup"} & set(child.cmdline())]

    def ask(self) -> float:
        """How long both processes take to answer, in seconds; both answered within their time."""
        began = time.monotonic()
        heartbeat = messages.Heartbeat(1, "honest", b"honest".ljust(16, b"-"), 1, 0)
        self.honest.ask(self.honest.registrar, heartbeat, messages.Ok)
        self.honest.ask(self.honest.lookups[0], messages.GetSeederList(1, NOBODY), messages.SeederList)
        return time.monotonic() - began

    def endures(self, attack: Attack) -> None:
        alone = statistics.median(self.ask() for _ in range(20))
        before = {pid: resident_bytes(pid) for pid in self.pids}
        peaks, took = dict(before), []
        with attack:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                took.append(self.ask())
                peaks = {pid: max(peak, resident_bytes(pid)) for pid, peak in peaks.items()}
        note(attack, max(peaks[pid] - before[pid] for pid in self.pids), alone, statistics.median(took))
        assert statistics.median(took) <= 2 * alone + SPARE_SECONDS
        assert max(took) < 3.0
        assert all(peaks[pid] - before[pid] <= MEMORY_BYTES for pid in self.pids), (before, peaks)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("tracker"), stack)


@pytest.fixture
def asked() -> bytes:
    heartbeat = messages.Heartbeat(1, "nobody", TOKEN, 1, 0)
    return 500 * framed(heartbeat, messages.GetSeederList(1, NOBODY))


every = pytest.mark.parametrize("process", ["registrar", "lookup"])


@every
@pytest.mark.parametrize("frame_bytes", [CONTROL_BYTES_MAX - 1, 0])
def test_messages_without_end(scene: Scene, process: str, frame_bytes: int) -> None:
    scene.endures(Endless(scene.ports[process], STRANGER, frame_bytes))


@pytest.mark.parametrize("topic_bytes", [20, 500, 4_000])
def test_subscriptions_without_end(scene: Scene, topic_bytes: int) -> None:
    scene.endures(Subscribers(scene.ports["roster"], STRANGER, topic_bytes))


@every
@pytest.mark.parametrize("kind", [Flood, DeafFlood])
@pytest.mark.parametrize("address", [STRANGER, NEIGHBOUR])
def test_floods(scene: Scene, process: str, kind: type[Flood | DeafFlood], address: str, asked: bytes) -> None:
    """Who is in at the address of the flood stays in."""
    scene.endures(kind(scene.ports[process], address, asked))
