"""One connection of the agent to its tracker: a DEALER, what arrives on it, and whether it is connected."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import zmq

from protocol.codec import Decoder, encode
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import Message
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

log = logging.getLogger(__name__)

M = TypeVar("M")


class Dialled(Generic[M]):
    """Dials ``endpoint`` and goes on dialling. ``kinds`` is the allow-list of what may arrive. `NetworkError` when
    ``endpoint`` is no address."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        kinds: object,
        on_message: Callable[[M], None],
        on_connected: Callable[[bool], None],
    ) -> None:
        self.endpoint = endpoint
        self._decoder: Decoder[M] = Decoder(kinds, REPLY_BYTES_MAX)
        self._on_message = on_message
        self._on_connected = on_connected
        self._loop: Loop | None = None
        self._socket = open_socket(context, Role.CONTROL_DEALER)
        self._monitor = ConnectionMonitor(self._socket)
        try:
            connect(self._socket, endpoint)
        except NetworkError:
            self.close()
            raise

    def attach(self, loop: Loop) -> None:
        """Be served by ``loop``, and by no other any more."""
        self.detach()
        self._loop = loop
        loop.add(self._socket, self._receive)
        loop.add(self._monitor.socket, self._changed)

    def detach(self) -> None:
        if self._loop is not None:
            self._loop.remove(self._socket)
            self._loop.remove(self._monitor.socket)
            self._loop = None

    def send(self, message: Message) -> None:
        """Send, or not: what is not answered is said again by whoever said it."""
        send_or_drop(self._socket, [encode(message)])

    def close(self) -> None:
        self.detach()
        self._monitor.close()
        self._socket.close()

    def _receive(self) -> None:
        for frames in drain(self._socket):
            try:
                message = self._decoder.decode(frames[-1].buffer)
            except ProtocolError as error:
                log.warning("%s says what cannot be understood: %s", self.endpoint, error)
                continue
            self._on_message(message)

    def _changed(self) -> None:
        for event in self._monitor.events():
            self._on_connected(event is ConnectionEvent.CONNECTED)
