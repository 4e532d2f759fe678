"""`node.downloader.links`: what a listener hears when a source cannot be dialled."""

from __future__ import annotations

import errno
import socket as plain
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from node.disk.store import Buffer
from node.downloader.download import SourceMessage
from node.downloader.links import FetchLinks
from protocol.codec import encode
from protocol.errors import NetworkError
from protocol.messages import Piece
from protocol.messages import Test as AskTest
from transport.loop import Loop
from transport.sockets import Role, bind, drain_routed, open_context, open_socket, send_or_drop

SESSION = 7


class Heard:
    """A listener that notes what it hears, and disconnects as a download does."""

    def __init__(self, links: FetchLinks) -> None:
        self.what: list[str] = []
        self._links = links

    def of(self, endpoint: str, loop: Loop) -> list[str]:
        """What it hears of a source at ``endpoint`` in the loop's next turn."""
        self._links.connect(SESSION, endpoint, 1024, self)
        assert self.what == []  # a listener that dials the next one at once must not go ever deeper
        loop.run(lambda _now: loop.stop() if self.what else None)
        return self.what

    def on_connected(self, session: int) -> None:
        assert session == SESSION
        self.what.append("connected")

    def on_lost(self, session: int, reason: str) -> None:
        self.what.append(f"lost: {reason}")
        self._links.disconnect(session)

    def on_misbehaved(self, session: int, reason: str) -> None:
        self.what.append(reason)
        self._links.disconnect(session)

    def on_message(self, session: int, message: SourceMessage) -> None:
        raise AssertionError(session, message)

    def on_piece(self, session: int, header: Piece, data: Buffer) -> None:
        assert session == header.session == SESSION
        self.what.append(f"piece {header.piece}: {bytes(data).decode()}")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made = open_context()
    yield made
    made.term()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def links(loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[FetchLinks]:
    made = FetchLinks(loop, context)
    yield made
    made.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "ipc://",
        "inproc://socket-monitor-0",
        "tcp://",
        "udp://127.0.0.1:5",
        "tcp://127.0.0.1:5 of another machine",
        "",
    ],
)
def test_a_source_is_never_dialled_on_this_machines_own_sockets(
    context: zmq.Context[zmq.Socket[bytes]], loop: Loop, links: FetchLinks, tmp_path: Path, endpoint: str
) -> None:
    """A tracker that lies must not lead a peer to the sockets of its own processes."""
    local = open_socket(context, Role.LOCAL_ROUTER)
    here = bind(local, f"ipc://{tmp_path}/agent.sock")
    (said,) = Heard(links).of(here if endpoint == "ipc://" else endpoint, loop)
    assert said == "lost: this machine cannot dial that address"
    local.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([b"one"], "piece 5: one"),
        ([b""], "piece 5: "),
        ([], "1 frames where a piece has 2"),
        ([b"one", b"more"], "3 frames where a piece has 2"),
    ],
)
def test_a_piece_has_one_frame(
    context: zmq.Context[zmq.Socket[bytes]], loop: Loop, links: FetchLinks, data: list[bytes], said: str
) -> None:
    source = open_socket(context, Role.PIECE_ROUTER)
    endpoint = bind(source, "tcp://127.0.0.1:0")
    heard = Heard(links)

    def ask_when_connected(now: float) -> float:
        if heard.what == ["connected"] and not asked:
            asked.append(True)
            links.send(SESSION, AskTest(SESSION, "blake3:" + "ab" * 32))
        elif len(heard.what) == 2:
            loop.stop()
        return now + 1.0

    def answer() -> None:
        for route, _ in drain_routed(source):
            send_or_drop(source, [route, encode(Piece(SESSION, 5)), *data])

    asked: list[bool] = []
    loop.add(source, answer)
    links.connect(SESSION, endpoint, 1024, heard)
    loop.run(ask_when_connected)
    loop.remove(source)
    source.close()
    assert heard.what == ["connected", said]


@pytest.mark.parametrize(
    ("missing", "why"),
    [("socket", "cannot open a fetch dealer socket"), ("monitor", "Too many open files")],
)
def test_a_machine_out_of_descriptors_loses_the_source_alone(
    loop: Loop, links: FetchLinks, monkeypatch: pytest.MonkeyPatch, missing: str, why: str
) -> None:
    made: list[zmq.Socket[bytes]] = []

    def fail(*_: object, **__: object) -> None:
        raise NetworkError("cannot open a fetch dealer socket")

    def fail_late(socket: zmq.Socket[bytes]) -> None:
        made.append(socket)
        raise zmq.ZMQError(errno.EMFILE)

    if missing == "socket":
        monkeypatch.setattr("node.downloader.links.open_socket", fail)
    else:
        monkeypatch.setattr("node.downloader.links.ConnectionMonitor", fail_late)
    assert Heard(links).of("tcp://127.0.0.1:9", loop) == [f"lost: {why}"]
    assert all(socket.closed for socket in made)


def test_it_is_told_why_a_source_cannot_be_reached(loop: Loop, links: FetchLinks) -> None:
    with plain.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert Heard(links).of(endpoint, loop) == ["lost: refused"]


def test_a_machine_there_is_no_way_to_has_refused_nothing(loop: Loop, links: FetchLinks) -> None:
    """A link-local address without its link, which no machine has a route to."""
    (said,) = Heard(links).of("tcp://[fe80::1]:9", loop)
    assert said in ("lost: this machine has no route to it", "lost: this machine has no IPv6")


def test_who_hangs_up_at_once_may_have_too_many_connections(loop: Loop, links: FetchLinks) -> None:
    with plain.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        loop.add(server.fileno(), hang_up)
        (said,) = Heard(links).of(f"tcp://127.0.0.1:{server.getsockname()[1]}", loop)
        loop.remove(server.fileno())
    assert said == "lost: it hangs up at once; it has too many connections, or is not a zswarm peer"


def test_another_program_at_the_address_is_no_peer(
    context: zmq.Context[zmq.Socket[bytes]], loop: Loop, links: FetchLinks
) -> None:
    with context.socket(zmq.PUB) as another:
        port = another.bind_to_random_port("tcp://127.0.0.1")
        assert Heard(links).of(f"tcp://127.0.0.1:{port}", loop) == ["it does not speak this protocol"]


def test_who_is_let_go_before_that_hears_nothing(loop: Loop, links: FetchLinks) -> None:
    heard = Heard(links)
    links.connect(SESSION, "ipc:///nowhere", 1024, heard)
    links.disconnect(SESSION)
    links.connect(SESSION + 1, "ipc:///nowhere", 1024, heard)
    links.disconnect(SESSION + 1)
    assert Heard(links).of("", loop)
    assert heard.what == []
