"""Readings to show, and the app that shows them over HTTP without a peer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from node.api_messages import PeerCounts, StatusReport
from node.local_messages import DownloadTotals
from node.metrics.app import MetricsApp
from node.metrics.asked import Asked
from node.metrics.machine import FileSystem, ProcessFigures
from node.metrics.reading import Reading
from service.web.server import HttpThread
from transport.loop import Loop

COUNTS = PeerCounts(
    totals=DownloadTotals(received_bytes=1_000, verified_pieces=7, failed_pieces=2, bans=1),
    downloads={"downloading": 2, "paused": 1},
    rate=250.0,
    held_back={"disk": 1},
    ended={"done": 4},
    repairs=1,
    shared={"": 5, "damaged": 1},
)
REPORT = StatusReport(
    id=1,
    peer="00",
    name="lab",
    network="joined",
    tracker="tcp://tracker:5550",
    endpoint="tcp://10.0.0.2:5600",
    epoch=1,
    seq=2,
    pids={"agent": 10},
    jobs=[],
    shared=[],
    sent_bytes=500,
    queued_pieces=3,
    bad_messages=0,
    silent_seconds={"piece_server": 0.1, "downloader": 0.2, "tracker": 0.3},
    counts=COUNTS,
)
PROCESSES = {"agent": ProcessFigures(1.5, 30_000_000, 1_800_000_000.0)}
DISKS = {"data": FileSystem(10, 100)}


def reading(**changes: Any) -> Reading:
    """Of a peer that is well, but for ``changes`` of its report."""
    return Reading(replace(REPORT, **changes), PROCESSES)


@contextmanager
def served(
    read: Callable[[], Reading], disks: Callable[[], dict[str, FileSystem]] = lambda: DISKS, token: str = ""
) -> Iterator[str]:
    """The URL at which the app runs."""
    app = MetricsApp(Asked(read), Asked(disks), token).app
    http = HttpThread("tcp://127.0.0.1:0", app, Loop(), connections_max=8)
    try:
        yield f"http://127.0.0.1:{http.port}"
    finally:
        http.end()


def hanging(until: threading.Event) -> Callable[[], Any]:
    """Work that takes until the event is set."""

    def work() -> Any:
        until.wait()
        return {}

    return work
