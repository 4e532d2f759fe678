"""`node.agent.dialled` against real sockets: each attempt has an outcome, and none is the last."""

from __future__ import annotations

import socket as plain
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import zmq

from node.agent import dialled
from node.agent.dialled import Dialled
from node.host import ProcessHost
from node.work_queue import WorkQueue
from protocol.codec import Decoder, encode
from protocol.messages import Ok, RegistrarReply
from transport import zmq_transport
from transport.loop import Loop
from transport.monitor import ConnectionEvent
from transport.ports import Transport
from transport.sockets import Role, bind, open_context, open_socket

PATIENCE_SECONDS = 20


class Scene:
    """A connection that is dialled, in a loop that runs until something was heard. ``heard`` has the host of each
    connection, why there was none, and each message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dialled, "REDIAL_SECONDS", 0.001)
        self.context = open_context()
        self.loop = Loop()
        self.host = ProcessHost(self.loop, self.context, Path())
        self.names = self.host.workers(1)
        self.heard: list[Any] = []
        self.opened: list[zmq.Socket[bytes]] = []
        self.connection: Dialled[RegistrarReply] | None = None

    def dial(self, endpoint: str) -> None:
        decoder: Decoder[RegistrarReply] = Decoder(RegistrarReply)
        hear = self.heard.append
        told = hear, hear, lambda why, _denied: hear(why)
        self.connection = Dialled(self.host, self.names, Role.CONTROL_DEALER, endpoint, decoder, *told, Random(1))

    def serve(self, role: Role, endpoint: str = "tcp://127.0.0.1:0") -> tuple[zmq.Socket[bytes], str]:
        server = open_socket(self.context, role)
        self.opened.append(server)
        return server, bind(server, endpoint)

    def until(self, what: Callable[[Any], bool]) -> Any:
        """Run until something is heard of which ``what`` is true; that is returned, and what came before is dropped."""
        assert self.connection is not None
        loop, connection = self.loop, self.connection
        loop.resume()
        deadline = time.monotonic() + PATIENCE_SECONDS

        def tick(now: float) -> float:
            assert now < deadline, self.heard
            if any(map(what, self.heard)):
                loop.stop()
            connection.tick(now)
            due = connection.next_deadline()
            return deadline if due is None else min(due, deadline)

        loop.run(tick)
        while not what(found := self.heard.pop(0)):
            pass
        return found

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        for server in self.opened:
            server.close()
        self.names.close(PATIENCE_SECONDS)
        self.context.term()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(monkeypatch)
    yield made
    made.close()


def says(*words: str) -> Callable[[Any], bool]:
    return lambda heard: isinstance(heard, str) and all(word in heard for word in words)


def test_after_a_socket_of_another_kind_the_tracker_is_reached(scene: Scene) -> None:
    stranger, endpoint = scene.serve(Role.TRACKER_PUB)
    scene.dial(endpoint)
    scene.until(says("something that is not a zswarm tracker"))
    stranger.close()
    scene.until(says("connection refused; is it running there?"))
    router, _ = scene.serve(Role.TRACKER_ROUTER, endpoint)
    assert scene.until(says("127.0.0.1")) == "127.0.0.1"
    assert scene.connection is not None
    scene.connection.send(Ok(1, 2, 3))
    assert router.poll(PATIENCE_SECONDS * 1_000)
    route, _ = router.recv_multipart()
    router.send_multipart([route, encode(Ok(7, 2, 3))])
    assert scene.until(lambda heard: isinstance(heard, Ok)).id == 7
    router.close()
    scene.until(says("connection lost"))
    scene.serve(Role.TRACKER_ROUTER, endpoint)
    scene.until(says("127.0.0.1"))


def test_who_takes_the_connection_and_never_speaks_is_no_stranger(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hurried(context: zmq.Context[zmq.Socket[bytes]], role: Role, size: int | None) -> zmq.Socket[bytes]:
        socket = open_socket(context, role, size)
        socket.set(zmq.HANDSHAKE_IVL, 50)
        return socket

    monkeypatch.setattr(zmq_transport, "open_socket", hurried)
    with plain.create_server(("127.0.0.1", 0)) as server:
        scene.dial(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        scene.until(says("does not answer"))


def test_all_addresses_of_a_name_are_tried_and_it_is_looked_up_afresh(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, endpoint = scene.serve(Role.TRACKER_ROUTER)
    addresses: list[str] = []

    def getaddrinfo(*_: object, **__: object) -> list[Any]:
        if not addresses:
            raise plain.gaierror(plain.EAI_NONAME, "Name or service not known")
        return [(plain.AF_INET, plain.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(plain, "getaddrinfo", getaddrinfo)
    scene.dial(endpoint.replace("127.0.0.1", "tracker.lab"))
    scene.until(says("the name tracker.lab cannot be resolved"))
    addresses[:] = ["127.0.0.9"]
    scene.until(says("connection refused"))
    addresses[:] = ["127.0.0.9", "127.0.0.1"]
    scene.until(lambda heard: heard == "127.0.0.1")


def test_different_problems_of_several_addresses_are_all_told() -> None:
    assert dialled._summary({"[::1]": "no answer", "10.0.0.1": "connection refused"}) == (
        "[::1]: no answer, 10.0.0.1: connection refused"
    )
    assert dialled._summary({"[::1]": "no answer", "10.0.0.1": "no answer"}).startswith("no answer; is the machine up")


class _Refusing:
    """A transport, and its only line: whoever dials is not admitted."""

    now = staticmethod(time.monotonic)

    def dial(self, _role: Role, _endpoint: str, _decoder: object, owner: Dialled[RegistrarReply], key: str) -> Any:
        assert key == "k"
        self.owner = owner
        return self

    def close(self, linger_ms: int) -> None:
        assert linger_ms == 0


@pytest.mark.parametrize("event", [ConnectionEvent.DENIED, ConnectionEvent.SILENT])
def test_whether_it_is_not_admitted_is_told_with_the_reason(event: ConnectionEvent) -> None:
    transport, lost = _Refusing(), []
    decoder: Decoder[RegistrarReply] = Decoder(RegistrarReply)
    told = print, print, lambda *what: lost.append(what)
    names, role = cast(WorkQueue, None), Role.CONTROL_DEALER
    connection = Dialled(cast(Transport, transport), names, role, "tcp://10.0.0.1:1", decoder, *told, Random(1), "k")
    connection.tick(time.monotonic())
    transport.owner.on_lost(event)
    assert [denied for _why, denied in lost] == [event is ConnectionEvent.DENIED]
