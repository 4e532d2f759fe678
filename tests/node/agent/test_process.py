"""The shell of the agent, run here, while the disk takes its time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from node.agent import process
from node.agent.disk_work import hash_item
from node.agent.effects import HashPath
from node.agent.library import Library
from node.agent.process import Agent
from node.agent.share_scan import look
from node.api_client import ApiClient
from node.config import AgentSettings
from node.local_messages import ApiAccepted, ApiGet, ApiGetStatus, StatusReport
from service.logs import LogSettings
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import open_context

PATIENCE_SECONDS = 10.0
TURN_SECONDS = 0.02


def run_agent(data_dir: Path, stop: threading.Event) -> None:
    """An agent without a tracker, until ``stop``."""
    settings = AgentSettings(
        data_dir=str(data_dir),
        runtime_dir=str(make_runtime_dir(data_dir)),
        name="one",
        tracker="tcp://127.0.0.1:1",
        advertise="tcp://127.0.0.1:0",
        share=[],
        algorithm="blake3",
        scan_seconds=0.1,
        run="",
        foreground=False,
        log=LogSettings(),
    )
    loop, context = Loop(), open_context()
    agent = Agent(settings, loop, context)

    def tick(now: float) -> float:
        agent.tick(now)
        if stop.is_set():
            loop.stop()
        return now + TURN_SECONDS

    loop.run(tick)
    agent.close()
    context.destroy(0)
    remove_runtime_dir(data_dir)


def test_a_get_does_not_wait_for_a_look_at_what_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking, looked, stop = threading.Event(), threading.Event(), threading.Event()

    def slow_look(*arguments: Any) -> Any:
        looking.set()
        looked.wait(PATIENCE_SECONDS)
        return look(*arguments)

    monkeypatch.setattr(process, "look", slow_look)
    data_dir, content = tmp_path / "data", tmp_path / "file"
    data_dir.mkdir()
    content.write_bytes(b"content")
    known, _ = hash_item(HashPath(str(content), "blake3", "shared", None), data_dir, lambda *_: None, lambda: False)
    with Library(data_dir) as library:
        library.put_item(known)
    thread = threading.Thread(target=run_agent, args=(data_dir, stop))
    thread.start()
    try:
        assert looking.wait(PATIENCE_SECONDS)
        with ApiClient(data_dir) as client:
            seed = Path(known.seed_path).read_bytes()
            accepted = client.request(ApiGet(1, "file.seed", str(tmp_path), seed, False, False, "file"))
            assert isinstance(accepted, ApiAccepted)
            deadline, phase = time.monotonic() + PATIENCE_SECONDS / 2, ""
            while phase != "done" and time.monotonic() < deadline:
                report = client.request(ApiGetStatus(2, [accepted.job]))
                assert isinstance(report, StatusReport)
                phase = report.jobs[0].phase
            assert (phase, looked.is_set()) == ("done", False)
    finally:
        looked.set()
        stop.set()
        thread.join()
