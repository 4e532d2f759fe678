"""`schedule:` in the configuration of a real peer, in a time zone in which an entry begins in a moment."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from node.api_messages import ApiLimit
from tests.node.cli.test_process import Peer, running, until

pytestmark = pytest.mark.process


def zone(hour: int, minute: int, second: int) -> str:
    """A time zone in which it is this time of day now. POSIX counts westward."""
    utc = time.gmtime()
    here, there = ((moment[0] * 60 + moment[1]) * 60 + moment[2] for moment in (utc[3:6], (hour, minute, second)))
    west = (here - there + 43_200) % 86_400 - 43_200
    return f"TST{'-' if west < 0 else ''}{abs(west) // 3600:02d}:{abs(west) // 60 % 60:02d}:{abs(west) % 60:02d}"


@pytest.mark.slow
def test_limits_change_with_the_hour_and_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone(7, 59, 58))
    peer = Peer(tmp_path / "alice", "tcp://127.0.0.1:1")
    config = tmp_path / "peer.yaml"
    config.write_text("upload_rate: 5MiB/s\nschedule: [{from: '08:00', to: '18:00', upload_rate: 1MiB/s}]\n")
    peer.options += ["--config", str(config)]
    with running("node", *peer.options) as process:
        until(peer.is_up, "the peer")
        until(lambda: peer.ask(ApiLimit(1)).limits.upload_rate == 1024 * 1024, "eight o'clock")
        why = peer.json("status")["limits_why"]
        assert why.startswith("schedule: mon-sun 08:00-18:00, until ")
        assert why.endswith(" 18:00")
        assert peer.run("limit").stdout == f"up 1.0 MiB/s, down unlimited ({why})\n"
        set_now = peer.run("limit", "--up", "2MiB/s").stdout
        assert set_now.startswith("up 2.0 MiB/s, down unlimited (set by 'limit' until ")
        assert f"limits     {set_now}" in peer.run("status").stdout
        peer.run("stop")
        assert process.stderr is not None
        assert "limits: up 1.0 MiB/s, down unlimited (schedule: mon-sun 08:00-18:00" in process.stderr.read()
    config.write_text("schedule: [{from: '08:00', to: 'noon', upload_rate: 1MiB/s}]\n")
    assert "schedule[0].to: 'noon' is not a time of day" in peer.run("status", code=2).stderr
