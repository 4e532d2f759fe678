"""What a person is told of the peers a download gets its pieces from; nothing fails for those that are of no use."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from tests.outside.commands import Machine, eventually

CONTENT = b"precious" * 100_000


def start_source(network: Machine, name: str, **config: Any) -> None:
    """A peer that shares ``NAME.d/m.bin``."""
    folder = network.place / f"{name}.d"
    folder.mkdir()
    (folder / "m.bin").write_bytes(CONTENT)
    path = network.place / f"{name}.yaml"
    path.write_text(json.dumps({"share": [str(folder)], "scan_seconds": "100ms", **config}))
    network.start("--data-dir", name, "--name", name, "--config", path)


def listed(network: Machine) -> int:
    """How many have it whole."""
    result = network.z("--data-dir", "g", "list", "--json")
    return sum(entry["have"] for entry in result.json["entries"]) if result.code == 0 else 0


def standing(network: Machine) -> dict[str, tuple[str, str]]:
    """State and reason of each source of the download, by name."""
    (job,) = network.status("g").get("jobs") or [{}]
    sources = (job.get("download") or {}).get("sources", [])
    return {one["name"]: (one["state"], one["reason"]) for one in sources}


@pytest.mark.slow
def test_sources_of_no_use_are_named_with_the_reason_and_one_that_is_of_use_is_waited_for(network: Machine) -> None:
    with ExitStack() as stack:
        own, refusing = (stack.enter_context(socket.socket()) for _ in range(2))
        ports = []
        for taken in (own, refusing):
            taken.bind(("127.0.0.1", 0))
            ports.append(taken.getsockname()[1])
        own.close()
        network.start_peer("g", "--listen", f"tcp://127.0.0.1:{ports[0]}")
        start_source(network, "moved", advertise=f"tcp://127.0.0.1:{ports[0]}")
        start_source(network, "refused", advertise=f"tcp://127.0.0.1:{ports[1]}")
        start_source(network, "foreign", advertise=network.tracker)
        eventually(lambda: listed(network) == 3, "all are listed")

        get = network.start("--data-dir", "g", "get", "m.bin", "-o", "o")

        def all_tried() -> dict[str, tuple[str, str]]:
            found = standing(network)
            return found if len(found) == 3 and all(state != "connecting" for state, _ in found.values()) else {}

        found = eventually(all_tried, "all sources were tried")
        assert found["moved"] == ("other_peer", ""), "whoever gets does not take itself for the source"
        assert found["refused"] == ("unreachable", "refused")
        assert found["foreign"][0] == "no_peer"
        status = network.run(network.peer("--data-dir", "g", "status")).out
        for text in ("SOURCES OF m.bin", "another peer answers", "not reachable: refused", "no peer answers there"):
            assert text in status
        eventually(lambda: "3 sources known" in get.err, "the command says what it waits for")

        pid = network.status("g")["pids"]["downloader"]
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: "no news from the downloader for" in get.err, "what is known of it is called old")
        os.kill(pid, signal.SIGCONT)

        start_source(network, "right")
        assert get.wait().code == 0
        assert (network.place / "o/m.bin").read_bytes() == CONTENT
