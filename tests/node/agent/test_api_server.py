"""`node.agent.api_server` and `node.client.api_client` over a real socket, without a peer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.agent.api_server import ApiServer
from node.api_messages import ApiDone, ApiJoin, ApiLeave, ApiRequest
from node.client.api_client import ApiClient
from node.host import ProcessHost
from node.local_messages import API_SOCKET
from protocol.errors import NetworkError
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import open_context


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    make_runtime_dir(tmp_path)
    yield tmp_path
    remove_runtime_dir(tmp_path)


def serve_until_leave(data_dir: Path, ready: threading.Event) -> None:
    """Answer `ApiJoin` with `ApiDone` and a stray reply before it; end with `ApiLeave`."""
    loop, context = Loop(), open_context()

    def answer(route: bytes, request: ApiRequest, _now: float) -> None:
        if isinstance(request, ApiJoin):
            server.reply(route, ApiDone(request.id - 1, "stray"))
            server.reply(route, ApiDone(request.id, "joined"))
        else:
            server.reply(route, ApiDone(request.id, "bye"))
            loop.stop()

    host = ProcessHost(loop, context, make_runtime_dir(data_dir))
    server = ApiServer(host, answer)
    ready.set()
    loop.run(lambda _now: None)
    host.close()
    context.term()


def test_requests_are_answered_by_id_and_the_last_reply_arrives(data_dir: Path) -> None:
    ready = threading.Event()
    thread = threading.Thread(target=serve_until_leave, args=(data_dir, ready))
    thread.start()
    assert ready.wait(10)
    with contextlib.closing(ApiClient(data_dir)) as client:
        assert client.request(ApiJoin(7)) == ApiDone(7, "joined")
        assert client.request(ApiLeave(8)) == ApiDone(8, "bye")
    thread.join(10)
    assert not thread.is_alive()


def test_no_peer_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"start one with: python -m node --data-dir"):
        ApiClient(tmp_path)
    with pytest.raises(NetworkError, match=f"start one with: zswarm --data-dir {tmp_path}"):
        ApiClient(tmp_path, program="zswarm")


def test_the_socket_of_a_killed_peer_is_no_peer(data_dir: Path) -> None:
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(make_runtime_dir(data_dir) / API_SOCKET))
    left_behind.close()
    with pytest.raises(NetworkError, match="no peer runs"):
        ApiClient(data_dir)


def test_a_peer_that_says_nothing_is_a_network_error(data_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(make_runtime_dir(data_dir) / API_SOCKET))
        silent.listen()
        with (
            contextlib.closing(ApiClient(data_dir)) as client,
            pytest.raises(NetworkError, match="has not answered for 0 s"),
        ):
            client.request(ApiJoin(1), timeout=0.05)
