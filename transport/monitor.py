"""What happens to the connection of a dialing socket, as events a loop can wait for.

Owns the socket monitor of libzmq and what its events amount to. What to do about a lost connection is the caller's.
"""

from __future__ import annotations

import itertools
import struct
from enum import StrEnum

import zmq

_ids = itertools.count()

_EVENT = struct.Struct("=HI")
"""First frame of a monitor's message: event and value."""

_LOST = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED  # with reconnects off this is all that a refused connection shows
    | zmq.EVENT_CLOSE_FAILED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | _LOST


class ConnectionEvent(StrEnum):
    """A change. ``CONNECTED``: both sides shook hands. ``LOST``: the connection ended or could not be made."""

    CONNECTED = "connected"
    LOST = "lost"


class ConnectionMonitor:
    """Watches a socket that dials one endpoint; made before the socket connects, closed before the socket is.

    Only changes are told: a socket that goes on retrying in vain was lost once. libzmq tells nothing at all about a
    host name that does not resolve while reconnects are off: whoever dials names needs a timeout too.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._watched = socket
        self._last: ConnectionEvent | None = None
        address = f"inproc://connection-monitor-{next(_ids)}"
        socket.monitor(address, _WATCHED)
        self._socket: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, 0)  # few events a second, and a full queue would block the I/O thread
        self._socket.connect(address)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To be added to the loop; `events` reads it."""
        return self._socket

    def events(self) -> list[ConnectionEvent]:
        """What changed since the last call, oldest first; never waits."""
        changes: list[ConnectionEvent] = []
        while True:
            try:
                header = self._socket.recv_multipart(zmq.NOBLOCK)[0]
            except zmq.Again:
                return changes
            kind = _EVENT.unpack(header)[0]
            event = ConnectionEvent.CONNECTED if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED else ConnectionEvent.LOST
            if event is not self._last and kind & _WATCHED:
                self._last = event
                changes.append(event)

    def close(self) -> None:
        """Stop watching. Twice is once."""
        if self._socket.closed:
            return
        if not self._watched.closed:
            self._watched.disable_monitor()
        self._socket.close(0)
