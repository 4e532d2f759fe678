"""A tracker and two peers as real processes: share, get, survive, leave, stop."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from node.api_messages import (
    ApiAccepted,
    ApiDone,
    ApiGet,
    ApiGetStatus,
    ApiLeave,
    ApiPeers,
    ApiPeersReply,
    ApiShare,
    ApiStop,
    JobStatus,
    StatusReport,
)
from node.client.api_client import ApiClient
from protocol.errors import NetworkError
from transport.runtime_dir import runtime_dir

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0
POLL_SECONDS = 0.05

pytestmark = pytest.mark.process
R = TypeVar("R")


def until(what: str, condition: Callable[[], R | None]) -> R:
    """What ``condition`` returns once it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        pause.wait(POLL_SECONDS)
    raise AssertionError(f"not within {PATIENCE_SECONDS:g} s: {what}")


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


class Peer:
    """A peer of its own data directory, and a client of it."""

    def __init__(self, directory: Path, tracker: str, *share: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        directory.mkdir()
        lines = {
            "tracker": tracker,
            "data_dir": str(self.data_dir),
            "listen": "tcp://127.0.0.1:0",
            "name": directory.name,
            "share": [str(path) for path in share],
            "scan_seconds": 0.2,
        }
        (directory / "peer.yaml").write_text(json.dumps(lines))
        self.arguments = ("node", "--config", str(directory / "peer.yaml"))
        self._ids = itertools.count(1)

    def ask(self, message: Any, *fields: Any) -> Any:
        with contextlib.closing(ApiClient(self.data_dir)) as client:
            return client.request(message(next(self._ids), *fields))

    def status(self) -> StatusReport | None:
        try:
            report = self.ask(ApiGetStatus)
        except NetworkError:
            return None
        assert isinstance(report, StatusReport)
        return report

    def joined(self) -> StatusReport | None:
        report = self.status()
        return report if report is not None and report.network == "joined" else None

    def complete(self) -> StatusReport | None:
        """Joined, and each of its three processes has said hello to the agent."""
        report = self.joined()
        return report if report is not None and len(report.pids) == 3 else None

    def sharing(self) -> StatusReport | None:
        report = self.joined()
        return report if report is not None and report.shared else None

    def finished(self, accepted: ApiAccepted) -> JobStatus:
        def over() -> JobStatus | None:
            report = self.status()
            jobs = report.jobs if report is not None else []
            return next((job for job in jobs if job.job == accepted.job and job.phase in ("done", "failed")), None)

        return until(f"job {accepted.job} is over", over)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[str]:
    ready = tmp_path / "ready"
    with running("broker", "--listen", "tcp://127.0.0.1:0", "--ready-file", str(ready)):
        until("the tracker serves", ready.exists)
        yield json.loads(ready.read_text())["registrar"]


def test_share_get_and_the_ways_out(tracker: str, tmp_path: Path) -> None:
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(3_000_000))
    one, two = Peer(tmp_path / "one", tracker), Peer(tmp_path / "two", tracker)
    with ExitStack() as stack:
        first = stack.enter_context(running(*one.arguments))
        second = stack.enter_context(running(*two.arguments))
        until("both are in", lambda: one.joined() and two.joined())

        shared = one.finished(one.ask(ApiShare, str(content), "blake3"))
        assert shared.phase == "done"
        got = two.finished(two.ask(ApiGet, "content.bin", str(two.directory), b"", False, False))
        assert (got.phase, got.link) == ("done", shared.link)
        assert (two.directory / "content.bin").read_bytes() == content.read_bytes()

        left = one.ask(ApiLeave)
        assert left == ApiDone(left.id)
        peers = two.ask(ApiPeers)
        assert isinstance(peers, ApiPeersReply)
        assert [(peer.name, peer.have) for peer in peers.peers] == [("two", 1)]

        stopped = one.ask(ApiStop)
        assert isinstance(stopped, ApiDone)
        assert first.wait(PATIENCE_SECONDS) == 0
        second.terminate()
        assert second.wait(PATIENCE_SECONDS) == 0
    assert not runtime_dir(one.data_dir).exists()
    assert not runtime_dir(two.data_dir).exists()


def test_a_killed_agent_comes_back_with_everything(tracker: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "item").write_bytes(b"content")
    peer = Peer(tmp_path / "one", tracker, folder)
    with running(*peer.arguments):
        until("the folder's item is shared", peer.sharing)
        before = until("all its processes are in", peer.complete)
        os.kill(before.pids["agent"], signal.SIGKILL)

        def back() -> StatusReport | None:
            report = peer.joined()
            return report if report is not None and report.pids["agent"] != before.pids["agent"] else None

        after = until("the agent is back", back)
        assert [item.link for item in after.shared] == [item.link for item in before.shared]
        assert after.pids.get("piece_server", 0) in (0, before.pids["piece_server"])


def test_a_second_peer_on_the_same_data_directory_is_refused(tracker: str, tmp_path: Path) -> None:
    peer = Peer(tmp_path / "one", tracker)
    with running(*peer.arguments):
        until("it is in", peer.joined)
        again = subprocess.run(
            [sys.executable, "-m", *peer.arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert again.returncode == 2
    assert b"is in use by the peer with pid" in again.stderr
