"""The figures that a peer serves to Prometheus: during a download, after it, and when the process that serves them
dies."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Running, eventually

SIZE = 8 * 1024 * 1024


def url_of(peer: Running) -> str:
    return str(eventually(lambda: re.search(r"metrics at (http://[0-9.:]+)/metrics", peer.err), "it serves them")[1])


def fetched(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def figures(url: str) -> dict[str, float]:
    """By name and labels, as the text has them."""
    found = {}
    for line in fetched(f"{url}/metrics")[1].splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("zswarm_peer_")] = float(value)
    return found


def test_a_download_is_seen_while_it_goes_on_and_when_it_is_over(network: Machine) -> None:
    (network.place / "model").write_bytes(os.urandom(SIZE))
    giver = url_of(network.start_peer("giver", "--metrics", "127.0.0.1:0", config={"share": ["model"]}))
    slow = {"download_rate": "256 KiB/s", "metrics": "127.0.0.1:0"}
    taker = url_of(network.start_peer("taker", config=slow))
    assert fetched(f"{taker}/readyz") == (200, "ok\n")
    eventually(lambda: figures(giver).get('shared_items{state="served"}') == 1, "it is shared")

    get = network.start("--data-dir", "taker", "get", "model", "-o", "got")

    def downloading() -> dict[str, float]:
        now = figures(taker)
        return now if now['downloads{state="downloading"}'] and now["pieces_verified_total"] else {}

    during = eventually(downloading, "it is being downloaded")
    assert during['rate_limit_bytes_per_second{direction="down"}'] == 256 * 1024
    assert 0 < during["received_bytes_total"] < SIZE
    assert network.z("--data-dir", "taker", "limit", "--down", "0").code == 0
    assert get.wait().code == 0
    after = eventually(lambda: now if (now := figures(taker))["received_bytes_total"] >= SIZE else {}, "it is counted")
    assert after['downloads_ended_total{state="done"}'] == 1
    assert after['downloads{state="downloading"}'] == after["pieces_failed_total"] == after["sources_banned_total"] == 0
    assert after["pieces_verified_total"] == SIZE / (64 * 1024)
    assert eventually(lambda: figures(giver)["sent_bytes_total"] >= SIZE, "that is counted too")
    started = [name for name in after if name.startswith("process_start_time_seconds{")]
    roles = {re.sub(r'.*process="(\w+)".*', r"\1", name) for name in started}
    assert roles == {"supervisor", "agent", "downloader", "piece_server"}


@pytest.mark.slow
def test_when_it_dies_only_figures_are_gone_for_a_moment(network: Machine) -> None:
    peer = network.start_peer("one", "--metrics", "127.0.0.1:0")
    url = url_of(peer)
    before = network.status("one")["pids"]
    os.kill(_child_of(peer.process.pid, "node.metrics"), signal.SIGKILL)
    eventually(lambda: "metrics was killed by SIGKILL; starting it again" in peer.err, "it is started again")
    eventually(lambda: fetched(f"{url}/healthz")[0] == 200, "at the same address")
    assert network.status("one")["pids"] == before


@pytest.mark.slow
def test_a_restarted_process_has_a_later_start(network: Machine) -> None:
    url = url_of(network.start_peer("one", "--metrics", "127.0.0.1:0"))
    name = 'process_start_time_seconds{process="agent"}'
    before = eventually(lambda: figures(url).get(name), "the agent answers")
    os.kill(network.status("one")["pids"]["agent"], signal.SIGKILL)
    eventually(lambda: figures(url).get(name, 0) > before, "another agent answers")


@pytest.mark.slow
def test_where_others_reach_it_it_takes_a_token(network: Machine) -> None:
    refused = network.z("--data-dir", "one", "--metrics", "*:0")
    assert refused.code == 2
    assert "other machines reach the metrics" in refused.err
    assert "`metrics_token_file`" in refused.err
    token = network.place / "token"
    peer = network.start_peer("one", config={"metrics": "*:0", "metrics_token_file": str(token)})
    port = eventually(lambda: re.search(r"metrics at http://\S+:(\d+)/metrics \(with the token\)", peer.err), "a port")[
        1
    ]
    url = f"http://127.0.0.1:{port}"
    assert fetched(f"{url}/metrics")[0] == 401
    assert fetched(f"{url}/healthz")[0] == 200
    assert "zswarm_peer_up 1.0" in fetched(f"{url}/metrics", Authorization=f"Bearer {token.read_text().strip()}")[1]


@pytest.mark.slow
def test_a_peer_of_one_command_serves_none(network: Machine) -> None:
    (network.place / "file").write_bytes(b"content")
    shared = network.start("--data-dir", "one", "--metrics", "127.0.0.1:0", "share", "file")
    eventually(lambda: "zswarm://" in shared.out, "it is shared")
    assert _child_of(shared.process.pid, "node.metrics") == 0


def _child_of(pid: int, module: str) -> int:
    """The process id of the child that runs ``module``; 0 if there is none."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/cmdline").read_bytes().endswith(f"\0-m\0{module}\0".encode()):
            return int(child)
    return 0


@pytest.mark.slow
def test_the_port_of_another_is_an_error(network: Machine) -> None:
    port = url_of(network.start_peer("one", "--metrics", "127.0.0.1:0")).rpartition(":")[2]
    second = network.z("--data-dir", "two", "--metrics", f"127.0.0.1:{port}")
    assert second.code == 4
    assert "the metrics (key `metrics`): cannot listen on" in second.err
