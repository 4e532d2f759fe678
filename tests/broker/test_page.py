"""Where the page is served, its token, and that the tracker does not depend on it."""

from __future__ import annotations

import logging
import re
import socket
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from broker.config import TrackerConfig
from broker.page import page_place
from protocol.errors import ConfigError, NetworkError
from tests.broker.running import RunningTracker
from tests.broker.test_processes import run_to_the_end


def test_without_an_address_there_is_none() -> None:
    assert page_place(TrackerConfig(web="")) is None


def test_the_default_place_is_not_insisted_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr("broker.config.DEFAULT_WEB", address)
        with caplog.at_level(logging.WARNING):
            assert page_place(TrackerConfig()) is None
        (record,) = caplog.records
        assert "this tracker has no page; set web to another address" in record.getMessage()
        with pytest.raises(NetworkError, match=r"^the page \(key `web`\): cannot listen on .*: the port is in use; "):
            page_place(TrackerConfig(web=address))


def test_two_trackers_do_not_share_a_place() -> None:
    first = page_place(TrackerConfig(web="127.0.0.1:0"))
    assert first is not None
    with pytest.raises(NetworkError):
        page_place(TrackerConfig(web=f"127.0.0.1:{first.address.port}"))
    first.close()


def test_where_others_reach_it_it_takes_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for web in ("*:0", "0.0.0.0:0"):
        with pytest.raises(ConfigError, match=r"other machines reach the page .* set `web_token_file`"):
            page_place(TrackerConfig(web=web))
    path = tmp_path / "token"
    config = TrackerConfig(web="*:0", web_token_file=str(path))
    with caplog.at_level(logging.INFO):
        first = page_place(config)
    assert first is not None
    first.close()
    assert f"/?token={first.token}" in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    caplog.clear()
    second = page_place(config)
    assert second is not None
    second.close()
    assert (second.token, caplog.text) == (first.token, ""), "it is printed once"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        page_place(config)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="holds no token"):
        page_place(config)


@pytest.mark.process
def test_a_tracker_refuses_to_show_its_page_to_everybody() -> None:
    ended = run_to_the_end("--listen", "tcp://127.0.0.1:0", "--web", "*:0")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: key `web`: other machines reach the page")


@pytest.mark.process
def test_the_page_is_started_again_and_nobody_else_notices(tmp_path: Path) -> None:
    with RunningTracker(tmp_path, "--web", "127.0.0.1:0") as tracker:
        url = tracker.endpoints["web"].replace("tcp", "http")
        wait_for_health(url)
        tracker.kill("broker.web")
        assert "web was killed by SIGKILL; starting it again" in tracker.wait_for("web was killed")
        wait_for_health(url)
    assert not re.search(r"registrar +(killed|ended)|lost its link", "".join(tracker.log[:-3]))


def wait_for_health(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as reply:
                assert reply.read() == b"ok\n"
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
