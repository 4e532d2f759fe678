"""How long one small file takes: from the request to a running peer until the verified copy has its name.

The content is new each time, shared by another peer and listed by the tracker. Every so often it is a person who asks,
by a command, whose start and end count too.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.contenders.contender import ROUND_SECONDS, ContenderError
from benchmarks.contenders.zswarm import ask, finished, forget, get, share
from benchmarks.small_cases import OneFile
from cluster.content import Original, make_random
from cluster.local import LocalCluster, LocalPeer
from cluster.processes import PROJECT_ROOT
from cluster.verify import Reference

WARM_COUNT = 5
"""Fetches before those that count: the peers have not met yet."""
FETCHES_PER_COMMAND = 10
FETCHES_PER_LINE = 50
LOOK_SECONDS = 0.05
"""Looks at a peer that is at work cost it time: most fetches are over when it is asked for the first time again."""


def measure(size: int, fetches: int, work: Path, tell: Callable[[str], None]) -> OneFile:
    """So many ``fetches`` of ``size`` bytes over the API, and a tenth of that by command in between."""
    found = OneFile(size, [], [])
    directory = work / "one-file"
    directory.mkdir()
    with LocalCluster(directory) as cluster:
        cluster.start_tracker()
        seeder, receiver = cluster.add_peers(["seeder", "receiver"])
        cluster.wait_joined()
        for number in range(1, WARM_COUNT + fetches + 1):
            count = number - WARM_COUNT
            ms = _fetch(_by_api, seeder, receiver, size)
            if count > 0:
                found.api_ms.append(ms)
            if count > 0 and count % FETCHES_PER_COMMAND == 0:
                found.command_ms.append(_fetch(_by_command, seeder, receiver, size))
            if count > 0 and count % FETCHES_PER_LINE == 0:
                tell(f"one file, {count} of {fetches}: {ms:.0f} ms")
    return found


def _fetch(how: Callable[[LocalPeer, str], float], seeder: LocalPeer, receiver: LocalPeer, size: int) -> float:
    original = seeder.download_dir / "content.bin"
    copy = receiver.download_dir / original.name
    make_random(Original(original, original.name, size))
    link = share(seeder, original, LOOK_SECONDS)
    ms = how(receiver, link)
    if what := Reference(original).difference(copy):
        raise ContenderError(f"{copy}: {what}")
    for peer, path in ((receiver, copy), (seeder, original)):
        forget(peer, path.name)
        path.unlink()
    return round(ms, 2)


def _by_api(peer: LocalPeer, link: str) -> float:
    began = time.monotonic()
    return 1_000 * (finished(ask({peer: get(peer, link)}), LOOK_SECONDS)[0].ended_monotonic - began)


def _by_command(peer: LocalPeer, link: str) -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "node", "--quiet", "--data-dir", peer.data_dir, "get", link, "-o", peer.download_dir],
        cwd=PROJECT_ROOT,
        stdout=subprocess.DEVNULL,
        timeout=ROUND_SECONDS,
        check=True,
    )
    return 1_000 * (time.monotonic() - began)
