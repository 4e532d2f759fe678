"""The shell of the agent, run here, while the disk takes its time."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from node.agent import disk_work
from node.agent.core import AgentCore
from node.agent.disk_work import LIMITS_NAME, AgentFiles, hash_item
from node.agent.effects import HashPath
from node.agent.library import Library, LibraryItem
from node.agent.process import CHECK_THREADS_COUNT, Agent
from node.agent.share_scan import look
from node.agent.state import AgentTerms
from node.api_messages import ApiAccepted, ApiError, ApiGet, ApiGetStatus, ApiLimit, ApiLimits, StatusReport
from node.client.api_client import ApiClient
from node.config import AgentSettings
from node.host import ProcessHost
from node.rate_limit import RateLimits
from protocol.errors import NetworkError
from service.logs import LogSettings
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir, runtime_dir
from transport.sockets import open_context

PATIENCE_SECONDS = 10.0
TURN_SECONDS = 0.02

BY_HAND = "set by 'limit' until the peer stops"


def run_agent(data_dir: Path, stop: threading.Event) -> None:
    """An agent without a tracker, until ``stop``."""
    settings = AgentSettings(
        data_dir=str(data_dir),
        runtime_dir=str(make_runtime_dir(data_dir)),
        name="one",
        trackers=["tcp://127.0.0.1:1"],
        advertise="tcp://127.0.0.1:0",
        share=[],
        algorithm="blake3",
        scan_seconds=0.1,
        run="",
        foreground=False,
        log=LogSettings(),
    )
    loop, context = Loop(), open_context()
    host, files = ProcessHost(loop, context, Path(settings.runtime_dir)), AgentFiles(settings)
    terms = AgentTerms(
        peer="0" * 32,
        name="one",
        tokens={settings.trackers[0]: b"t" * 32},
        advertise=settings.advertise,
        algorithm="blake3",
        share=(),
        scan_seconds=settings.scan_seconds,
        instance=1,
        pid=1,
    )
    core = AgentCore(terms, files.items(), 0.0, Random(1), False)
    agent = Agent(host, core, files, Random(1), loop.stop, lambda: 0)

    def tick(now: float) -> float:
        agent.tick(now)
        if stop.is_set():
            loop.stop()
        return now + TURN_SECONDS

    loop.run(tick)
    agent.close()
    host.close()
    files.close()
    context.destroy(0)
    remove_runtime_dir(data_dir)


def test_a_get_does_not_wait_for_a_look_at_what_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking, looked, stop = threading.Event(), threading.Event(), threading.Event()

    def slow_look(*arguments: Any, **options: Any) -> Any:
        looking.set()
        looked.wait(PATIENCE_SECONDS)
        return look(*arguments, **options)

    monkeypatch.setattr(disk_work, "look", slow_look)
    data_dir, content = tmp_path / "data", tmp_path / "file"
    data_dir.mkdir()
    content.write_bytes(b"content")
    known, *_ = hash_item(HashPath(str(content), "blake3", "shared", None), data_dir, lambda *_: None, lambda: False)
    with Library(data_dir) as library:
        library.put_item(known)
    thread = threading.Thread(target=run_agent, args=(data_dir, stop))
    thread.start()
    try:
        assert looking.wait(PATIENCE_SECONDS)
        with contextlib.closing(ApiClient(data_dir)) as client:
            seed = Path(known.seed_path).read_bytes()
            accepted = client.request(ApiGet(1, "file.seed", str(tmp_path), seed, False, False, "file"))
            assert isinstance(accepted, ApiAccepted)
            eventual_phase(client, accepted.job, "done")
            assert not looked.is_set()
    finally:
        looked.set()
        stop.set()
        thread.join()


def test_a_get_does_not_wait_for_a_check_of_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asked, twice, for what is there already on a file system that hangs."""
    hangs, stop, checked = threading.Event(), threading.Event(), disk_work.item_problem
    data_dir, lost, here = tmp_path / "data", tmp_path / "lost", tmp_path / "here"
    data_dir.mkdir()

    def check(item: LibraryItem) -> str:
        if item.path == str(lost):
            hangs.wait(PATIENCE_SECONDS)
        return checked(item)

    monkeypatch.setattr(disk_work, "item_problem", check)
    known = []
    with Library(data_dir) as library:
        for content in (lost, here):
            content.write_bytes(content.name.encode())
            request = HashPath(str(content), "blake3", "shared", None)
            known.append(hash_item(request, data_dir, lambda *_: None, lambda: False)[0])
            library.put_item(known[-1])
    thread = threading.Thread(target=run_agent, args=(data_dir, stop))
    thread.start()
    try:
        with contextlib.closing(eventual_client(data_dir)) as client:

            def get(item: LibraryItem) -> int:
                seed = Path(item.seed_path).read_bytes()
                accepted = client.request(ApiGet(1, "file.seed", str(tmp_path), seed, False, False, item.name))
                assert isinstance(accepted, ApiAccepted)
                return accepted.job

            jobs = [get(known[0]) for _ in range(2 * CHECK_THREADS_COUNT)] + [get(known[1])]
            eventual_phase(client, jobs[-1], "done")
            assert not hangs.is_set()
            hangs.set()
            for job in jobs:
                eventual_phase(client, job, "done")
    finally:
        hangs.set()
        stop.set()
        thread.join()


def eventual_phase(client: ApiClient, job: int, phase: str) -> None:
    deadline, seen = time.monotonic() + PATIENCE_SECONDS / 2, ""
    while seen != phase and time.monotonic() < deadline:
        report = client.request(ApiGetStatus(2, [job]))
        assert isinstance(report, StatusReport)
        seen = report.jobs[0].phase
    assert seen == phase


def test_limits_that_a_restart_would_forget_are_an_error(tmp_path: Path) -> None:
    stop, data_dir = threading.Event(), tmp_path / "data"
    data_dir.mkdir()
    thread = threading.Thread(target=run_agent, args=(data_dir, stop))
    thread.start()
    try:
        with contextlib.closing(eventual_client(data_dir)) as client:
            assert client.request(ApiLimit(1, 5.0)) == ApiLimits(1, RateLimits(5.0, 0.0), BY_HAND)
            (runtime_dir(data_dir) / f"{LIMITS_NAME}.new").mkdir()
            refused = client.request(ApiLimit(2, 6.0))
            assert isinstance(refused, ApiError)
            assert refused.code == "disk"
            assert client.request(ApiLimit(3)) == ApiLimits(3, RateLimits(6.0, 0.0), BY_HAND)
            (runtime_dir(data_dir) / f"{LIMITS_NAME}.new").rmdir()
    finally:
        stop.set()
        thread.join()


def eventual_client(data_dir: Path) -> ApiClient:
    """Of an agent that is starting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ApiClient(data_dir)
        except NetworkError:
            assert time.monotonic() < deadline
            threading.Event().wait(TURN_SECONDS)
