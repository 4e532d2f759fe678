"""The connections that a listening socket has accepted: their descriptors, and what came over them.

libzmq can neither refuse a connection nor close one. But a process may shut down a descriptor of its own, which libzmq
takes for the end of the other side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq

from transport.arrivals import Arrivals
from transport.kernel import shut_down
from transport.monitor import SocketMonitor
from transport.sockets import descriptor, is_empty
from transport.unread import FRAME_BYTES, Unread

_logger = logging.getLogger(__name__)


class Accepted:
    """Those of ``listening`` that have not ended. Those that are ``closing`` were shut down, and libzmq has yet to
    notice. Over one of which nobody reads, and that only shakes hands and subscribes, come at most ``said_bytes``.
    Made before the socket is bound."""

    def __init__(
        self, listening: zmq.Socket[bytes], now: Callable[[], float], arrivals: Arrivals, said_bytes: int = 0
    ) -> None:
        self.listening = listening
        self._arrivals = arrivals
        self._emptied = False
        self.said_bytes = said_bytes
        self.open: dict[int, Unread] = {}
        """By descriptor."""
        self.closing: dict[int, Unread] = {}
        self.monitor = SocketMonitor(listening, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._now = now
        self._newcomers: dict[int, None] = {}
        self._by_route: dict[bytes, Unread] = {}
        self._ended: dict[int, Unread] = {}
        """Connections of which messages may still wait, by the descriptors that they had. Another may have that of one
        by now, or its route if it chose that itself."""

    def update(self) -> None:
        """Read what happened."""
        self._read_events()
        if self._ended and self._by_route and is_empty(self.listening):
            self._forget_ended()

    def _read_events(self) -> None:
        for event, fd in self.monitor.read():
            if event == zmq.EVENT_ACCEPTED:
                self.open[fd] = Unread(fd, self._now())
                self._newcomers[fd] = None
                self._arrivals.watch(fd, always=self.said_bytes > 0)
            else:
                ended = self.open.pop(fd, None) or self.closing.pop(fd, None)
                if ended is not None:
                    self._ended[fd] = ended
                self._newcomers.pop(fd, None)

    def take_newcomers(self) -> list[int]:
        """The descriptors of those who came since the last call and are still there."""
        self.update()
        newcomers, self._newcomers = self._newcomers, {}
        return list(newcomers)

    def hears(self, route: bytes, frame: zmq.Frame) -> bool:
        """``frame``, the first of a message, has come over ``route``. Whether anybody listens to it."""
        connection = self._by_route.get(route)
        if connection is None:
            connection = self._by_route[route] = self._find(descriptor(frame))
        connection.read += len(frame) + FRAME_BYTES
        return not connection.hung_up

    def _find(self, fd: int) -> Unread:
        """The connection of a route that was not heard of before: the one that has descriptor ``fd`` now. That may be
        wrong for the first message of one that has ended; but of no connection more counts as read than has come."""
        self._read_events()  # what is known of `fd` may be about one that has ended
        for known in (self.open, self.closing, self._ended):
            if fd in known:
                return known[fd]
        return Unread(fd, self._now())

    def all_is_read(self) -> None:
        """No whole message waits: those of connections that have ended neither."""
        self._emptied = True
        if self._ended:
            self._forget_ended()

    def _forget_ended(self) -> None:
        self._ended.clear()
        there = set(map(id, (*self.open.values(), *self.closing.values())))
        self._by_route = {route: one for route, one in self._by_route.items() if id(one) in there}

    def take_emptied(self) -> bool:
        """Whether there was a moment since the last call at which no whole message waited."""
        emptied = self._emptied or (self.said_bytes == 0 and is_empty(self.listening))
        self._emptied = False
        return emptied

    def hang_up_on(self, fd: int) -> None:
        """Shut down the connection ``fd``, if it is still there."""
        self.update()
        if fd in self.open:
            self.shut_down(fd)

    def hang_up_on_all(self) -> None:
        self.update()
        for fd in list(self.open):
            self.shut_down(fd)

    def shut_down(self, fd: int) -> None:
        """Hang up, and listen no more to what has come. The descriptor may be another's by now, between the last event
        and this call: then that one dials again."""
        connection = self.open.pop(fd, None)
        if connection is not None:
            connection.hung_up = True
            self.closing[fd] = connection
        try:
            shut_down(fd)
        except OSError:
            _logger.debug("connection %d has ended already", fd)
