"""Strangers that list what is not so, or very much, at a real tracker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from node.api_messages import ApiGet, ApiShare
from node.disk.share_options import AS_USUAL
from protocol import messages
from protocol.codec import Decoder, encode
from protocol.endpoints import parse_endpoint
from protocol.limits import ALIASES_COUNT_MAX, ENTRIES_PAGE_COUNT, LIST_TRANSFERS_COUNT_MAX, REPLY_BYTES_MAX
from protocol.link import Link, parse_link
from protocol.messages import Alias, Entry, FileList, Join, ListRequest, PageOk, RegistrarReply
from protocol.signature import format_key, public_key, sign
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


@pytest.mark.slow
def test_strangers_cannot_decide_what_a_key_says_that_a_name_means(tracker: RunningTracker, tmp_path: Path) -> None:
    """They list what the key said before as if it were the newest, its signatures beside other content, and false ones
    by the thousand."""
    secret, name = b"s" * 32, "content.bin"
    content = tmp_path / "honest-files" / name
    content.parent.mkdir()
    content.write_bytes(os.urandom(300_000))
    registrar = tracker.endpoints["registrar"]
    honest, getter = Peer(tmp_path / "honest", registrar), Peer(tmp_path / "getter", registrar)
    with Client(tracker) as client, running(*honest.arguments), running(*getter.arguments):
        until("both are in", lambda: honest.complete() and getter.complete())
        link = parse_link(honest.finished(honest.ask(ApiShare, str(content), "blake3")).link)
        signed_at = int(time.time() * 1e6)  # since the tracker started: nobody waits for what it may not list yet
        right = sign(secret, link, signed_at)
        honest.finished(honest.ask(ApiShare, str(content), "blake3", AS_USUAL, right))
        old = Link(digest(1), digest(2), name, 5)
        before = sign(secret, old, signed_at - 1)
        later, far = int(time.time() * 1e6) + 10**9, (2**52).to_bytes(8, "big")
        false = [bytes([n % 256, n // 256]) * 32 for n in range(900)]
        entries = [
            Entry(old.digest, old.manifest, name, 5, "whole", announced=later, signature=before),
            Entry(digest(3), digest(2), name, 5, "whole", announced=later, signature=right),
            Entry(digest(4), digest(2), name, link.length, "whole", signature=right[:32] + far + right[40:]),
            *(
                Entry(digest(9 + n), digest(2), name, 5, "whole", signature=right[:40] + one)
                for n, one in enumerate(false)
            ),
        ]
        others = [Alias(name, link.manifest, signature=right[:40] + one) for one in false[:ALIASES_COUNT_MAX]]
        entries.append(
            Entry(link.digest, link.manifest, name, link.length, "whole", tuple(others), signature=b"x" * 104)
        )
        for page in range(0, len(entries), ENTRIES_PAGE_COUNT):
            client.join(f"stranger-{page}", *entries[page : page + ENTRIES_PAGE_COUNT], endpoint="tcp://127.0.0.1:9")
        key = format_key(public_key(secret))
        accepted = getter.ask(ApiGet, name, str(getter.directory), b"", False, False, "", 0, (key,))
        job = getter.finished(accepted)
        assert (job.phase, job.signed_by) == ("done", [key]), job
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
