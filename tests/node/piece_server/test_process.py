"""`node.piece_server.process`: what peers say over its socket is answered there, and pieces follow their header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import zmq

from node.disk.seed_store import store_seed
from node.disk.stamps import take_stamps
from node.host import ProcessHost
from node.local_messages import Serve, ShareState
from node.piece_server.disk_files import DiskFiles
from node.piece_server.process import PieceServer, listen_kept
from node.piece_server.reading_threads import ReadingThreads
from protocol.codec import Decoder, encode
from protocol.limits import MIB
from protocol.manifest import encode_manifest
from protocol.messages import Follow, Get, Piece, Status
from protocol.messages import Test as AskTest
from tests.node.disk.made_content import made_file
from tests.node.piece_server.dead_mount import DeadMount
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import Role, connect, drain, open_context, open_socket, send_or_drop

DIGEST = "blake3:" + 64 * "a"
ROUTE = b"peer"


class Scene:
    """A piece server, and a peer that the test plays, in one loop."""

    def __init__(self, data_dir: Path) -> None:
        self.loop = Loop()
        self.context = open_context()
        self.host = ProcessHost(self.loop, self.context, make_runtime_dir(data_dir))
        self.threads = ReadingThreads(self.loop)
        peers = listen_kept(self.host, "tcp://127.0.0.1:0", data_dir / "port")
        self.server = PieceServer(self.host, peers, DiskFiles(), self.threads, Random(1), 1)
        self.peer = open_socket(self.context, Role.FETCH_DEALER, 2 * MIB)
        self.peer.setsockopt(zmq.ROUTING_ID, ROUTE)
        connect(self.peer, f"tcp://127.0.0.1:{peers.port}")
        self.heard: list[list[bytes]] = []
        self.loop.add(self.peer, self._listen)

    def _listen(self) -> None:
        self.heard += [[frame.bytes for frame in frames] for frames in drain(self.peer)]

    def run(self, until: Callable[[], bool]) -> None:
        self.loop.resume()

        def tick(now: float) -> float | None:
            if until():
                self.loop.stop()
            return self.server.tick(now)

        self.loop.run(tick)

    def close(self) -> None:
        self.host.close()
        self.threads.close()
        self.peer.close(0)
        self.context.term()


@pytest.mark.parametrize("kept", [bytes(range(128, 256)), b"", b"99999999\n", "\u0663".encode()])
def test_a_damaged_file_of_the_last_port_is_written_anew(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "port").write_bytes(kept)
    scene = Scene(tmp_path)
    try:
        assert (tmp_path / "port").read_text().strip().isdecimal()
    finally:
        scene.close()
        remove_runtime_dir(tmp_path)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    remove_runtime_dir(tmp_path)


@pytest.mark.parametrize("data", [b"five", MIB * b"5"], ids=["short", "long"])
def test_a_piece_follows_its_header(scene: Scene, data: bytes) -> None:
    """A short one is copied into a message of ZeroMQ, a long one is sent from where it is."""
    header = Piece(7, 5, promised=[3, 9])
    sent: list[bool] = []

    def heard_all() -> bool:
        if scene.heard and not sent:
            sent.append(scene.server.piece_to_peer(ROUTE, header, data))
        return len(scene.heard) == 2

    assert send_or_drop(scene.peer, [encode(AskTest(7, DIGEST))])
    scene.run(heard_all)
    (status,), (piece, *frames) = scene.heard
    assert _decoded(status) == Status(7, "later")
    assert sent == [True]
    assert _decoded(piece) == header
    assert frames == [data]


@pytest.fixture
def dead(tmp_path: Path, scene: Scene) -> Iterator[Path]:
    """A file system whose server is dead. Threads end only after it has."""
    del scene
    mount = DeadMount(tmp_path / "dead")
    yield tmp_path / "dead"
    mount.abort()


def test_content_on_a_dead_file_system_leaves_other_content_served(scene: Scene, tmp_path: Path, dead: Path) -> None:
    lost, made = made_file(seed=2), made_file()
    root = made.put(tmp_path / "data")
    stamps = take_stamps(root, made.manifest)
    items = [
        Serve(
            one.manifest.digest, DIGEST, str(store_seed(tmp_path, encode_manifest(one.manifest))), path, stamps=stamps
        )
        for one, path in ((lost, str(dead / "data")), (made, str(root)))
    ]
    scene.server.core.agent_says(ShareState(1, "me", items, serving=True), scene.host.now())
    pieces = range(made.manifest.piece_count)
    for session, item in enumerate(items):
        assert send_or_drop(scene.peer, [encode(AskTest(session, item.digest))])
    scene.run(lambda: {_decoded(status).session for status, *_ in scene.heard} == {0, 1})
    for session in range(len(items)):
        assert send_or_drop(scene.peer, [encode(Follow(session, bytes(1), 9))])
        assert send_or_drop(scene.peer, [encode(Get(session, list(pieces)))])

    def sent() -> list[tuple[int, int, bytes]]:
        headers = [(_decoded(header), data) for header, *data in scene.heard if data]
        return [(header.session, header.piece, data[0]) for header, data in headers if isinstance(header, Piece)]

    scene.run(lambda: len(sent()) == len(pieces))
    assert sent() == [(1, piece, made.piece(piece)) for piece in pieces]


def _decoded(frame: bytes) -> Status | Piece:
    decoder: Decoder[Status | Piece] = Decoder(Status | Piece)
    return decoder.decode(frame)
