"""Links of a simulated swarm that are shared by what is on them: an uplink and a downlink for each host.

A connection carries one thing after another; all connections of a link go at the same rate. A flow is as fast as the
slower of its shares, and what it leaves of the other is not given to others: a little worse than TCP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Schedule(Protocol):
    """What a world offers: the time, and calls at a later time."""

    now: float

    def later(self, seconds: float, call: Callable[..., None], *args: object) -> None: ...


@dataclass(eq=False, slots=True)
class Port:
    """One host's end: seconds a piece takes up and down, alone on the link. 0: no time at all."""

    up_seconds: float
    down_seconds: float = 0.0
    up: dict[bytes, Flow] = field(default_factory=dict)
    down: dict[bytes, Flow] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Flow:
    """What is being sent over one connection: ``left`` of a piece at ``rate`` pieces a second since ``at``."""

    route: bytes
    source: Port
    receiver: Port
    left: float
    rate: float = 0.0
    at: float = 0.0
    version: int = 0


class SharedLinks:
    """All flows of a world."""

    def __init__(self, world: Schedule) -> None:
        self._world = world
        self._queues: dict[bytes, deque[tuple[Flow, Callable[[], None]]]] = {}

    def send(self, route: bytes, source: Port, receiver: Port, pieces: float, sent: Callable[[], None]) -> None:
        """Send so many pieces (0.0: a message) over the connection ``route``, behind what it carries already; then
        call ``sent``."""
        if not pieces and route not in self._queues:
            sent()
            return
        queue = self._queues.setdefault(route, deque())
        queue.append((Flow(route, source, receiver, pieces), sent))
        if len(queue) == 1:
            self._begin(queue[0][0])

    def cut(self, route: bytes) -> None:
        """The connection is gone, with all that was on it."""
        queue = self._queues.pop(route, None)
        if queue:
            self._end(queue[0][0])

    def _begin(self, flow: Flow) -> None:
        flow.at = self._world.now
        flow.source.up[flow.route] = flow.receiver.down[flow.route] = flow
        self._share(flow)

    def _end(self, flow: Flow) -> None:
        flow.version += 1
        del flow.source.up[flow.route], flow.receiver.down[flow.route]
        self._share(flow)

    def _share(self, changed: Flow) -> None:
        """The links of ``changed`` have one flow more or less: all flows on them go at another rate."""
        now = self._world.now
        for flow in {**changed.source.up, **changed.receiver.down}.values():
            shares = (
                len(flow.source.up) * flow.source.up_seconds,
                len(flow.receiver.down) * flow.receiver.down_seconds,
            )
            rate = 1.0 / max(*shares, 1e-9)
            if rate == flow.rate:
                continue
            flow.left -= flow.rate * (now - flow.at)
            flow.rate, flow.at = rate, now
            flow.version += 1
            self._world.later(max(0.0, flow.left) / rate, self._done, flow, flow.version)

    def _done(self, flow: Flow, version: int) -> None:
        if flow.version != version:
            return
        queue = self._queues[flow.route]
        _, sent = queue.popleft()
        self._end(flow)
        passed = [sent]
        while queue and not queue[0][0].left:
            passed.append(queue.popleft()[1])
        if queue:
            self._begin(queue[0][0])
        else:
            del self._queues[flow.route]
        for call in passed:
            call()
