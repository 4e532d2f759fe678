"""What a process of a peer runs on: the ports of its shell to its network, its threads and its siblings.

`ProcessHost` is the real one, `cluster.simulated.host.SimulatedHost` the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import zmq

from node.work_queue import WorkQueue
from node.workers import Workers
from protocol.codec import Decoder, encode
from protocol.limits import LOCAL_BYTES_MAX
from transport.curve import Keys
from transport.loop import Loop
from transport.ports import Router, Transport
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, connect, drain, open_socket, send_or_drop
from transport.zmq_transport import ZmqTransport

M = TypeVar("M")


class LocalDealer(Protocol):
    """Leads to another process of the peer. What is said while that does not run waits for its next run."""

    def listen(self, decoder: Decoder[M], on_message: Callable[[M], None]) -> None: ...
    def send(self, message: msgspec.Struct) -> None: ...


class Host(Transport, Protocol):
    """Processes of a peer reach each other by names in its runtime directory."""

    def workers(self, count: int) -> WorkQueue:
        """``count`` threads."""

    def dial_local(self, name: str) -> LocalDealer:
        """To the process that listens as ``name``."""

    def listen_local(self, name: str) -> Router:
        """As ``name``."""


class ProcessHost(ZmqTransport):
    """Over the sockets of ``runtime_dir``; ``keys`` as in `ZmqTransport`."""

    def __init__(
        self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]], runtime_dir: Path, keys: Keys | None = None
    ) -> None:
        super().__init__(loop, context, keys)
        self._runtime_dir = runtime_dir

    def workers(self, count: int) -> WorkQueue:
        workers: Workers[Callable[[Any], None], object] = Workers(count)

        def on_ready() -> None:
            for done, result in workers.results():
                done(result)

        self.loop.add(workers.fd, on_ready)
        return workers

    def dial_local(self, name: str) -> LocalDealer:
        socket = open_socket(self.context, Role.LOCAL_DEALER)
        connect(socket, ipc_endpoint(self._runtime_dir, name))
        self.opened.append(dealer := _LocalDealer(self.loop, socket))
        return dealer

    def listen_local(self, name: str) -> Router:
        return self.listen(Role.LOCAL_ROUTER, ipc_endpoint(self._runtime_dir, name), LOCAL_BYTES_MAX)


class _LocalDealer:
    def __init__(self, loop: Loop, socket: zmq.Socket[bytes]) -> None:
        self._loop, self._socket = loop, socket

    def listen(self, decoder: Decoder[M], on_message: Callable[[M], None]) -> None:
        def on_readable() -> None:
            for frames in drain(self._socket):
                on_message(decoder.decode(frames[0].buffer))

        self._loop.add(self._socket, on_readable)

    def send(self, message: msgspec.Struct) -> None:
        send_or_drop(self._socket, [encode(message, LOCAL_BYTES_MAX)])

    def close(self) -> None:
        self._loop.remove(self._socket)
        self._socket.close()
