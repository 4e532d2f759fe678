"""Wakes a loop when bytes arrive over connections that libzmq's thread reads, before they make a whole message.

That thread may have read the bytes before they are noticed here. So a few bytes may go unnoticed, but not a stream.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable

from transport.loop import Loop

_logger = logging.getLogger(__name__)


class Arrivals:
    """Calls ``on_arrival`` with a descriptor over which something came. Closed before the loop's sockets are."""

    def __init__(self, loop: Loop, on_arrival: Callable[[int], None]) -> None:
        self._loop, self._on_arrival = loop, on_arrival
        self._epoll = select.epoll()
        self._always: set[int] = set()
        self._told: list[int] = []
        """Those to be told of once, and that were."""
        loop.add(self._epoll.fileno(), self._tell)

    def watch(self, fd: int, always: bool) -> None:
        """Until the connection ends. Each arrival is told of if ``always``, otherwise one until `again`."""
        (self._always.add if always else self._always.discard)(fd)
        try:
            self._epoll.register(fd, select.EPOLLIN | (select.EPOLLET if always else select.EPOLLONESHOT))
        except OSError:
            _logger.debug("connection %d has ended already", fd)

    def again(self) -> None:
        told, self._told = self._told, []
        for fd in told:
            if fd in self._always:  # another connection has the descriptor since
                continue
            try:
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
            except OSError:
                _logger.debug("connection %d has ended", fd)

    def close(self) -> None:
        self._loop.remove(self._epoll.fileno())
        self._epoll.close()

    def _tell(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if fd not in self._always:
                self._told.append(fd)
            self._on_arrival(fd)
