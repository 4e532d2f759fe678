"""Strangers that list what is not so, or very much, at a real tracker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from node.api_messages import ApiGet, ApiShare
from protocol import messages
from protocol.codec import Decoder, encode
from protocol.endpoints import parse_endpoint
from protocol.limits import ENTRIES_PAGE_COUNT, LIST_TRANSFERS_COUNT_MAX, REPLY_BYTES_MAX
from protocol.link import parse_link
from protocol.messages import Entry, FileList, Join, ListRequest, PageOk, RegistrarReply
from tests.broker.running import Client, RunningTracker
from tests.node.test_peer_process import Peer, running, until

pytestmark = pytest.mark.process

TOKEN = b"t" * 16


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[RunningTracker]:
    with RunningTracker(tmp_path, config="lookups: 1\nlease: 60s\n") as tracker:
        yield tracker


@pytest.mark.slow
def test_a_stranger_that_lists_a_digest_with_another_manifest_keeps_nobody_from_it(
    tracker: RunningTracker, tmp_path: Path
) -> None:
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(3_000_000))
    registrar = tracker.endpoints["registrar"]
    honest, getter = Peer(tmp_path / "honest", registrar), Peer(tmp_path / "getter", registrar)
    with Client(tracker) as client, running(*honest.arguments), running(*getter.arguments):
        until("both are in", lambda: honest.complete() and getter.complete())
        link = parse_link(honest.finished(honest.ask(ApiShare, str(content), "blake3")).link)
        claimed = Entry(link.digest, digest(6), "!a", link.length, "whole", announced=1)
        client.join("stranger", claimed, endpoint="tcp://127.0.0.1:9")
        accepted = getter.ask(ApiGet, link.digest, str(getter.directory), b"", False, False)
        job = getter.finished(accepted)
        assert job.phase == "done", job
        assert Path(job.path).read_bytes() == content.read_bytes()


def test_patterns_that_take_long_hold_nobody_up(tracker: RunningTracker) -> None:
    with Client(tracker) as client, Client(tracker) as stranger:
        for page in range(10):
            names = [f"{page * ENTRIES_PAGE_COUNT + n:05d}" + 240 * "a" for n in range(ENTRIES_PAGE_COUNT)]
            entries = [Entry(digest(int(name[:5])), digest(int(name[:5])), name, 1, "whole") for name in names]
            client.join(f"peer-{page}", *entries)
        request = messages.GetTorrentList(1, "*" + 50 * "[a-b]" + "c")
        everybody = messages.GetPeerList(2)
        until("all are in", lambda: len(stranger.ask(stranger.lookups[0], everybody, messages.PeerList).peers) == 10)
        began = time.monotonic()
        for _ in range(20):
            stranger.ask(stranger.lookups[0], request, messages.TorrentList)
        assert time.monotonic() - began < 20 * 0.05


@pytest.mark.slow
def test_lists_that_are_begun_and_not_ended_keep_nobody_out(tracker: RunningTracker) -> None:
    port = parse_endpoint(tracker.endpoints["registrar"]).port
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.DEALER) as stranger, Client(tracker) as client:
        stranger.set(zmq.LINGER, 0)
        stranger.set(zmq.RCVTIMEO, 10_000)
        stranger.connect(f"tcp://127.0.0.2:0;127.0.0.1:{port}")
        replies: Decoder[RegistrarReply] = Decoder(RegistrarReply, REPLY_BYTES_MAX)
        for number in range(LIST_TRANSFERS_COUNT_MAX):
            name = f"stranger-{number}"
            stranger.send(encode(Join(2, name, TOKEN, name, "tcp://*:7000")))
            begun = replies.decode(stranger.recv())
            assert isinstance(begun, ListRequest), begun
            page = [Entry(digest(1), digest(2), "a", 1, "whole")]
            stranger.send(encode(FileList(3, name, TOKEN, begun.list_id, 0, False, 1, page)))
            assert isinstance(replies.decode(stranger.recv()), PageOk)
        client.join("honest", Entry(digest(3), digest(4), "b", 1, "whole"))
