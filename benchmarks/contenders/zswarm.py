"""This system: a tracker and peers, as `run_cluster.py` starts them, with their default settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contenders.contender import (
    ROUND_SECONDS,
    ContenderError,
    Counters,
    Round,
    Task,
    Traffic,
    cpu_seconds,
    remove_copies,
    settled_traffic,
)
from cluster.follow import Followed
from cluster.local import REQUEST_SECONDS, LocalCluster, LocalPeer
from cluster.processes import children_of
from cluster.report import peer_names
from node.api_messages import ApiAccepted, ApiDone, ApiGet, ApiRemove, ApiRequest, ApiShare, JobStatus
from node.client.lines import gather, latest_statuses
from protocol.link import parse_link

LOOK_SECONDS = 0.1
LOOKS_PER_SECOND = 50
"""At all peers together, where there are many of them: it leaves the cores to them."""


class Zswarm:
    name = "zswarm"
    verifies = "pieces, whole"

    def missing(self) -> str:
        return ""

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningZswarm]:
        with LocalCluster(task.directory, hosts=task.hosts) as cluster:
            cluster.start_tracker()
            peers = cluster.add_peers(peer_names(task.receivers + 1))
            cluster.wait_joined()
            yield RunningZswarm(task, cluster, peers)


class RunningZswarm:
    def __init__(self, task: Task, cluster: LocalCluster, peers: list[LocalPeer]) -> None:
        seeder, *self._receivers = self._peers = peers
        self._name = task.content.name
        self._size = task.size
        self._seconds = task.seconds
        self._copies = [peer.download_dir / self._name for peer in self._receivers]
        supervisors = [program.pid for program in cluster.programs()]
        self._pids = [*supervisors, *(child.pid for child in children_of(supervisors))]
        self._link = share(seeder, task.content, seconds=task.seconds)

    def run(self) -> Round:
        before = cpu_seconds(self._pids)
        began = time.monotonic()
        jobs = ask({peer: get(peer, self._link) for peer in self._receivers})
        look_seconds = max(LOOK_SECONDS, len(jobs) / LOOKS_PER_SECOND)
        each = [job.ended_monotonic - began for job in finished(jobs, look_seconds, self._seconds)]
        return Round(max(each), cpu_seconds(self._pids) - before, self._copies, each)

    def traffic(self) -> Traffic:
        """As its peers report it, of one round."""
        digest = parse_link(self._link).digest
        followed = {peer: Followed(peer.name, digest, self._size) for peer in self._peers}

        def look() -> list[Counters]:
            for peer, status in latest_statuses({peer: peer.line for peer in followed}, LOOK_SECONDS).items():
                followed[peer].update(status, time.monotonic())
            return [Counters(one.sent, one.received) for one in followed.values()]

        return settled_traffic(look, self._size)

    def clear(self) -> None:
        for peer in self._receivers:
            forget(peer, self._name)
        remove_copies(self._copies)


def ask(requests: Mapping[LocalPeer, ApiRequest]) -> dict[LocalPeer, int]:
    """Ask all at the same moment; the job of each."""
    replies = gather({peer.line: message for peer, message in requests.items()}, REQUEST_SECONDS)
    jobs = {}
    for peer in requests:
        reply = replies.get(peer.line)
        if not isinstance(reply, ApiAccepted):
            raise ContenderError(f"{peer.name} did not take the request: {reply}")
        jobs[peer] = reply.job
    return jobs


def finished(
    jobs: Mapping[LocalPeer, int], look_seconds: float = LOOK_SECONDS, seconds: float = ROUND_SECONDS
) -> list[JobStatus]:
    """Wait for all ``jobs``, looking seldom enough to leave the cores to the peers."""
    waiting, done = dict(jobs), []
    deadline = time.monotonic() + seconds
    while waiting:
        for peer, status in latest_statuses({peer: peer.line for peer in waiting}, look_seconds).items():
            job = next(job for job in status.jobs if job.job == waiting[peer])
            if job.phase == "failed":
                raise ContenderError(f"{peer.name}: {job.code}: {job.detail}")
            if job.phase == "done":
                done.append(job)
                del waiting[peer]
        if time.monotonic() > deadline:
            raise ContenderError(f"not done within {seconds:g} s: {', '.join(peer.name for peer in waiting)}")
        time.sleep(look_seconds)
    return done


def get(peer: LocalPeer, link: str) -> ApiGet:
    """Get ``link`` to where downloads of ``peer`` go."""
    return ApiGet(peer.line.next_id(), link, str(peer.download_dir), b"", False, False)


def share(peer: LocalPeer, path: Path, look_seconds: float = LOOK_SECONDS, seconds: float = ROUND_SECONDS) -> str:
    """Have ``peer`` share ``path``; the link, when the tracker lists it."""
    return finished(ask({peer: ApiShare(peer.line.next_id(), str(path), "blake3")}), look_seconds, seconds)[0].link


def forget(peer: LocalPeer, name: str) -> None:
    """Have ``peer`` share ``name`` no more; the file stays."""
    reply = peer.request(ApiRemove(peer.line.next_id(), name))
    if not isinstance(reply, ApiDone):
        raise ContenderError(f"{peer.name} does not forget {name}: {reply}")
