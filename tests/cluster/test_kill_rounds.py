"""``kill -9`` of any process at any moment: of a share, a download, its last moments, a change of what is shared.

A round draws what is done, who is killed, and when; then everything runs again, and whoever is to have the content has
to get it. `docs/RELIABILITY.md` says how that ended; `test_faults` is what CI tries of it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from cluster.chaos.faults import Faults
from cluster.chaos.plan import ROLES, Action
from cluster.chaos.wants import Want
from cluster.content import Original
from cluster.local import TRACKER, LocalCluster
from cluster.verify import Reference
from node.api_messages import ApiList, ApiListReply, ApiShare, JobStatus
from node.client.lines import latest_statuses
from protocol.limits import JOURNAL_GROUP_SECONDS
from tests.cluster.conftest import Place
from tests.cluster.waiting import LOOK_SECONDS, Found, until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.long, pytest.mark.alone, pytest.mark.timeout(600)]

BLOCKS, ROUNDS = 20, 10
MIB = 1024 * 1024
RATE = 10 * MIB
"""What the seeder sends at most, in bytes/s."""
SIZE = 40 * MIB
LATE_SECONDS = 0.5
"""How much later than it is due the journal may be written, on a busy machine."""
SCAN_SECONDS = 0.3
ASK_AGAIN_SECONDS = 2.0
CRASH = "all its processes"
ACTIVITIES: Mapping[str, float] = {
    "share": 0.4,
    "download": SIZE / RATE,
    "finish": 0.4,
    "list update": 4 * SCAN_SECONDS,
}
"""What is done; within how many seconds of its beginning somebody is killed."""
FINISHING_PART = 0.9
"""The part of the content that is there when a download begins to finish."""

log = logging.getLogger(__name__)


class Round(NamedTuple):
    """While ``activity`` goes on, ``after`` seconds from its beginning, ``role`` of ``machine`` is killed."""

    activity: str
    machine: str
    role: str
    after: float

    @property
    def ends_download(self) -> bool:
        """Whether the download has to begin again, with what it finds on the disk."""
        return self.machine == "receiver" and self.role in (CRASH, "supervisor", "downloader")


def draw_round(rng: Random) -> Round:
    activity = rng.choice(list(ACTIVITIES))
    machine = rng.choice([TRACKER, "seeder", "receiver"])
    role = rng.choice([*ROLES[machine == TRACKER], CRASH])
    return Round(activity, machine, role, rng.uniform(0.0, ACTIVITIES[activity]))


class Swarm:
    """A tracker, a seeder that shares what is in the folder ``items``, and a receiver."""

    def __init__(self, cluster: LocalCluster, root: Path) -> None:
        self._originals = root / "originals"
        self._items = root / "items"
        for directory in (self._items, self._originals):
            directory.mkdir()
        cluster.start_tracker()
        scan = {"scan_seconds": SCAN_SECONDS}
        (self._seeder,) = cluster.add_peers(["seeder"], {**scan, "share": [str(self._items)], "upload_rate": RATE})
        (self._receiver,) = cluster.add_peers(["receiver"], scan)
        self._copies: dict[Path, Path] = {}
        self._events: list[str] = []
        self._faults = Faults(cluster, {}, {}, self._events.append)
        cluster.wait_joined()

    def run(self, name: str, this: Round) -> None:
        """One round, with content of this ``name``."""
        self._events += [f"{name}: {this}"]
        original = Original(self._originals / name, name, SIZE)
        original.path.write_bytes(os.urandom(SIZE))
        folder = self._seeder.download_dir
        withdrawn: list[str] = []
        if this.activity == "list update":
            withdrawn = [path.name for path in self._items.iterdir()]
            folder = self._items
        path = folder / name
        path.with_suffix(".tmp").write_bytes(original.path.read_bytes())
        path.with_suffix(".tmp").rename(path)
        for gone in withdrawn:
            (folder / gone).unlink()
            del self._copies[folder / gone]
        self._copies[path] = original.path
        if this.activity == "share":
            self._share(path)
        if this.activity in ("share", "list update"):
            self._kill(this)
        digest = self._until_listed(path, withdrawn)
        received = self._download(this, digest, name)
        self._copies[self._receiver.download_dir / name] = original.path
        self._check()
        in_flight = RATE * (JOURNAL_GROUP_SECONDS + LATE_SECONDS) if this.ends_download else 0
        log.info("%s: %s: received %.3f of its bytes", name, this, received / SIZE)
        assert received <= SIZE + in_flight, f"{received} bytes were received"

    def _share(self, path: Path) -> None:
        self._seeder.line.send(ApiShare(self._seeder.line.next_id(), str(path), "blake3"))

    def _kill(self, this: Round, meanwhile: Callable[[], object] = lambda: None) -> None:
        """After the time that it says. ``meanwhile`` is called until then."""
        kill_at = time.monotonic() + this.after
        while (left := kill_at - time.monotonic()) > 0:
            meanwhile()
            time.sleep(min(left, LOOK_SECONDS))
        if this.role == CRASH:
            self._faults.act(Action(0.0, "crash", this.machine), time.monotonic())
        else:
            self._faults.act(Action(0.0, "kill", this.machine, this.role), time.monotonic())

    def _until_listed(self, path: Path, withdrawn: list[str]) -> str:
        """The digest of what ``path`` is, once the tracker lists that, and that the seeder has none of what is
        ``withdrawn``. What a person asked of a process that was killed they ask again."""
        asked_at = time.monotonic()

        def listed() -> str:
            nonlocal asked_at
            if path.parent != self._items and time.monotonic() - asked_at > ASK_AGAIN_SECONDS:
                asked_at = time.monotonic()
                self._share(path)
            if any(list((self._listed(name) or {}).values()) != [1] for name in withdrawn):  # the receiver has it
                return ""
            return next(iter(self._listed(path.name) or {}), "")

        if path.parent != self._items:
            self._share(path)
        return self._until(listed, f"{path.name} is listed, and {withdrawn} not")

    def _listed(self, name: str) -> dict[str, int] | None:
        """How many have each content with this name, by its digest, as the tracker tells the receiver; None when it
        tells nothing now."""
        request = ApiList(self._receiver.line.next_id(), name, exact=True)
        self._receiver.line.send(request)
        reply = self._receiver.line.reply_to(request, 1.0)
        if not isinstance(reply, ApiListReply) or reply.settling:
            return None
        return {entry.digest: entry.have for entry in reply.entries if entry.have}

    def _download(self, this: Round, digest: str, name: str) -> int:
        """The receiver gets it. Returns how many bytes came, as far as they were reported."""
        content = JobStatus(0, "share", "done", name, digest, SIZE, link=digest)
        want = Want(self._receiver, content, True)
        want.ask(time.monotonic())

        received = [0]

        def reached(part: float) -> bool:
            status = latest_statuses({0: self._receiver.line}, 1.0).get(0)
            if status is None:
                return False
            want.update(status, time.monotonic(), self._events.append)
            gets = [job.download for job in status.jobs if job.kind == "get" and job.digest == digest and job.download]
            received.extend(download.received_bytes for download in gets[-1:])
            return want.done or any(download.done_bytes >= part * SIZE for download in gets)

        if this.activity in ("download", "finish"):
            part = FINISHING_PART if this.activity == "finish" else 0.0
            self._until(lambda: reached(part), f"the receiver has {part:.0%} of {name}")
            self._kill(this, lambda: reached(part))
        self._until(lambda: reached(1.0) and want.done, f"the receiver has {name}")
        runs = [last for last, first in zip(received, [*received[1:], 0], strict=True) if first < last]
        return sum(runs)

    def _check(self) -> None:
        """What was shared and received is there, byte for byte, and nothing else is."""
        for directory in {path.parent for path in self._copies}:
            names = {path.name for path in self._copies if path.parent == directory}
            assert {path.name for path in directory.iterdir()} == names
        for path, original in self._copies.items():
            assert Reference(original).difference(path) == "", path

    def _until(self, look: Callable[[], Found | None], what: str) -> Found:
        """The first true value of ``look``. Meanwhile what was killed is started again."""
        return until(look, what, lambda: self._faults.tick(time.monotonic()), self._events)


@pytest.fixture
def swarm(place: Place, tmp_path: Path) -> Iterator[Swarm]:
    """Leaving checks that nothing is left of it."""
    root = tmp_path / "cluster"
    root.mkdir()
    with LocalCluster(root, {"heartbeat": "500ms", "lease": "2s"}, same_ports=True) as cluster:
        yield Swarm(cluster, root)
    assert place.is_clean()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_file_is_lost_or_wrong_and_little_is_fetched_again(swarm: Swarm, block: int) -> None:
    rng = Random(block)
    for number in range(ROUNDS):
        swarm.run(f"content-{number}.bin", draw_round(rng))
