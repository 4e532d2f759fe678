"""What a peer reads when it is started again: one that shares a very large file, and one that shares a small one.

The large file has no bytes on the disk (it is sparse), and would take as long to read as any other. What the one reads
beyond the other is due to the large file: its seed, and not its content.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.contenders.contender import ROUND_SECONDS, ContenderError
from benchmarks.contenders.zswarm import share
from benchmarks.small_cases import Restarts, Start
from cluster.local import END_SECONDS, LocalCluster, LocalPeer
from cluster.processes import children_of, end_all
from node.api_messages import ApiList, ApiListReply
from protocol.limits import GIB, MIB

SMALL_BYTES = MIB
HASH_SECONDS_PER_GIB = 10.0
PAUSE_SECONDS = 0.02
WATCH_SECONDS = 2.0
"""What begins to read only when all is listed again is seen too."""


def measure(size: int, rounds: int, work: Path, tell: Callable[[str], None]) -> Restarts:
    """Share a sparse file of ``size`` bytes, then start its peer and another one again, in turn, ``rounds`` times."""
    directory = work / "restart"
    directory.mkdir()
    with LocalCluster(directory) as cluster:
        cluster.start_tracker()
        large, small, observer = cluster.add_peers(["large", "small", "observer"])
        cluster.wait_joined()
        _share_sparse(small, SMALL_BYTES, ROUND_SECONDS)
        tell(f"restart: hashing {size // GIB} GiB, once")
        began = time.monotonic()
        _share_sparse(large, size, ROUND_SECONDS + HASH_SECONDS_PER_GIB * size / GIB)
        found = Restarts(size, round(time.monotonic() - began, 2), [], [])
        for number in range(1, rounds + 1):
            for peer, starts in ((large, found.large), (small, found.small)):
                starts.append(_start_again(cluster, peer, observer))
            one, other = found.large[-1], found.small[-1]
            shown = f"{one.listed_s:.2f} s and {one.read_bytes / MIB:.1f} MiB read"
            tell(f"restart, round {number} of {rounds}: {shown}, with a small file {other.read_bytes / MIB:.1f} MiB")
    return found


def _share_sparse(peer: LocalPeer, size: int, seconds: float) -> None:
    path = peer.download_dir / f"{peer.name}.bin"
    with path.open("wb") as file:
        file.truncate(size)
    share(peer, path, seconds=seconds)


def _start_again(cluster: LocalCluster, peer: LocalPeer, observer: LocalPeer) -> Start:
    end_all([peer.program], END_SECONDS)
    peer.line.replies()  # the last words of the one that ended
    began = time.monotonic()
    peer.start()
    cluster.wait_joined([peer])
    joined = time.monotonic()
    while not _is_listed(observer, f"{peer.name}.bin"):
        if time.monotonic() - joined > ROUND_SECONDS:
            raise ContenderError(f"{peer.name} is in the network, and what it shares is not listed")
        time.sleep(PAUSE_SECONDS)
    listed = time.monotonic()
    time.sleep(WATCH_SECONDS)
    counters = [
        process.io_counters() for process in (psutil.Process(peer.program.pid), *children_of([peer.program.pid]))
    ]
    return Start(
        joined_s=round(joined - began, 3),
        listed_s=round(listed - began, 3),
        read_bytes=sum(one.read_chars for one in counters),
        disk_bytes=sum(one.read_bytes for one in counters),
    )


def _is_listed(observer: LocalPeer, name: str) -> bool:
    reply = observer.request(ApiList(observer.line.next_id(), name))
    return isinstance(reply, ApiListReply) and any(entry.name == name and entry.have for entry in reply.entries)
