"""`node.piece_server.process` in a network with keys: whom it admits is what it was told last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import zmq

from node.host import ProcessHost
from node.local_messages import MemberKeys
from node.piece_server.admitted import Admitted
from node.piece_server.disk_files import DiskFiles
from node.piece_server.process import PieceServer, listen_kept
from node.piece_server.reading_threads import ReadingThreads
from protocol.codec import encode
from protocol.limits import MIB
from protocol.messages import Test as AskTest
from transport.curve import KeyPair, Keys, dial_as, new_pair
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import Role, open_context, open_socket

DIGEST = "blake3:" + 64 * "a"
SILENCE_SECONDS = 1.0


class Scene:
    def __init__(self, data_dir: Path) -> None:
        self.loop, self.context, self.outside = Loop(), open_context(), open_context()
        self.own, admitted = new_pair(), Admitted()
        keys = Keys(self.own, lambda _role, key: key in admitted)
        self.host = ProcessHost(self.loop, self.context, make_runtime_dir(data_dir), keys)
        self.threads = ReadingThreads(self.loop)
        peers = listen_kept(self.host, "tcp://127.0.0.1:0", data_dir / "port")
        self.port = peers.port
        self.server = PieceServer(self.host, peers, DiskFiles(), self.threads, Random(1), 1, admitted)

    def tell(self, added: list[KeyPair], removed: list[KeyPair], whole: bool = False) -> None:
        self.server._on_agent(MemberKeys([one.public for one in added], [one.public for one in removed], whole))

    def is_answered(self, own: KeyPair) -> bool:
        """Whether somebody with these keys is, who dials now."""
        peer = open_socket(self.outside, Role.FETCH_DEALER, 2 * MIB)
        dial_as(peer, own, self.own.public)
        peer.connect(f"tcp://127.0.0.1:{self.port}")
        try:
            peer.send(encode(AskTest(7, DIGEST)), zmq.NOBLOCK)
            return self._run(lambda: bool(peer.poll(0, zmq.POLLIN)))
        except zmq.Again:  # it has been turned away already, and does not try again
            return False
        finally:
            peer.close(0)

    def _run(self, until: Callable[[], bool]) -> bool:
        self.loop.resume()
        deadline = time.monotonic() + SILENCE_SECONDS

        def tick(now: float) -> float:
            if until() or now > deadline:
                self.loop.stop()
            self.server.tick(now)
            return now + 0.01

        self.loop.run(tick)
        return until()

    def close(self) -> None:
        self.host.close()
        self.threads.close()
        self.context.term()
        self.outside.term()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    remove_runtime_dir(tmp_path)


@pytest.mark.slow
def test_it_admits_members_and_nobody_before_it_was_told_of_them(scene: Scene) -> None:
    alice, bob = new_pair(), new_pair()
    assert not scene.is_answered(alice)
    scene.tell([alice], [])
    assert scene.is_answered(alice)
    assert not scene.is_answered(bob)
    scene.tell([bob], [], whole=True)
    assert scene.is_answered(bob)
    assert not scene.is_answered(alice)
    scene.tell([], [bob])
    assert not scene.is_answered(bob)
