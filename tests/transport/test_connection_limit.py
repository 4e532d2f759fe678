"""`transport.connection_limit` against real connections; strangers connect and say nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket as plain
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from transport import connection_limit
from transport.accepted import Accepted
from transport.arrivals import Arrivals
from transport.connection_limit import ConnectionLimit
from transport.loop import Loop
from transport.sockets import Role, bind, connect, drain_routed, open_context, open_socket, send_or_drop

ROOM = 12
"""Connections there is room for, and a few more."""
STRANGERS = 2 * ROOM
PATIENCE_SECONDS = 20.0
GREETING = bytes([0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0]) + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
"""What a client says to shake hands (ZMTP 3.0)."""

Dealer = zmq.Socket[bytes]


@pytest.fixture
def strangers() -> Iterator[list[plain.socket]]:
    """Not connected yet, so that their descriptors, in the same process, count from the start."""
    made = [plain.socket() for _ in range(STRANGERS)]
    yield made
    for stranger in made:
        stranger.close()


@pytest.fixture
def honest() -> Iterator[list[Dealer]]:
    """Two who want an answer and dial again when they are refused, not connected yet either."""
    context = open_context()
    made = [open_socket(context, Role.LINK_DEALER) for _ in range(2)]
    for dealer in made:
        dealer.set(zmq.RECONNECT_IVL, 100)
    yield made
    for dealer in made:
        dealer.close(0)
    context.term()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A ROUTER that answers every message, in a process with room for some more connections; its endpoint."""
    context, loop, ended = open_context(), Loop(), threading.Event()
    router = open_socket(context, Role.PIECE_ROUTER)
    in_use = sum(1 for _ in Path("/proc/self/fd").iterdir())
    limit = ConnectionLimit(loop, (in_use + ROOM) * 4 // 3)
    limit.watch(Accepted(router, loop.now, Arrivals(loop, lambda _: None)))
    endpoint = bind(router, "tcp://127.0.0.1:0")

    def answer() -> None:
        for route, _ in drain_routed(router):
            send_or_drop(router, [route, b"served"])

    def tick(now: float) -> float:
        if ended.is_set():
            loop.stop()
        return min(limit.tick(now), now + 0.05)

    loop.add(router, answer)
    thread = threading.Thread(target=loop.run, args=[tick])
    thread.start()
    try:
        yield endpoint
    finally:
        ended.set()
        thread.join()
        limit.close()
        router.close(0)
        context.term()


def shake_hands(strangers: list[plain.socket], endpoint: str) -> list[plain.socket]:
    """Connect all; those that were let in."""
    for stranger in strangers:
        stranger.connect(("127.0.0.1", int(endpoint.rpartition(":")[2])))
        stranger.sendall(GREETING + READY)
    return [stranger for stranger in strangers if not is_closed(stranger)]


def is_closed(stranger: plain.socket) -> bool:
    """Whether the other side closes it within a moment, or did."""
    stranger.settimeout(0.05)
    try:
        while stranger.recv(1_000):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


def is_answered(dealer: Dealer, seconds: float) -> bool:
    """Whether ``dealer``, which is connected, is served within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if send_or_drop(dealer, [b"question"]) and dealer.poll(100):
            return dealer.recv() == b"served"
        time.sleep(0.02)  # not connected yet
    return False


def test_nobody_is_accepted_beyond_the_mark_and_the_next_one_is_when_there_is_room(
    strangers: list[plain.socket], honest: list[Dealer], caplog: pytest.LogCaptureFixture
) -> None:
    early, late = honest
    with serving() as endpoint:
        connect(early, endpoint)
        assert is_answered(early, PATIENCE_SECONDS)
        accepted = shake_hands(strangers, endpoint)
        assert 1 <= len(accepted) <= ROOM
        connect(late, endpoint)
        assert not is_answered(late, 0.3)
        assert is_answered(early, PATIENCE_SECONDS), "who is in stays in"
        assert not any(map(is_closed, accepted))
        for stranger in strangers:
            stranger.close()
        assert is_answered(late, PATIENCE_SECONDS)
    lines = [record.getMessage() for record in caplog.records if "too many connections" in record.getMessage()]
    assert len(lines) == 1
    assert "ulimit -n" in lines[0]


def test_connections_that_are_silent_give_way(
    strangers: list[plain.socket], honest: list[Dealer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limit, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(connection_limit, "LOOK_SECONDS", 0.1)
    with serving() as endpoint:
        accepted = shake_hands(strangers, endpoint)
        for dealer in honest:
            connect(dealer, endpoint)
            assert is_answered(dealer, PATIENCE_SECONDS)
        assert any(map(is_closed, accepted))


def test_who_comes_while_descriptors_are_counted_is_counted_once(
    strangers: list[plain.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, loop, count, coming = open_context(), Loop(), os.listdir, strangers[: ROOM * 2 // 3]
    router = open_socket(context, Role.PIECE_ROUTER)
    in_use = len(count("/proc/self/fd"))
    limit = ConnectionLimit(loop, (in_use + ROOM) * 4 // 3)
    limit.watch(Accepted(router, loop.now, Arrivals(loop, lambda _: None)))
    endpoint = bind(router, "tcp://127.0.0.1:0")
    before = len(count("/proc/self/fd"))

    def count_when_they_came(path: str) -> list[str]:
        assert shake_hands(coming, endpoint) == coming
        while len(count(path)) < before + len(coming):
            time.sleep(0.01)
        return count(path)

    turns = itertools.count()
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", count_when_they_came)
        limit.tick(loop.now())
    loop.run(lambda now: now + 0.2 if next(turns) < 2 else loop.stop())
    assert not any(map(is_closed, coming))
    limit.close()
    router.close(0)
    context.term()


def test_a_low_limit_is_told_at_start(caplog: pytest.LogCaptureFixture) -> None:
    with serving():
        assert "raise the limit (ulimit -n)" in caplog.text
