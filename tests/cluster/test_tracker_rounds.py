"""One of two trackers is killed at any moment of downloads and rollouts, and comes back: all get what they want, and
nothing that was shared is lost. A round is compared with one like it in which nobody is killed.

A few rounds are a slow test; twenty are those that `docs/RELIABILITY.md` counts.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from cluster.content import Original
from cluster.local import LocalCluster, LocalPeer, LocalTracker
from cluster.verify import Reference
from node.api_messages import (
    ApiAccepted,
    ApiCancelRollout,
    ApiDone,
    ApiGet,
    ApiList,
    ApiListReply,
    ApiReply,
    ApiRequest,
    ApiRollout,
    ApiRolloutReply,
    ApiShare,
    JobStatus,
)
from tests.cluster.conftest import Place
from tests.cluster.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1024 * 1024
RATE, SIZE = 8 * MIB, 16 * MIB
KILL_SECONDS = SIZE / RATE
"""The tracker is killed within this time of the beginning."""
AWAY_SECONDS_MAX = 4.0
LONGER_SECONDS_MAX = 10.0
"""How much longer than usual a round with a kill may take, on a busy machine."""
Reply = TypeVar("Reply", bound=ApiReply)

log = logging.getLogger(__name__)


class Swarm:
    """Two trackers, a seeder, one who gets things and one who accepts orders."""

    def __init__(self, cluster: LocalCluster, root: Path) -> None:
        self._cluster, self._root = cluster, root
        cluster.start_tracker()
        self._seeder, self._receiver = cluster.add_peers(["seeder", "receiver"], {"upload_rate": RATE})
        self._place = root / "ordered"
        (self._taker,) = cluster.add_peers(["taker"], {"rollouts": str(self._place)})
        cluster.wait_joined()
        self._names: set[str] = set()

    def run(self, name: str) -> float:
        """One round, with content of this ``name``. How many seconds it takes until all have that."""
        original = Original(self._root / name, name, SIZE)
        original.path.write_bytes(os.urandom(SIZE))
        began = time.monotonic()
        seeder, receiver, taker = self._seeder, self._receiver, self._taker
        _ask(seeder, ApiShare(seeder.line.next_id(), str(original.path), "blake3"), ApiAccepted)
        shared = until(lambda: _done(seeder, name), f"{name} is shared")
        get = ApiGet(receiver.line.next_id(), name, str(receiver.download_dir), b"", False, False)
        _ask(receiver, get, ApiAccepted)
        _ask(seeder, ApiRollout(seeder.line.next_id(), shared.link), ApiRolloutReply)
        for peer in (receiver, taker):
            until(lambda peer=peer: _done(peer, name), f"{peer.name} has {name}")  # type: ignore[misc]
        took = time.monotonic() - began
        for directory in (receiver.download_dir, self._place):
            assert Reference(original.path).difference(directory / name) == ""
        self._names.add(name)
        for peer in (seeder, receiver, taker):
            listed = _ask(peer, ApiList(peer.line.next_id(), ""), ApiListReply)
            assert {entry.name for entry in listed.entries} == self._names, peer.name
        _ask(seeder, ApiCancelRollout(seeder.line.next_id(), name), ApiDone)  # a peer may give only some
        return took

    def with_kill(self, name: str, rng: Random) -> float:
        """The same, with a tracker killed within it, which is back before this returns."""
        tracker = rng.choice(self._cluster.trackers)
        with ThreadPoolExecutor(1) as other:  # it takes a while until all of a program is reaped
            killed = other.submit(_kill, tracker, rng.uniform(0.0, KILL_SECONDS), rng.uniform(0.0, AWAY_SECONDS_MAX))
            took = self.run(name)
            killed.result()
        return took


def _kill(tracker: LocalTracker, after: float, away: float) -> None:
    """``tracker`` is killed ``after`` seconds from now, and started again ``away`` seconds later."""
    time.sleep(after)
    tracker.kill()
    time.sleep(away)
    tracker.start()


def _ask(peer: LocalPeer, request: ApiRequest, kind: type[Reply]) -> Reply:
    reply = peer.request(request)
    assert isinstance(reply, kind), reply
    return reply


def _done(peer: LocalPeer, name: str) -> JobStatus | None:
    jobs = [job for job in peer.status().jobs if job.name == name]
    assert not any(job.phase == "failed" for job in jobs), jobs
    return next((job for job in jobs if job.phase == "done"), None)


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
    usual, killed = [], []
    for number in range(rounds):
        usual.append(swarm.run(f"usual-{number}.bin"))
        killed.append(swarm.with_kill(f"killed-{number}.bin", rng))
        log.info("round %d: %.2f s, with a tracker killed %.2f s", number, usual[-1], killed[-1])
    longer = [seconds - statistics.median(usual) for seconds in killed]
    log.info(
        "usually %.2f s (%.2f to %.2f); with a tracker killed %.2f s longer, at most %.2f s",
        statistics.median(usual),
        min(usual),
        max(usual),
        statistics.median(longer),
        max(longer),
    )
    assert max(longer) <= LONGER_SECONDS_MAX, longer
