"""A running peer as the command line sees it, without one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

import node.api_messages as messages
from node.api_messages import (
    ApiAccepted,
    ApiCollected,
    ApiDone,
    ApiError,
    ApiGet,
    ApiGetStatus,
    ApiReply,
    ApiRequest,
    ApiShare,
    JobStatus,
    SharedStatus,
    StatusReport,
)
from node.cli.app import main
from node.client.session import Client, Foreground, Services
from node.config import PeerSettings
from node.identity import DataDirInUseError
from node.local_messages import DownloadReport, SourceReport, SourceStanding
from node.stored import Stored
from protocol.errors import NetworkError

MIB = 1024 * 1024
DIGEST = "blake3:" + "ab" * 32
LINK = f"zswarm://{DIGEST}/{DIGEST}/{100 * MIB}/model.bin"

Answer = ApiReply | Exception | Callable[[ApiRequest], ApiReply]


def download(phase: Any = "downloading", done: int = 40, **changes: Any) -> DownloadReport:
    """A report at ``done`` of 100 MiB."""
    report = DownloadReport(
        digest=DIGEST,
        phase=phase,
        length=100 * MIB,
        pieces=100,
        done_pieces=done,
        done_bytes=done * MIB,
        checked_bytes=0,
        received_bytes=done * MIB,
        resumed_bytes=0,
        rate=20.0 * MIB,
        sources=[source("one", received=done * MIB), source("two")],
        detail="",
    )
    return msgspec.structs.replace(report, **changes)


def source(name: str, state: SourceStanding = "connected", reason: str = "", received: int = 0) -> SourceReport:
    return SourceReport(f"id-{name}", name, f"tcp://{name}:1", state, reason, received, 0.0, 100)


def job(kind: Any = "get", phase: Any = "done", number: int = 1, **changes: Any) -> JobStatus:
    """A job on 100 MiB that took 4 s."""
    status = JobStatus(
        job=number,
        kind=kind,
        phase=phase,
        name="model.bin",
        digest=DIGEST,
        length=100 * MIB,
        done_bytes=0,
        path="/data/model.bin",
        link=LINK if kind == "share" else "",
        code="",
        detail="",
        started_at=1000.0,
        finished_at=1004.0,
        download=download(phase, 100) if kind == "get" else None,
        seconds=4.0,
    )
    return msgspec.structs.replace(status, **changes)


def report(jobs: Iterable[JobStatus] = (), shared: Iterable[SharedStatus] = (), **changes: Any) -> StatusReport:
    """What the agent says it is doing."""
    status = StatusReport(
        id=0,
        peer="0123456789abcdef0123456789abcdef",
        name="lab7",
        network="joined",
        tracker="tcp://10.0.0.1:5550",
        endpoint="tcp://10.0.0.7:5600",
        epoch=3,
        seq=120,
        pids={"agent": 11, "piece_server": 12, "downloader": 13},
        jobs=list(jobs),
        shared=list(shared),
        sent_bytes=0,
        queued_pieces=0,
        bad_messages=0,
        shared_count=len(list(shared)),
        uploads=sum(item.sessions for item in shared),
    )
    return msgspec.structs.replace(status, **changes)


class FakeClient:
    """Answers by the type of the request; a list is used up one by one, its last answer stays."""

    def __init__(self, answers: dict[type, Answer | list[Answer]]) -> None:
        self.requests: list[ApiRequest] = []
        self.closed = False
        self._jobs = 0
        self.answers = {ApiShare: self._accept, ApiGet: self._accept} | dict(answers)

    def request(self, message: ApiRequest, timeout: float) -> ApiReply:
        assert timeout > 0
        self.requests.append(message)
        answer = self.answers.get(type(message), ApiDone(message.id))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, msgspec.Struct):
            return answer
        assert callable(answer)
        return answer(message)

    def close(self) -> None:
        self.closed = True

    def asked(self, kind: type) -> list[Any]:
        """The requests of one type, in order."""
        return [message for message in self.requests if type(message) is kind]

    def _accept(self, message: ApiRequest) -> ApiReply:
        self._jobs += 1
        return ApiAccepted(message.id, self._jobs)


class FakeForeground:
    """A foreground peer that starts at once; ``ends_with`` is what it exits with by itself."""

    def __init__(self, ends_with: int | None = None) -> None:
        self.events: list[str] = []
        self.settings: PeerSettings | None = None
        self.runs_tracker = False
        self.wait: Callable[[float], None] = lambda _seconds: None
        self.taken = 0
        """How often another peer is quicker to start."""
        self._ends_with = ends_with

    def start(self) -> None:
        if self.taken:
            self.taken -= 1
            raise DataDirInUseError("another was quicker")
        self.events.append("start")

    def poll(self, timeout: float) -> int | None:
        self.wait(timeout)
        return self._ends_with

    def stop(self) -> None:
        self.events.append("stop")


class World:
    """Where a command line runs in a test: its clock moves only when the command waits."""

    def __init__(self, client: FakeClient | None = None, foreground: FakeForeground | None = None) -> None:
        self.client = client
        self.foreground = foreground
        self.now = 0.0
        self.waits = 0
        self.interrupt_after: int | None = None
        self.ran: list[PeerSettings] = []
        self.exit_code = 0
        self.free_after = 0
        self.listens_after = 0
        self.connected_to: list[Path] = []
        self.stored = Stored([], [])
        self.removed: list[str] = []
        self.told: list[str] = []
        self.for_others: dict[str, str] = {}
        """By the endpoint of a tracker, that at which others reach it."""
        self.lent = False
        """There is a peer of another command, which cannot be reached a second time."""

    def run(self, *argv: str) -> int:
        """Exit code of ``python -m node ARGV``."""
        services = Services(
            client=self._connect,
            foreground=self._foreground,
            run_peer=self._run,
            is_free=lambda _data_dir: self.waits >= self.free_after,
            stored=lambda _data_dir: self.stored,
            remove_stored=self._remove_stored,
            collect_stored=lambda _data_dir, _dry_run: ApiCollected(0, [], []),
            tell=self.told.append,
            for_others=lambda tracker: self.for_others.get(tracker, ""),
            same_tracker=lambda one, other: one == other,
            clock=self._clock,
            wait=self._wait,
        )
        return main(argv, services)

    def _connect(self, data_dir: Path) -> Client:
        absent = self.foreground is not None and "start" not in self.foreground.events and not self.lent
        self.lent = False
        if self.client is None or absent or self.waits < self.listens_after:
            raise NetworkError(f"no peer runs on {data_dir}; start one with 'python -m node'")
        self.connected_to.append(data_dir)
        return self.client

    def _foreground(self, settings: PeerSettings, runs_tracker: bool) -> Foreground:
        assert self.foreground is not None
        self.foreground.settings, self.foreground.runs_tracker = settings, runs_tracker
        self.foreground.wait = self._wait
        return self.foreground

    def _run(self, settings: PeerSettings) -> int:
        self.ran.append(settings)
        return self.exit_code

    def _remove_stored(self, _data_dir: Path, name: str, _path: str) -> ApiReply:
        self.removed.append(name)
        return ApiDone(0) if name == "model.bin" else ApiError(0, "not_found", f"nothing is called {name}")

    def _clock(self) -> float:
        self.now += 0.001
        return self.now

    def _wait(self, seconds: float) -> None:
        self.waits += 1
        self.now += seconds
        if self.interrupt_after is not None and self.waits > self.interrupt_after:
            raise KeyboardInterrupt


def peer_with(*reports: StatusReport | Exception, **answers: Answer) -> World:
    """A world whose running peer gives these status reports in turn; before a share or get it has no jobs."""
    scripted: dict[type, Answer | list[Answer]] = {ApiGetStatus: list(reports)}
    for name, answer in answers.items():
        scripted[getattr(messages, name)] = answer
    return World(FakeClient(scripted))
