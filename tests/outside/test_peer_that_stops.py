"""A command that uses a running peer when that is stopped."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.outside.commands import Machine, eventually

MIB = 1 << 20


@pytest.mark.parametrize("how", ["stop", pytest.param("hang up", marks=pytest.mark.slow)])
def test_get_says_at_once_that_its_peer_has_stopped_and_how_to_go_on(how: str, network: Machine) -> None:
    (network.place / "m.bin").write_bytes(os.urandom(30 * MIB))
    network.start_peer("a", "--listen", "tcp://127.0.0.1:0")
    assert network.z("share", "m.bin", "--data-dir", "a").code == 0
    peer = network.start_peer("b", config={"download_rate": MIB})
    get = network.start("get", "m.bin", "-o", "o", "--data-dir", "b", "--json")
    eventually(lambda: "downloading" in get.err, "it downloads")
    if how == "stop":
        assert network.z("stop", "--data-dir", "b").code == 0
    else:
        peer.process.send_signal(signal.SIGHUP)
        peer.process.wait(30)
    began = time.monotonic()
    ended = get.wait()
    assert time.monotonic() - began < 3
    assert ended.code == 4
    (result,) = json.loads(ended.out)["results"]
    assert "has stopped" in result["detail"]
    assert "the same command continues it too" in ended.err
