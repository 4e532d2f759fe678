"""The last line: a process whose memory grows all the same ends, says why, and is started again."""

from __future__ import annotations

import contextlib
import resource
import socket as plain
import threading
from pathlib import Path

import pytest

from protocol.endpoints import parse_endpoint
from protocol.limits import MIB
from protocol.messages import GetSeederList, SeederList
from tests.broker.running import Client, RunningTracker
from tests.transport.test_connection_limit import GREETING, READY

pytestmark = pytest.mark.process

DATA_BYTES = 60 * MIB
"""A lookup needs 30 MiB to start, and these strangers take 30, each less than anybody is hung up on for."""


def begin_messages(port: int, stack: contextlib.ExitStack) -> None:
    """Over ever more connections, until they end."""
    while True:
        stranger = stack.enter_context(plain.create_connection(("127.0.0.1", port)))
        stranger.sendall(GREETING + READY + b"\2" + (60_000).to_bytes(8) + bytes(59_000))
        threading.Event().wait(0.005)


def test_a_process_that_reaches_its_memory_limit_says_so_and_is_started_again(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, before[1]))
    try:
        tracker = RunningTracker(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    with tracker, Client(tracker) as client:
        lookup = tracker.endpoints["lookups"][0]
        with contextlib.ExitStack() as stack, contextlib.suppress(ConnectionError):
            begin_messages(parse_endpoint(lookup).port, stack)
        tracker.wait_for(f"this process may have {DATA_BYTES * 4 // 5 // MIB} MiB")
        tracker.wait_for("starting it again")
        asked = client.ask(client.lookups[0], GetSeederList(1, f"blake3:{64 * '0'}"), SeederList)
        assert asked.total == 0
