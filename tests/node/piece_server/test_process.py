"""`node.piece_server.process`: what peers say over its socket is answered there, and pieces follow their header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from node.host import ProcessHost
from node.piece_server.disk_files import DiskFiles
from node.piece_server.process import PieceServer, listen_kept
from protocol.codec import Decoder, encode
from protocol.limits import MIB
from protocol.messages import Message, Piece, Status
from protocol.messages import Test as AskTest
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
        peers = listen_kept(self.host, "tcp://127.0.0.1:0", data_dir / "port")
        self.server = PieceServer(self.host, peers, DiskFiles(), 0, 1, 1)
        self.peer = open_socket(self.context, Role.FETCH_DEALER, 2 * MIB)
        self.peer.setsockopt(zmq.ROUTING_ID, ROUTE)
        connect(self.peer, f"tcp://127.0.0.1:{peers.port}")
        self.heard: list[list[bytes]] = []
        self.loop.add(self.peer, self._listen)

    def _listen(self) -> None:
        self.heard += [[frame.bytes for frame in frames] for frames in drain(self.peer)]

    def run(self, until: Callable[[], bool]) -> None:
        def tick(now: float) -> float | None:
            if until():
                self.loop.stop()
            return self.server.tick(now)

        self.loop.run(tick)

    def close(self) -> None:
        self.host.close()
        self.server.close()
        self.peer.close(0)
        self.context.term()


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


def _decoded(frame: bytes) -> Message:
    decoder: Decoder[Message] = Decoder(Status | Piece)
    return decoder.decode(frame)
