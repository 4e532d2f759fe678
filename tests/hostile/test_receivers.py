"""Receivers that attack a real piece server, while an honest one gets files from it.

It gets them at half its rate at least, and the piece server's memory stays bounded, whether the attack comes from its
own address or from another.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from node.api_messages import ApiGet, ApiShare, JobStatus
from protocol import messages
from protocol.limits import MIB, PIECE_BYTES_MIN, STALLED_BYTES_MAX
from protocol.link import Link, parse_link
from tests.broker.running import RunningTracker
from tests.hostile.receivers import Complain, NeverAcknowledge, SessionsWithoutEnd, SlowReaders, get_manifests
from tests.hostile.strangers import (
    ATTACK_SECONDS,
    Attack,
    DeafFlood,
    Flood,
    FrameFlood,
    framed,
    note,
    resident_bytes,
)
from tests.node.test_peer_process import Peer, running, until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.alone]

FILE_BYTES = 32 * MIB
SPARE_SECONDS = 1.0
"""What a get may take longer than that: the attack needs a part of the machine too."""
MEMORY_BYTES = 3 * STALLED_BYTES_MAX
"""What the piece server may take for an attack."""
NEIGHBOUR, STRANGER = "127.0.0.1", "127.0.0.2"
"""An attack from the address of the honest receiver, and one from another."""


class Scene:
    """A peer that shares, and an honest one that gets."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        tracker = stack.enter_context(RunningTracker(directory, config="lookups: 1\nlease: 60s\n"))
        registrar = tracker.endpoints["registrar"]
        self.source, self.honest = Peer(directory / "source", registrar), Peer(directory / "honest", registrar)
        for peer in (self.source, self.honest):
            stack.enter_context(running(*peer.arguments))
        until("both are in", lambda: self.source.complete() and self.honest.complete())
        report = until("the source is complete", self.source.complete)
        self.pid = report.pids["piece_server"]
        self.port = int((self.source.data_dir / "port").read_text())
        self.peak = 0
        """Memory of the piece server, the most that was seen, in bytes."""
        self._names = map("content{}".format, itertools.count())

    def file(self) -> Link:
        path = self.directory / next(self._names)
        path.write_bytes(os.urandom(FILE_BYTES))
        return self._share(path)

    def tree(self) -> Link:
        """Its manifest has two pages."""
        path = self.directory / next(self._names)
        deep = path.joinpath(*(10 * letter * 20 for letter in "abcd"))
        deep.mkdir(parents=True)
        for number in range(400):
            (deep / f"{number}").write_bytes(b"%d" % number)
        (path / "unlike others").write_bytes(os.urandom(99))
        return self._share(path)

    def _share(self, path: Path) -> Link:
        job = self.source.finished(self.source.ask(ApiShare, str(path), "blake3"))
        assert job.phase == "done", job
        return parse_link(job.link)

    def get(self, link: Link) -> float:
        """How long it takes, in seconds."""
        began = time.monotonic()
        accepted = self.honest.ask(ApiGet, link.name, str(self.honest.directory), b"", False, False)

        def over() -> JobStatus | None:
            self.peak = max(self.peak, resident_bytes(self.pid))
            report = self.honest.status()
            jobs = report.jobs if report is not None else []
            return next((job for job in jobs if job.job == accepted.job and job.phase in ("done", "failed")), None)

        job = until(f"{link.name} is there", over)
        assert job.phase == "done", job
        return time.monotonic() - began

    def sent_bytes(self) -> int:
        """What the source has sent, as it says itself, once that stays the same."""
        report = self.source.status()
        assert report is not None
        return report.sent_bytes

    def endures(self, attack: Attack, links: list[Link], alone: float) -> None:
        """The honest receiver gets ``links``, of which it took ``alone`` seconds for one."""
        self.peak = before = resident_bytes(self.pid)
        with attack:
            took, began = [], time.monotonic()
            for number, link in enumerate(links, 1):
                while time.monotonic() < began + ATTACK_SECONDS * number / len(links):
                    self.peak = max(self.peak, resident_bytes(self.pid))
                    time.sleep(0.01)
                took.append(self.get(link))
        note(attack, self.peak - before, alone, statistics.median(took))
        assert statistics.median(took) <= 2 * alone + SPARE_SECONDS
        assert self.peak - before <= MEMORY_BYTES
        report = self.source.status()
        assert report is not None
        assert report.pids["piece_server"] == self.pid


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("receivers"), stack)


both = pytest.mark.parametrize("address", [STRANGER, NEIGHBOUR])


@both
def test_receivers_that_never_acknowledge(scene: Scene, address: str) -> None:
    first, *links = [scene.file() for _ in range(4)]
    scene.endures(NeverAcknowledge(scene.port, address, links[0].digest), links, scene.get(first))


@both
def test_complaints_about_good_pieces(scene: Scene, address: str) -> None:
    """Each costs one read of a piece that was sent, and what is shared stays so."""
    first, *links = [scene.file() for _ in range(4)]
    alone = scene.get(first)
    sent, read = scene.sent_bytes(), bytes_read(scene.pid)
    scene.endures(Complain(scene.port, address, links[0].digest), links, alone)
    sent, read = scene.sent_bytes() - sent, bytes_read(scene.pid) - read
    assert sent > 3 * FILE_BYTES + 200 * PIECE_BYTES_MIN, "there were complaints"
    assert read <= 2 * sent + 64 * MIB
    report = scene.source.status()
    assert report is not None
    assert {item.state for item in report.shared} == {""}


def bytes_read(pid: int) -> int:
    """What a process has read, from disks, caches and sockets."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])


@both
def test_sessions_without_end(scene: Scene, address: str) -> None:
    first, *links = [scene.file() for _ in range(4)]
    scene.endures(SessionsWithoutEnd(scene.port, address, links[0].digest), links, scene.get(first))


@both
def test_slow_readers_of_manifests(scene: Scene, address: str) -> None:
    first, *links = [scene.tree() for _ in range(4)]
    asked = get_manifests(links[0].digest, links[0].manifest)
    scene.endures(SlowReaders(scene.port, address, asked), links, scene.get(first))


@pytest.mark.parametrize("kind", [Flood, DeafFlood, FrameFlood])
def test_floods(scene: Scene, kind: type[Flood | DeafFlood | FrameFlood]) -> None:
    """From the honest receiver's own address its host would be refused, and it with it."""
    first, *links = [scene.file() for _ in range(4)]
    asked = 500 * framed(messages.Test(1, links[0].digest), messages.Test(2, f"blake3:{64 * '0'}"))
    scene.endures(kind(scene.port, STRANGER, asked), links, scene.get(first))
