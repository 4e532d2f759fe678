"""`node.piece_server.process`: what peers say over its socket is answered there, and pieces follow their header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from node.config import PieceServerSettings
from node.piece_server.process import PieceServer
from protocol.codec import Decoder, encode
from protocol.limits import MIB
from protocol.messages import Message, Piece, Status
from protocol.messages import Test as AskTest
from service.logs import LogSettings
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
        settings = PieceServerSettings(
            data_dir=str(data_dir),
            runtime_dir=str(make_runtime_dir(data_dir)),
            listen="tcp://127.0.0.1:0",
            upload_rate=0,
            log=LogSettings(),
        )
        self.server = PieceServer(settings, self.loop, self.context)
        self.peer = open_socket(self.context, Role.FETCH_DEALER, 2 * MIB)
        self.peer.setsockopt(zmq.ROUTING_ID, ROUTE)
        connect(self.peer, f"tcp://127.0.0.1:{self.server.port}")
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
        self.server.close()
        self.peer.close(0)
        self.context.term()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    remove_runtime_dir(tmp_path)


@pytest.mark.parametrize("data", [b"short", MIB * b"3"], ids=["copied into a message", "sent from where it is"])
def test_a_piece_follows_its_header(scene: Scene, data: bytes) -> None:
    header = Piece(7, 1, relay=True, promised=[2, 3])
    sent: list[bool] = []

    def heard_all() -> bool:
        if scene.heard and not sent:
            sent.append(scene.server.piece_to_peer(ROUTE, header, data))
        return len(scene.heard) == 2

    assert send_or_drop(scene.peer, [encode(AskTest(7, DIGEST))])
    scene.run(heard_all)
    (status,), (piece, frame) = scene.heard
    assert _decoded(status) == Status(7, "later")
    assert sent == [True]
    assert _decoded(piece) == header
    assert frame == data


def _decoded(frame: bytes) -> Message:
    decoder: Decoder[Message] = Decoder(Status | Piece)
    return decoder.decode(frame)
