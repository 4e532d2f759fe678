"""The last line: a process whose memory grows all the same ends, says why, and is started again."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from protocol.endpoints import parse_endpoint
from protocol.limits import MIB
from protocol.messages import GetSeederList, SeederList
from tests.broker.running import Client, RunningTracker
from tests.hostile.strangers import Unfinished

pytestmark = pytest.mark.process

DATA_BYTES = 110 * MIB
"""A lookup needs 40 MiB to start, and these strangers take 70, each less than anybody is hung up on for."""


def test_a_process_that_reaches_its_memory_limit_says_so_and_is_started_again(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, before[1]))
    try:
        tracker = RunningTracker(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    with tracker, Client(tracker) as client:
        lookup = tracker.endpoints["lookups"][0]
        with Unfinished(parse_endpoint(lookup).port, "127.0.0.2"):
            tracker.wait_for("this process may have 88 MiB")
            tracker.wait_for("starting it again")
        asked = client.ask(client.lookups[0], GetSeederList(1, f"blake3:{64 * '0'}"), SeederList)
        assert asked.total == 0
