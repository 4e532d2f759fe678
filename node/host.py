"""What a process of a peer runs on: the ports of its shell to its network, its threads and its siblings.

`ProcessHost` is the real one, `cluster.simulated.host.SimulatedHost` the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import zmq

from node.work_queue import WorkQueue
from node.workers import Workers
from protocol.codec import Decoder, encode
from protocol.errors import ProtocolError
from protocol.limits import LOCAL_BYTES_MAX
from transport.loop import Loop
from transport.ports import Transport
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, connect, drain, drain_routed, open_socket, send_or_drop
from transport.zmq_transport import ZmqTransport

T = TypeVar("T")
R = TypeVar("R")


OnGarbage = Callable[[bytes, bytes | memoryview, ProtocolError], None]
"""Takes the route, what came by it, and why that is no message."""
log = logging.getLogger(__name__)


def log_garbage(_route: bytes, _data: bytes | memoryview, error: ProtocolError) -> None:
    log.error("one of this peer's own processes sent a message that cannot be understood: %s", error)


class LocalDealer(Protocol):
    """Leads to another process of the peer. What is said while that does not run waits for its next run."""

    def listen(self, on_message: Callable[[Any], None]) -> None: ...
    def send(self, message: msgspec.Struct) -> None: ...
    def close(self) -> None: ...


class LocalRouter(Protocol):
    """Where other processes of the peer, and its command line, say something."""

    def send(self, route: bytes, message: msgspec.Struct) -> None:
        """Answer; nothing arrives where nobody is any more."""

    def close(self) -> None: ...


class Host(Transport, Protocol):
    """Processes of a peer reach each other by names in its runtime directory."""

    def workers(self, count: int, done: Callable[[T, R | BaseException], None]) -> WorkQueue[T, R]:
        """``count`` threads; ``done`` is told in turns of this process."""

    def dial_local(self, name: str, kinds: Any) -> LocalDealer:
        """To the process that listens as ``name``, which says messages of ``kinds``."""

    def listen_local(
        self, name: str, kinds: Any, on_message: Callable[[bytes, Any], None], on_garbage: OnGarbage = log_garbage
    ) -> LocalRouter:
        """As ``name``; messages of ``kinds`` come with the route that leads back."""


class ProcessHost(ZmqTransport):
    """Over the sockets of ``runtime_dir``."""

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]], runtime_dir: Path) -> None:
        super().__init__(loop, context)
        self._runtime_dir = runtime_dir

    def workers(self, count: int, done: Callable[[T, R | BaseException], None]) -> WorkQueue[T, R]:
        workers: Workers[T, R] = Workers(count)

        def on_ready() -> None:
            for tag, result in workers.results():
                done(tag, result)

        self.loop.add(workers.fd, on_ready)
        return workers

    def dial_local(self, name: str, kinds: Any) -> LocalDealer:
        socket = open_socket(self.context, Role.LOCAL_DEALER)
        connect(socket, ipc_endpoint(self._runtime_dir, name))
        return _LocalDealer(self.loop, socket, Decoder(kinds, LOCAL_BYTES_MAX))

    def listen_local(
        self, name: str, kinds: Any, on_message: Callable[[bytes, Any], None], on_garbage: OnGarbage = log_garbage
    ) -> LocalRouter:
        socket = open_socket(self.context, Role.LOCAL_ROUTER)
        bind(socket, ipc_endpoint(self._runtime_dir, name))
        decoder: Decoder[Any] = Decoder(kinds, LOCAL_BYTES_MAX)

        def on_readable() -> None:
            for route, frames in drain_routed(socket):
                try:
                    message = decoder.decode(frames[-1].buffer)
                except ProtocolError as error:
                    on_garbage(route, frames[-1].buffer, error)
                else:
                    on_message(route, message)

        self.loop.add(socket, on_readable)
        return _LocalRouter(self.loop, socket)


class _LocalRouter:
    def __init__(self, loop: Loop, socket: zmq.Socket[bytes]) -> None:
        self._loop, self._socket = loop, socket

    def send(self, route: bytes, message: msgspec.Struct) -> None:
        send_or_drop(self._socket, [route, encode(message, LOCAL_BYTES_MAX)])

    def close(self) -> None:
        self._loop.remove(self._socket)
        self._socket.close()


class _LocalDealer:
    def __init__(self, loop: Loop, socket: zmq.Socket[bytes], decoder: Decoder[Any]) -> None:
        self._loop, self._socket, self._decode = loop, socket, decoder.decode

    def listen(self, on_message: Callable[[Any], None]) -> None:
        def on_readable() -> None:
            for frames in drain(self._socket):
                on_message(self._decode(frames[0].buffer))

        self._loop.add(self._socket, on_readable)

    def send(self, message: msgspec.Struct) -> None:
        send_or_drop(self._socket, [encode(message, LOCAL_BYTES_MAX)])

    def close(self) -> None:
        self._loop.remove(self._socket)
        self._socket.close()
