"""``kill -9`` of every process there is, in the middle of a download: all others finish, and whoever was killed too."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.content import Original, copy_content
from cluster.local import LocalCluster, LocalPeer
from cluster.verify import Reference
from node.api_messages import ApiAccepted, ApiGet, ApiRequest, ApiShare, JobStatus, StatusReport
from node.client.lines import latest_statuses
from node.disk.journal import JOURNAL_NAME
from tests.cluster.conftest import Place

pytestmark = [pytest.mark.process, pytest.mark.slow]

SIZE = 8 * 1024 * 1024
UPLOAD_RATE = "2 MiB/s"
"""Of each peer: three of them take about three seconds to give two receivers everything."""
MEMORY = Path("/dev/shm")
PATIENCE_SECONDS = 40.0
LOOK_SECONDS = 0.05


class Swarm:
    """A tracker, a seeder and two receivers, which have just been told to get; the second into ``elsewhere``."""

    def __init__(self, cluster: LocalCluster, original: Original, elsewhere: Path) -> None:
        self.cluster = cluster
        self.original = original
        cluster.start_tracker()
        self.peers = cluster.add_peers(["seeder", "first", "second"], {"upload_rate": UPLOAD_RATE, "scan_seconds": 0.5})
        self.seeder, self.first, self.second = self.peers
        copy = copy_content(original, self.seeder.download_dir)
        cluster.wait_joined()
        self.ask(self.seeder, ApiShare(self.seeder.line.next_id(), str(copy), "blake3"))
        self.shared = self.until(self.seeder, lambda status: _done(status, "share"))
        self.directories = {self.first: self.first.download_dir, self.second: elsewhere}
        for peer, directory in self.directories.items():
            self.ask(peer, ApiGet(peer.line.next_id(), self.shared.link, str(directory), b"", False, False))

    def ask(self, peer: LocalPeer, message: ApiRequest) -> None:
        assert isinstance(peer.request(message), ApiAccepted)

    def until(self, peer: LocalPeer, condition: Callable[[StatusReport], JobStatus | None]) -> JobStatus:
        """What ``condition`` returns of the status of ``peer`` once it is true. It may be restarting meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        last: StatusReport | None = None
        while time.monotonic() < deadline:
            last = latest_statuses({peer: peer.line}, LOOK_SECONDS).get(peer, last)
            if last is not None and (found := condition(last)) is not None:
                return found
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"{peer.name}: not within {PATIENCE_SECONDS:g} s; {last}; {peer.program.log_tail()}")

    def await_share(self, peer: LocalPeer, share: float) -> None:
        """Until ``peer`` has so much of it, and not all."""
        job = self.until(peer, lambda status: _has(status, share * SIZE))
        assert job.phase == "downloading", job

    def await_journal(self, peer: LocalPeer) -> None:
        """Until the journal of ``peer`` has taken note of something it has."""
        self.await_share(peer, 0.05)
        log = peer.data_dir / f"{JOURNAL_NAME}-wal"
        begun = log.stat().st_size
        self.until(peer, lambda status: _has(status, 0) if log.stat().st_size > begun else None)

    def await_copies(self) -> None:
        """Until both have it, verified byte for byte."""
        for peer, directory in self.directories.items():
            self.until(peer, lambda status: _done(status, "get", shared=True))
            assert Reference(self.original.path).difference(directory / self.original.name) == ""
            assert [path.name for path in directory.iterdir()] == [self.original.name]


def _done(status: StatusReport, kind: str, shared: bool = False) -> JobStatus | None:
    for job in status.jobs:
        assert job.phase != "failed", job
        if job.kind == kind and job.phase == "done" and (status.shared or not shared):
            return job
    return None


def _has(status: StatusReport, size: float) -> JobStatus | None:
    return next((job for job in status.jobs if job.done_bytes >= size), None)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than the peers' data directories, where the machine has one."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        here = tmp_path / "elsewhere"
        here.mkdir()
        yield here
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.fixture
def swarm(place: Place, elsewhere: Path, tmp_path: Path) -> Iterator[Swarm]:
    """Leaving checks that nothing is left of it."""
    original = Original(tmp_path / "content.bin", "content.bin", SIZE)
    original.path.write_bytes(os.urandom(SIZE))
    settings = {"heartbeat": "500ms", "lease": "2s"}
    root = tmp_path / "cluster"
    root.mkdir()
    with LocalCluster(root, settings, same_ports=True) as cluster:
        yield Swarm(cluster, original, elsewhere)
    assert place.is_clean()


def test_each_process_of_a_receiver(swarm: Swarm) -> None:
    for role, share in (("downloader", 0.2), ("piece_server", 0.4), ("agent", 0.6)):
        swarm.await_share(swarm.first, share)
        swarm.first.kill_role(role)
    swarm.await_copies()


def test_each_process_of_the_only_seeder(swarm: Swarm) -> None:
    for role, share in (("piece_server", 0.2), ("agent", 0.4)):
        swarm.await_share(swarm.first, share)
        swarm.seeder.kill_role(role)
    swarm.await_copies()


def test_each_process_of_the_tracker(swarm: Swarm) -> None:
    for role, share in (("registrar", 0.2), ("lookup", 0.4)):
        swarm.await_share(swarm.first, share)
        swarm.cluster.tracker.kill_role(role)
    swarm.await_copies()


def test_the_whole_tracker(swarm: Swarm) -> None:
    swarm.await_share(swarm.first, 0.25)
    before = swarm.cluster.tracker.endpoints
    swarm.cluster.tracker.kill()
    swarm.cluster.tracker.start()
    assert swarm.cluster.tracker.endpoints == before
    swarm.await_copies()
    swarm.cluster.wait_joined()
    late = swarm.cluster.add_peers(["late"])
    swarm.cluster.wait_joined(late)
    swarm.ask(late[0], ApiGet(late[0].line.next_id(), "content.bin", str(late[0].download_dir), b"", False, False))
    swarm.until(late[0], lambda status: _done(status, "get"))


def test_a_whole_receiver_goes_on_from_what_it_has(swarm: Swarm) -> None:
    swarm.await_journal(swarm.first)
    swarm.first.kill()
    swarm.first.start()
    swarm.await_copies()
    job = swarm.until(swarm.first, lambda status: _done(status, "get"))
    assert job.download is not None
    assert job.download.resumed_bytes > 0
    assert job.download.received_bytes < SIZE


def test_the_whole_seeder_comes_back_with_what_it_shared(swarm: Swarm) -> None:
    swarm.await_share(swarm.first, 0.25)
    swarm.seeder.kill()
    swarm.seeder.start()
    swarm.await_copies()
    status = swarm.seeder.status()
    assert [item.digest for item in status.shared] == [swarm.shared.digest]
