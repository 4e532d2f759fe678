"""Bounds the memory of this process that holds unread bytes of strangers, and its memory as a whole.

Connections are examined when the memory of the process grows. One over its bound (`transport.unread`) is closed, and
its address cannot connect for a while. If memory still grows until it is near the limit of the process (``ulimit -d``,
which `service.memory` sets), the process says so and ends: its supervisor starts it again.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable
from typing import Protocol

from protocol.errors import LocalError, ProtocolError
from protocol.limits import MIB
from transport.accepted import Accepted
from transport.arrivals import Arrivals
from transport.kernel import address_of, give_back_memory, memory
from transport.loop import Loop
from transport.unread import Unread, too_much

LOOK_SECONDS, LOOK_SECONDS_BUSY = 1.0, 0.1
"""How often the size of memory is checked, and how soon after bytes arrived."""
ALERT_SECONDS = 5.0
"""After a connection had too much unread: how long connections are examined at each check."""
GROWTH_BYTES = 8 * MIB
"""How much memory has to grow before connections are examined."""
REFUSED_SECONDS = 10.0
LOG_SECONDS = 10.0
MEMORY_PART = 0.8
"""Of the memory that the process may have, before it ends."""

_logger = logging.getLogger(__name__)


class Dialled(Protocol):
    """A connection that this process made."""

    @property
    def unread(self) -> Unread | None:
        """None while there is none."""

    def has_no_end(self, now: float) -> bool:
        """Whether what is sent over it, and was looked at, is no message of those that may come."""

    def hang_up(self, error: ProtocolError) -> None: ...


class UnreadLimit:
    """``refuse(address, seconds)`` keeps new connections from an IP address out."""

    def __init__(self, loop: Loop, refuse: Callable[[str, float], None]) -> None:
        self._loop, self._refuse = loop, refuse
        self._accepted: list[Accepted] = []
        self.arrivals = Arrivals(loop, self._on_arrival)
        self.dialled: set[Dialled] = set()
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        self._most = MEMORY_PART * limit if limit != resource.RLIM_INFINITY else None
        self._grown_from = 0
        self._calm_bytes = memory().resident
        """Memory when hardly anything was unread."""
        self._look_at = self._log_at = self._alert_until = loop.now()
        self._count = 0
        self._gives_back = False
        """What was kept of strangers is free by the end of the alert."""

    def watch(self, accepted: Accepted) -> None:
        """Before its socket is bound."""
        self._accepted.append(accepted)

    def tick(self, now: float) -> float:
        """Called after every turn; returns when to be called at the latest. `LocalError` when this process has too much
        memory to go on."""
        if now >= self._look_at:
            resident, data = memory()
            if self._most is not None and data > self._most:
                what = f"{data // MIB} MiB of memory are in use, and this process may have {self._most // MIB:.0f} MiB"
                raise LocalError(f"{what}: it ends and is started again; a higher limit allows it more (ulimit -d)")
            if resident - self._grown_from >= GROWTH_BYTES or now < self._alert_until:
                self._look(resident, now)
                self._grown_from = resident
            elif self._gives_back:
                self._gives_back = False
                give_back_memory()
            self._grown_from, self._calm_bytes = min(self._grown_from, resident), min(self._calm_bytes, resident)
            self._look_at = now + LOOK_SECONDS
            self.arrivals.again()
        return self._look_at

    def close(self) -> None:
        self._accepted.clear()
        self.arrivals.close()

    def _look(self, resident: int, now: float) -> None:
        connections: dict[Unread, Accepted] = {}
        for accepted in self._accepted:
            accepted.update()
            emptied = accepted.take_emptied()
            for connection in accepted.open.values():
                connection.look(now, emptied)
                connections[connection] = accepted
        if sum(one.waiting for one in connections) < MIB:
            self._calm_bytes = resident
        grown = resident - self._calm_bytes
        self._hang_up([(connections[one], one) for one in too_much(connections, grown, now)], now)
        self._hang_up([(said, one) for one, said in connections.items() if 0 < said.said_bytes < one.waiting], now)
        for line in list(self.dialled):
            if line.unread is not None:
                line.unread.look(now, emptied=False)
                if line.has_no_end(now):
                    self._alert_until = now + ALERT_SECONDS
                    line.hang_up(ProtocolError(f"a message of more than {line.unread.waiting} bytes"))

    def _on_arrival(self, fd: int) -> None:
        now = self._loop.now()
        self._look_at = min(self._look_at, now + LOOK_SECONDS_BUSY)
        for accepted in self._accepted:
            connection = accepted.open.get(fd) if accepted.said_bytes else None
            if connection is not None:
                connection.look(now, emptied=False)
                if connection.waiting > accepted.said_bytes:
                    self._hang_up([(accepted, connection)], now)

    def _hang_up(self, found: list[tuple[Accepted, Unread]], now: float) -> None:
        if not found:
            return
        self._alert_until = now + ALERT_SECONDS
        self._gives_back = True
        self._count += len(found)
        addresses = [address_of(connection.fd) for _, connection in found]
        for address in set(filter(None, addresses)):
            self._refuse(address, REFUSED_SECONDS)
        for accepted, connection in found:
            accepted.shut_down(connection.fd)
        if now >= self._log_at:
            self._log_at = now + LOG_SECONDS
            _logger.warning(
                "closed %d connections that sent more than could be read, one of them from %s with %d KiB; their "
                "addresses cannot connect for %g s",
                self._count,
                addresses[0] or "an address that is not known any more",
                found[0][1].waiting // 1024,
                REFUSED_SECONDS,
            )
            self._count = 0
