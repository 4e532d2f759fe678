"""What happens to the connections of a socket, as events a loop can wait for.

Owns the socket monitor of libzmq, and what its events amount to for a socket that dials. What to do about a lost
connection is the caller's; connections that were accepted are for `transport.connection_limit`.
"""

from __future__ import annotations

import errno
import itertools
import struct
from collections.abc import Iterator
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
_WATCHED = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | _LOST


class ConnectionEvent(StrEnum):
    """A change. All but ``CONNECTED`` mean that there is no connection, and why."""

    CONNECTED = "both sides shook hands"
    UNREACHED = "no TCP connection came about: it was refused, or nobody answered"
    SILENT = "the other side took the TCP connection and did not answer"
    HUNG_UP = "the other side ended the TCP connection before it shook hands: it has too many, or is a stranger"
    STRANGER = "the other side speaks another protocol"
    OTHER_SECURITY = "one side has keys, and the other has none"
    DENIED = "the other side does not admit this one"
    LOST = "the connection ended"


class SocketMonitor:
    """The ``events`` of ``watched`` as libzmq tells them; made before it binds or connects, closed before it is."""

    def __init__(self, watched: zmq.Socket[bytes], events: int) -> None:
        self._watched = watched
        address = f"inproc://socket-monitor-{next(_ids)}"
        watched.monitor(address, events)
        self.socket: zmq.Socket[bytes] = watched.context.socket(zmq.PAIR)
        """To be added to the loop."""
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RCVHWM, 0)  # a full queue would block the I/O thread
        self.socket.connect(address)

    def read(self) -> Iterator[tuple[int, int]]:
        """What happened since the last call, oldest first, each as event and value; never waits."""
        while True:
            try:
                header = self.socket.recv_multipart(zmq.NOBLOCK)[0]
            except zmq.Again:
                return
            yield _EVENT.unpack(header)

    def close(self) -> None:
        """Stop watching. Twice is once."""
        if self.socket.closed:
            return
        if not self._watched.closed:
            self._watched.disable_monitor()
        self.socket.close(0)


class ConnectionMonitor:
    """Watches a socket that dials one endpoint; made before the socket connects, closed before the socket is.

    Only changes are told: a socket that goes on retrying in vain was lost once. libzmq tells nothing at all about a
    host name that does not resolve while reconnects are off: names are looked up before (`transport.addresses`).
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._connected: bool | None = None
        self._before = ConnectionEvent.UNREACHED
        """What it is if the connection is lost now."""
        self.fd = -1
        """Of the last connection."""
        self._monitor = SocketMonitor(socket, _WATCHED)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To be added to the loop; `events` reads it."""
        return self._monitor.socket

    def events(self) -> list[ConnectionEvent]:
        """What changed since the last call, oldest first; never waits."""
        changes: list[ConnectionEvent] = []
        for kind, value in self._monitor.read():
            if kind == zmq.EVENT_CONNECTED:
                self.fd = value
                self._before = ConnectionEvent.STRANGER
            elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._before = ConnectionEvent.LOST
                changes += self._change(True, ConnectionEvent.CONNECTED)
            elif kind & _LOST:
                changes += self._change(False, self._why_lost(kind, value))
                self._before = ConnectionEvent.UNREACHED
        return changes

    def _why_lost(self, kind: int, value: int) -> ConnectionEvent:
        if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return ConnectionEvent.DENIED
        if kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return ConnectionEvent.OTHER_SECURITY
        if kind != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            return self._before
        # The value is the errno of the last read or write. With nothing to read, the time for a handshake is over.
        return ConnectionEvent.SILENT if value == errno.EAGAIN else ConnectionEvent.HUNG_UP

    def _change(self, connected: bool, event: ConnectionEvent) -> list[ConnectionEvent]:
        if connected is self._connected:
            return []
        self._connected = connected
        return [event]

    def close(self) -> None:
        """Stop watching. Twice is once."""
        self._monitor.close()
