"""Sources that attack a real downloader, which gets the content from an honest one all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node.api_messages import ApiGet, ApiShare
from node.disk.hashing import hash_path
from protocol.limits import MIB
from protocol.link import Link, format_link
from protocol.messages import Entry
from tests.broker.running import Client, RunningTracker
from tests.hostile.strangers import ATTACK_SECONDS, EndlessSource, log, resident_bytes
from tests.node.test_hostile_sources import digest_of
from tests.node.test_peer_process import Peer, running, until

pytestmark = pytest.mark.process

MEMORY_BYTES = 192 * MIB
"""What a process may take for an attack."""
SECONDS = max(6.0, ATTACK_SECONDS)
"""How long an attack lasts."""


@pytest.mark.slow
@pytest.mark.alone
def test_a_source_whose_message_has_no_end_is_left(tmp_path: Path) -> None:
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(3_000_000))
    manifest = hash_path(content, "blake3", None, None)
    link = Link(manifest.digest, digest_of(manifest), content.name, manifest.length)
    with (
        RunningTracker(tmp_path, config="lookups: 1\nlease: 60s\n") as tracker,
        Client(tracker) as client,
        EndlessSource() as attack,
    ):
        registrar = tracker.endpoints["registrar"]
        honest, getter = Peer(tmp_path / "honest", registrar), Peer(tmp_path / "getter", registrar)
        with running(*honest.arguments), running(*getter.arguments):
            pid = until("both are in", lambda: honest.complete() and getter.complete()).pids["downloader"]
            entry = Entry(link.digest, link.manifest, link.name, link.length, "whole")
            client.join("endless", entry, endpoint=f"tcp://127.0.0.1:{attack.port}")
            before = peak = resident_bytes(pid)
            accepted = getter.ask(ApiGet, format_link(link), str(getter.directory), b"", False, False)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                peak = max(peak, resident_bytes(pid))
                time.sleep(0.01)
            assert attack.dialled_count > 1, "it was hung up on, and tried again"
            log.info("EndlessSource: %.0f MiB", (peak - before) / MIB)
            assert peak - before <= MEMORY_BYTES
            honest.ask(ApiShare, str(content), "blake3")
            job = getter.finished(accepted)
            assert job.phase == "done", job
