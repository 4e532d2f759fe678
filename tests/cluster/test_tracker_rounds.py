"""One of two trackers is killed at any moment of downloads and rollouts, and comes back: all get what they want.

A few rounds are a slow test; twenty are those that `docs/RELIABILITY.md` counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cluster.content import Original
from cluster.local import LocalCluster, LocalPeer
from cluster.verify import Reference
from node.api_messages import ApiAccepted, ApiGet, ApiRollout, ApiRolloutReply, ApiShare, JobStatus
from tests.cluster.conftest import Place

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1024 * 1024
RATE, SIZE = 8 * MIB, 16 * MIB
KILL_SECONDS = SIZE / RATE
"""The tracker is killed within this time of the beginning."""
AWAY_SECONDS_MAX = 4.0
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 60.0


class Swarm:
    """Two trackers, a seeder, one who gets things and one who accepts orders."""

    def __init__(self, cluster: LocalCluster, root: Path) -> None:
        self._cluster, self._root = cluster, root
        cluster.start_tracker()
        self._seeder, self._receiver = cluster.add_peers(["seeder", "receiver"], {"upload_rate": RATE})
        self._place = root / "ordered"
        (self._taker,) = cluster.add_peers(["taker"], {"rollouts": str(self._place)})
        cluster.wait_joined()

    def run(self, name: str, rng: Random) -> None:
        """One round, with content of this ``name``."""
        original = Original(self._root / name, name, SIZE)
        original.path.write_bytes(os.urandom(SIZE))
        tracker = rng.choice(self._cluster.trackers)
        kill_at = time.monotonic() + rng.uniform(0.0, KILL_SECONDS)
        back_at = kill_at + rng.uniform(0.0, AWAY_SECONDS_MAX)

        def happens() -> None:
            nonlocal kill_at, back_at
            if time.monotonic() >= kill_at:
                kill_at = float("inf")
                tracker.kill()
            if kill_at == float("inf") and time.monotonic() >= back_at:
                back_at = float("inf")
                tracker.start()

        seeder, receiver = self._seeder, self._receiver
        self._ask(seeder, ApiShare(seeder.line.next_id(), str(original.path), "blake3"))
        shared = self._until(lambda: self._done(seeder, name), happens, f"{name} is shared")
        self._ask(receiver, ApiGet(receiver.line.next_id(), name, str(receiver.download_dir), b"", False, False))
        order = seeder.request(ApiRollout(seeder.line.next_id(), shared.link))
        assert isinstance(order, ApiRolloutReply), order
        for peer, directory in ((receiver, receiver.download_dir), (self._taker, self._place)):
            self._until(lambda peer=peer: self._done(peer, name), happens, f"{peer.name} has {name}")  # type: ignore[misc]
            assert Reference(original.path).difference(directory / name) == ""
        self._until(lambda: back_at == float("inf"), happens, "the tracker is back")

    def _ask(self, peer: LocalPeer, message: ApiShare | ApiGet) -> None:
        assert isinstance(peer.request(message), ApiAccepted)

    @staticmethod
    def _done(peer: LocalPeer, name: str) -> JobStatus | None:
        jobs = [job for job in peer.status().jobs if job.name == name]
        assert not any(job.phase == "failed" for job in jobs), jobs
        return next((job for job in jobs if job.phase == "done"), None)

    @staticmethod
    def _until(look: Callable[[], Any], happens: Callable[[], None], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
            happens()
            time.sleep(LOOK_SECONDS)
        return found


@pytest.fixture
def swarm(place: Place, tmp_path: Path) -> Iterator[Swarm]:
    """Leaving checks that nothing is left of it."""
    root = tmp_path / "cluster"
    root.mkdir()
    with LocalCluster(root, {"heartbeat": "500ms", "lease": "2s"}, same_ports=True, trackers=2) as cluster:
        yield Swarm(cluster, root)
    assert place.is_clean()


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_tracker_that_dies_stops_nobody(swarm: Swarm, rounds: int) -> None:
    rng = Random(rounds)
    for number in range(rounds):
        swarm.run(f"content-{number}.bin", rng)
