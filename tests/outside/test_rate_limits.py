"""`limit` changes how fast a peer sends and receives while it does so."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.outside.commands import Machine, Running, eventually

MIB = 1 << 20
LENGTH = 72 * MIB
SLOW = MIB
"""Bytes a second: more than a minute for the whole content."""


def download(network: Machine) -> dict[str, Any]:
    (job,) = network.status("b").get("jobs") or [{}]
    return job.get("download") or {"done_bytes": 0}


def seconds_for(network: Machine, count: int) -> float:
    """How long ``count`` more bytes take, about: asking takes a moment, too."""
    before = download(network)["done_bytes"]
    began = time.monotonic()
    eventually(lambda: download(network)["done_bytes"] >= before + count, f"{count} bytes come")
    return time.monotonic() - began


def limit(network: Machine, name: str, *options: str) -> str:
    result = network.z("limit", "--data-dir", name, *options)
    assert result.code == 0, result.err
    return result.out.partition(" (")[0].strip()  # after which it says why


def start(network: Machine) -> Running:
    """A download from ``a`` to ``b`` that has begun, as slow as the configuration of ``b`` says."""
    (network.place / "m.bin").write_bytes(os.urandom(LENGTH))
    network.start_peer("a", "--listen", "tcp://127.0.0.1:0")
    network.start_peer("b", "--listen", "tcp://127.0.0.1:0", config={"download_rate": SLOW})
    assert network.z("share", "m.bin", "--data-dir", "a").code == 0
    get = network.start("get", "m.bin", "-o", "o", "--data-dir", "b")
    eventually(lambda: download(network)["done_bytes"] > SLOW, "it downloads")
    return get


@pytest.mark.slow
@pytest.mark.alone
def test_a_running_download_gets_faster_and_slower(network: Machine) -> None:
    get = start(network)
    pids = [network.status(name)["pids"] for name in "ab"]
    assert limit(network, "b") == "up unlimited, down 1.0 MiB/s"
    assert seconds_for(network, 2 * SLOW) > 0.7

    assert limit(network, "b", "--down", "8MiB/s") == "up unlimited, down 8.0 MiB/s"
    assert seconds_for(network, 16 * SLOW) < 10, "it took sixteen at the rate before"

    assert limit(network, "a", "--up", "1MiB/s") == "up 1.0 MiB/s, down unlimited"
    seconds_for(network, 2 * MIB)  # with what was on its way
    assert seconds_for(network, 2 * SLOW) > 0.7
    assert [network.status(name)["pids"] for name in "ab"] == pids, "nothing was started again"

    os.kill(network.status("a")["pids"]["piece_server"], signal.SIGKILL)
    seconds_for(network, SLOW)
    assert seconds_for(network, 2 * SLOW) > 0.7, "the limit is that of the peer, not of the process"

    assert limit(network, "a", "--up", "0") == "up unlimited, down unlimited"
    assert limit(network, "b", "--down", "0") == "up unlimited, down unlimited"
    assert get.wait().code == 0, "in less time than the rest would have taken"
    assert (network.place / "o/m.bin").stat().st_size == LENGTH
