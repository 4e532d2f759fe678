"""A peer that gets content from a network full of strangers that lie to it, over real sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from node.api_messages import ApiGet, ApiShare, JobStatus
from node.disk.hashing import hash_path
from protocol import messages
from protocol.codec import Decoder, encode
from protocol.limits import MIB
from protocol.link import Link, format_link
from protocol.manifest import FileEntry, Manifest, encode_manifest, manifest_digest
from protocol.messages import (
    Entry,
    Follow,
    Get,
    GetManifest,
    ManifestPage,
    Message,
    NotHeld,
    Piece,
    PieceServerRequest,
    Status,
)
from tests.broker.running import Client, RunningTracker
from tests.node.test_peer_process import Peer, running, until

pytestmark = pytest.mark.process

Frames = list[bytes]
Behaviour = Callable[[Manifest, Message], list[Frames]]


def _one(message: Message) -> list[Frames]:
    return [[encode(message)]]


def _tempting(manifest: Manifest, message: Message) -> list[Frames]:
    """Everything an honest source does, up to the pieces: has all, and nothing to do but to send it."""
    if isinstance(message, GetManifest):
        data = encode_manifest(manifest)
        return _one(ManifestPage(message.session, message.page, len(data), data))
    if isinstance(message, messages.Test):
        return _one(Status(message.session, "complete", idle=True))
    return []


def _zeros(manifest: Manifest, header: Piece) -> Frames:
    return [encode(header), bytes(manifest.piece_size(header.piece))]


def corrupt(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, Get):
        return [_zeros(manifest, Piece(message.session, piece)) for piece in message.pieces[:1]]
    return _tempting(manifest, message)


def pushed(manifest: Manifest, message: Message) -> list[Frames]:
    """Sends a piece nobody asked for, to be relayed, and promises all others."""
    if isinstance(message, Follow):
        others = list(range(1, manifest.piece_count))
        return [_zeros(manifest, Piece(message.session, 0, relay=True, promised=others))]
    return _tempting(manifest, message)


def short(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, Follow):
        return [[encode(Piece(message.session, 0)), b"short"]]
    return _tempting(manifest, message)


def oversize(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, Follow):
        return [[encode(Piece(message.session, 0)), bytes(20 * MIB)]]
    return _tempting(manifest, message)


def incomplete(manifest: Manifest, message: Message) -> list[Frames]:
    """Names a piece and sends none."""
    if isinstance(message, Follow):
        return _one(Piece(message.session, 0))
    return _tempting(manifest, message)


def unasked(manifest: Manifest, message: Message) -> list[Frames]:
    """Sends a piece before there is credit."""
    if isinstance(message, messages.Test):
        return [_zeros(manifest, Piece(message.session, 1)), *_tempting(manifest, message)]
    return _tempting(manifest, message)


def empty_promises(manifest: Manifest, message: Message) -> list[Frames]:
    """Says it has everything, and takes every piece back."""
    if isinstance(message, Get):
        return [[encode(NotHeld(message.session, piece))] for piece in message.pieces]
    return _tempting(manifest, message)


def flood(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, Follow):
        return 1_000 * _one(Status(message.session, "complete"))
    return _tempting(manifest, message)


def garbage(_manifest: Manifest, _message: Message) -> list[Frames]:
    return [[os.urandom(1_000)], [b""], [b"a", b"b", b"c"], [b"\x91" * 2_000]]


def false_bits(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, messages.Test):
        return _one(Status(message.session, "partial", b"\xff" * 100))
    return _tempting(manifest, message)


def out_of_range(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, Follow):
        return _one(NotHeld(message.session, manifest.piece_count))
    return _tempting(manifest, message)


def another_session(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, messages.Test):
        return _one(Status(message.session + 1, "complete"))
    return _tempting(manifest, message)


def mute(_manifest: Manifest, _message: Message) -> list[Frames]:
    return []


def other_manifest(manifest: Manifest, message: Message) -> list[Frames]:
    """Hands out, under the right digest, a manifest that leads out of the directory."""
    if isinstance(message, GetManifest):
        data = encode_manifest(
            msgspec.structs.replace(manifest, files=(FileEntry("../other", manifest.length, False),))
        )
        return _one(ManifestPage(message.session, message.page, len(data), data))
    return corrupt(manifest, message)


def endless_manifest(manifest: Manifest, message: Message) -> list[Frames]:
    if isinstance(message, GetManifest):
        return _one(ManifestPage(message.session, message.page, 60 * MIB, bytes(100)))
    return corrupt(manifest, message)


def page_flood(manifest: Manifest, message: Message) -> list[Frames]:
    """Sends pages nobody asked for, before the one that was."""
    if isinstance(message, GetManifest):
        return [*(1_000 * _one(ManifestPage(message.session, 1, 99, bytes(99)))), *_tempting(manifest, message)]
    return _tempting(manifest, message)


BEHAVIOURS: list[Behaviour] = [
    corrupt,
    pushed,
    short,
    oversize,
    incomplete,
    unasked,
    empty_promises,
    flood,
    garbage,
    false_bits,
    out_of_range,
    another_session,
    mute,
    other_manifest,
    endless_manifest,
]


class Strangers(threading.Thread):
    """A piece server for each of ``behaviours``, on ports of its own. ``heard`` counts the requests each got."""

    def __init__(self, manifest: Manifest, behaviours: Sequence[Behaviour]) -> None:
        super().__init__(name="strangers")
        self._manifest = manifest
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._decoder: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        self._sockets = {self._bind(): behaviour for behaviour in behaviours}
        self._over = threading.Event()
        self.heard = dict.fromkeys([behaviour.__name__ for behaviour in behaviours], 0)

    def _bind(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.ROUTER)
        socket.set(zmq.LINGER, 0)
        socket.bind("tcp://127.0.0.1:0")
        return socket

    def endpoints(self) -> dict[str, str]:
        found = {}
        for socket, behaviour in self._sockets.items():
            endpoint = socket.get(zmq.LAST_ENDPOINT)
            assert isinstance(endpoint, bytes)
            found[behaviour.__name__] = endpoint.decode().rstrip("\0")
        return found

    def run(self) -> None:
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        while not self._over.is_set():
            for socket, _ in poller.poll(100):
                route, data = socket.recv_multipart()[:2]
                behaviour = self._sockets[socket]
                self.heard[behaviour.__name__] += 1
                for frames in behaviour(self._manifest, self._decoder.decode(data)):
                    socket.send_multipart([route, *frames])
        self._context.destroy(0)

    def end(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def strangers(
    tracker: RunningTracker, manifest: Manifest, behaviours: Sequence[Behaviour] = BEHAVIOURS
) -> Iterator[Strangers]:
    """They are members of the network, and say that they have the content whole."""
    entry = Entry(manifest.digest, digest_of(manifest), "content.bin", manifest.length, "whole")
    lying = Strangers(manifest, behaviours)
    lying.start()
    try:
        with Client(tracker) as client:
            for name, endpoint in lying.endpoints().items():
                client.join(name, entry, endpoint=endpoint)
            yield lying
    finally:
        lying.end()


def digest_of(manifest: Manifest) -> str:
    return manifest_digest(encode_manifest(manifest), manifest.algorithm)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[RunningTracker]:
    with RunningTracker(tmp_path, config="lookups: 1\nlease: 60s\n") as tracker:
        yield tracker


def test_among_strangers_that_lie_the_content_still_arrives_whole(tracker: RunningTracker, tmp_path: Path) -> None:
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(3_000_000))
    manifest = hash_path(content, "blake3", None, None)
    seed, link = encode_manifest(manifest), format_link(_link(manifest))
    registrar = tracker.endpoints["registrar"]
    honest, by_seed, by_link = (Peer(tmp_path / name, registrar) for name in ("honest", "seed", "link"))
    with ExitStack() as stack:
        lying = stack.enter_context(strangers(tracker, manifest))
        for peer in (honest, by_seed, by_link):
            stack.enter_context(running(*peer.arguments))
        until("the others are in", lambda: honest.joined() and by_link.joined())
        before = until("all its processes are in", by_seed.complete)
        accepted = by_seed.ask(ApiGet, "content.bin", str(by_seed.directory), seed, False, False, "content.bin")
        until("each stranger was asked", lambda: all(lying.heard.values()))
        until("those that lie are banned", lambda: len(banned(by_seed)) >= 8)
        honest.finished(honest.ask(ApiShare, str(content), "blake3"))
        with_link = by_link.ask(ApiGet, link, str(by_link.directory), b"", False, False)
        for peer, job in ((by_seed, by_seed.finished(accepted)), (by_link, by_link.finished(with_link))):
            assert job.phase == "done", job
            assert (peer.directory / "content.bin").read_bytes() == content.read_bytes()
        after = by_seed.status()
        assert after is not None
        assert after.pids == before.pids


def _link(manifest: Manifest) -> Link:
    return Link(manifest.digest, digest_of(manifest), "content.bin", manifest.length)


def banned(peer: Peer) -> list[str]:
    report = peer.status()
    jobs: list[JobStatus] = report.jobs if report is not None else []
    reports = [job.download for job in jobs if job.download is not None]
    return [source.peer for report in reports for source in report.sources if source.state == "banned"]


def test_a_stranger_that_floods_who_asks_for_a_manifest_isbanned(tracker: RunningTracker, tmp_path: Path) -> None:
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(300_000))
    manifest = hash_path(content, "blake3", None, None)
    getter = Peer(tmp_path / "getter", tracker.endpoints["registrar"])
    with strangers(tracker, manifest, [page_flood]), running(*getter.arguments):
        until("it is in", getter.complete)
        getter.ask(ApiGet, format_link(_link(manifest)), str(getter.directory), b"", False, False)
        until("the stranger is banned", lambda: banned(getter) == ["page_flood"])


@pytest.mark.slow
def test_a_link_that_nobody_honours_fails_with_the_reason(tmp_path: Path) -> None:
    """Once the tracker is sure that it knows everybody."""
    content = tmp_path / "content.bin"
    content.write_bytes(os.urandom(300_000))
    manifest = hash_path(content, "blake3", None, None)
    wrong = Link(manifest.digest, f"blake3:{'0' * 64}", "content.bin", manifest.length)
    with ExitStack() as stack:
        tracker = stack.enter_context(RunningTracker(tmp_path, config="lookups: 1\nheartbeat: 500ms\nlease: 2s\n"))
        registrar = tracker.endpoints["registrar"]
        honest, getter = Peer(tmp_path / "honest", registrar), Peer(tmp_path / "getter", registrar)
        for peer in (honest, getter):
            stack.enter_context(running(*peer.arguments))
        until("both are in", lambda: honest.joined() and getter.joined())
        honest.finished(honest.ask(ApiShare, str(content), "blake3"))
        job: Any = getter.finished(getter.ask(ApiGet, format_link(wrong), str(getter.directory), b"", False, False))
        assert (job.phase, job.code) == ("failed", "verification")
        assert "000000000000" in job.detail
        assert not (getter.directory / "content.bin").exists()
