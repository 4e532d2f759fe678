"""`transport.monitor` against real sockets."""

from __future__ import annotations

import os
import socket as plain
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from protocol.limits import MIB
from tests.transport.conftest import Open
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, bind, connect, send_or_drop

CONNECTED, UNREACHED, SILENT, HUNG_UP, STRANGER, OTHER_SECURITY, DENIED, LOST = ConnectionEvent
PATIENCE_SECONDS = 20.0


def wait_for(monitor: ConnectionMonitor, count: int) -> list[ConnectionEvent]:
    """The next ``count`` changes."""
    seen: list[ConnectionEvent] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < count:
        left = deadline - time.monotonic()
        assert left > 0, f"only {seen}"
        monitor.socket.poll(int(left * 1_000) + 1)
        seen += monitor.events()
    return seen


@pytest.fixture
def silent_port() -> Iterator[plain.socket]:
    """A port that is taken, so that nobody else gets it, and refuses connections."""
    with plain.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def endpoint_of(server: plain.socket) -> str:
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(params=[Role.FETCH_DEALER, Role.LINK_DEALER])
def dialer(request: pytest.FixtureRequest, opened: Open) -> Iterator[tuple[zmq.Socket[bytes], ConnectionMonitor]]:
    """A socket that is watched and not yet connected: one that reconnects by itself and one that does not."""
    socket = opened(request.param, MIB)
    monitor = ConnectionMonitor(socket)
    yield socket, monitor
    monitor.close()
    socket.close()


Dialer = tuple[zmq.Socket[bytes], ConnectionMonitor]


def test_nothing_happens_before_connecting(dialer: Dialer) -> None:
    assert dialer[1].events() == []


def test_connected_and_usable_at_once(opened: Open, dialer: Dialer) -> None:
    socket, monitor = dialer
    router = opened(Role.PIECE_ROUTER)
    send_or_drop(socket, [b"too early, and libzmq has just looked for news"])
    connect(socket, bind(router, "tcp://127.0.0.1:0"))
    assert wait_for(monitor, 1) == [CONNECTED]
    assert send_or_drop(socket, [b"x"])
    assert monitor.events() == []


def test_a_server_that_closes(opened: Open, dialer: Dialer) -> None:
    socket, monitor = dialer
    router = opened(Role.PIECE_ROUTER)
    connect(socket, bind(router, "tcp://127.0.0.1:0"))
    assert wait_for(monitor, 1) == [CONNECTED]
    router.close()
    assert wait_for(monitor, 1) == [LOST]


def test_a_refused_port(dialer: Dialer, silent_port: plain.socket) -> None:
    socket, monitor = dialer
    connect(socket, endpoint_of(silent_port))
    assert wait_for(monitor, 1) == [UNREACHED]


def test_someone_who_hangs_up_before_the_handshake(dialer: Dialer) -> None:
    socket, monitor = dialer
    with plain.create_server(("127.0.0.1", 0)) as server:
        connect(socket, endpoint_of(server))
        server.settimeout(PATIENCE_SECONDS)
        server.accept()[0].close()
        assert wait_for(monitor, 1) == [HUNG_UP]


def test_someone_who_speaks_another_protocol(dialer: Dialer) -> None:
    socket, monitor = dialer
    with plain.create_server(("127.0.0.1", 0)) as server:
        connect(socket, endpoint_of(server))
        server.settimeout(PATIENCE_SECONDS)
        with server.accept()[0] as stranger:
            # The greeting of ZMTP 3, and a command that is none.
            stranger.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
            stranger.sendall(b"\x04\x05\x04NONE")
            assert wait_for(monitor, 1) == [STRANGER]


def test_someone_who_has_keys(dialer: Dialer) -> None:
    socket, monitor = dialer
    with plain.create_server(("127.0.0.1", 0)) as server:
        connect(socket, endpoint_of(server))
        server.settimeout(PATIENCE_SECONDS)
        with server.accept()[0] as stranger:
            # The greeting of ZMTP 3, and a security mechanism that is not ours.
            stranger.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32))
            assert wait_for(monitor, 1) == [OTHER_SECURITY]


def test_a_socket_of_a_kind_that_does_not_fit(opened: Open, dialer: Dialer) -> None:
    socket, monitor = dialer
    connect(socket, bind(opened(Role.TRACKER_PUB), "tcp://127.0.0.1:0"))
    assert wait_for(monitor, 1) == [STRANGER]


def test_someone_who_never_shakes_hands(opened: Open) -> None:
    socket = opened(Role.FETCH_DEALER, MIB)
    socket.set(zmq.HANDSHAKE_IVL, 50)
    monitor = ConnectionMonitor(socket)
    with plain.create_server(("127.0.0.1", 0)) as server:
        connect(socket, endpoint_of(server))
        assert wait_for(monitor, 1) == [SILENT]
    monitor.close()


def test_one_that_reconnects_comes_back_and_tells_changes_only(opened: Open, silent_port: plain.socket) -> None:
    socket = opened(Role.LINK_DEALER)
    socket.set(zmq.RECONNECT_IVL, 1)
    monitor = ConnectionMonitor(socket)
    endpoint = endpoint_of(silent_port)
    connect(socket, endpoint)
    assert wait_for(monitor, 1) == [UNREACHED]
    silent_port.close()
    first = opened(Role.TRACKER_ROUTER)
    bind(first, endpoint)
    assert wait_for(monitor, 1) == [CONNECTED]
    first.close()
    assert wait_for(monitor, 1) == [LOST]
    bind(opened(Role.TRACKER_ROUTER), endpoint)
    assert wait_for(monitor, 1) == [CONNECTED]
    monitor.close()


@pytest.mark.process
def test_a_server_that_is_killed(dialer: Dialer) -> None:
    program = (
        "import zmq; s = zmq.Context().socket(zmq.ROUTER); s.bind('tcp://127.0.0.1:0');"
        "print(s.last_endpoint.decode(), flush=True); s.recv()"
    )
    socket, monitor = dialer
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        connect(socket, server.stdout.readline().strip())
        assert wait_for(monitor, 1) == [CONNECTED]
        server.kill()
    assert wait_for(monitor, 1) == [LOST]


@pytest.mark.parametrize("socket_first", [False, True])
def test_closing_leaks_nothing(opened: Open, socket_first: bool) -> None:
    router = opened(Role.PIECE_ROUTER)
    endpoint = bind(router, "tcp://127.0.0.1:0")

    def cycle() -> None:
        socket = opened(Role.FETCH_DEALER, MIB)
        monitor = ConnectionMonitor(socket)
        connect(socket, endpoint)
        wait_for(monitor, 1)
        if socket_first:
            socket.close()
        monitor.close()
        monitor.close()
        socket.close()

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    cycle()
    before = descriptors()
    for _ in range(30):
        cycle()
    # The I/O thread closes in its own time: what was left behind would be over thirty descriptors.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while descriptors() > before + 5:
        assert time.monotonic() < deadline, "descriptors leak"
        os.sched_yield()
        router.poll(10)
