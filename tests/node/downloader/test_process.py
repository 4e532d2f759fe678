"""`node.downloader.process`: what comes over its sockets reaches the downloads, and what they say goes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import zmq

from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.disk.seed_store import store_seed
from node.downloader.links import FetchLinks
from node.downloader.process import Downloader
from node.host import ProcessHost
from node.local_messages import (
    AGENT_SOCKET,
    PIECES_SOCKET,
    DownloaderToAgent,
    DownloaderToPieceServer,
    DownloadFailed,
    DownloadReport,
    Fetch,
    Hello,
    Unserve,
)
from protocol.codec import Decoder, encode
from protocol.limits import LOCAL_BYTES_MAX
from protocol.manifest import encode_manifest
from protocol.messages import Message
from tests.node.disk.made_content import made_file
from transport.loop import Loop
from transport.runtime_dir import ipc_endpoint, make_runtime_dir, remove_runtime_dir
from transport.sockets import Role, bind, drain_routed, open_context, open_socket

DIGEST = "blake3:" + 64 * "a"


class Other:
    """The agent or the piece server: notes what it is told, and answers a hello with ``answer``."""

    def __init__(self, socket: zmq.Socket[bytes], kinds: object, answer: Message | None) -> None:
        self.heard: list[Message] = []
        self.socket = socket
        self._decoder: Decoder[Message] = Decoder(kinds, LOCAL_BYTES_MAX)
        self._answer = answer

    def listen(self) -> None:
        for route, (frame,) in drain_routed(self.socket):
            message = self._decoder.decode(frame.buffer)
            if isinstance(message, Hello) and not self.heard and self._answer is not None:
                self.socket.send_multipart([route, encode(self._answer, LOCAL_BYTES_MAX)])
            self.heard.append(message)


class Scene:
    """A downloader between an agent and a piece server that the test plays, all in one loop."""

    def __init__(self, data_dir: Path, order: Message) -> None:
        runtime_dir = make_runtime_dir(data_dir)
        self.loop = Loop()
        self.context = open_context()
        self.agent = Other(self._bound(runtime_dir, AGENT_SOCKET), DownloaderToAgent, order)
        self.pieces = Other(self._bound(runtime_dir, PIECES_SOCKET), DownloaderToPieceServer, None)
        for other in (self.agent, self.pieces):
            self.loop.add(other.socket, other.listen)
        self.host = ProcessHost(self.loop, self.context, runtime_dir)
        self.journal = Journal(data_dir)
        self.downloader = Downloader(
            self.host, FetchLinks(self.host), DiskStore(data_dir, self.journal), 1, Random(1), 1, os.getpid()
        )

    def _bound(self, runtime_dir: Path, name: str) -> zmq.Socket[bytes]:
        socket = open_socket(self.context, Role.LOCAL_ROUTER)
        bind(socket, ipc_endpoint(runtime_dir, name))
        return socket

    def run(self, until: Callable[[], bool]) -> None:
        def tick(now: float) -> float:
            if until():
                self.loop.stop()
            return self.downloader.tick(now)

        self.loop.run(tick)

    def close(self) -> None:
        self.downloader.close()
        self.host.close()
        self.journal.close()
        for other in (self.agent, self.pieces):
            other.socket.close(0)
        self.context.term()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    seed = store_seed(tmp_path, encode_manifest(made_file(1).manifest))
    order = Fetch(DIGEST, DIGEST, "name", 1, str(tmp_path / "nowhere" / "dest"), str(seed), False, False)
    scene = Scene(tmp_path, order)
    yield scene
    scene.close()
    remove_runtime_dir(tmp_path)


def test_an_order_is_carried_out_and_its_end_reported(scene: Scene) -> None:
    def reports() -> list[DownloadReport]:
        return [message for message in scene.agent.heard if isinstance(message, DownloadReport)]

    scene.run(lambda: Unserve(DIGEST) in scene.pieces.heard and "failed" in [report.phase for report in reports()])
    hello = scene.agent.heard[0]
    assert isinstance(hello, Hello)
    assert (hello.role, hello.pid) == ("downloader", os.getpid())
    assert [message for message in scene.pieces.heard if not isinstance(message, Hello)] == [Unserve(DIGEST)]
    (failed,) = [message for message in scene.agent.heard if isinstance(message, DownloadFailed)]
    assert failed.code == "disk"
    assert [report.phase for report in reports()] == ["checking", "failed"]
