"""Links of a simulated network, shared max-min fairly: no flow could be faster unless one no faster became slower.

Owns how fast each flow is and when it ends. Leaves latency, and what a flow is about, to whoever sends it.

Exact max-min after each change is too slow for a thousand hosts. Each side of a port (its uplink, its downlink) has a
*level*: the rate of those of its flows that are not slower at their other end. A flow goes at the lower of its two
levels. A change sets the level of the two sides it touches so that their flows add up to what the link can do, and
that of others only where theirs no longer do. That is max-min fair where everything has settled (a level on each
link, and each link full or without limit); here it is to within `OVER` and `UNDER`.

All changes of one moment are balanced once, by a call that the clock makes at that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

OVER, UNDER = 0.005, 0.01
"""How far the flows of a link may add up to more, or less, than it can do before they are balanced again."""
BALANCED_FACTOR, BALANCED_COUNT = 4, 256
"""At most so many times as many sides are balanced as were changed in a moment, and so many more. More than a
hundred were hardly ever needed in a network of a thousand hosts; the rest waits for the next change."""

ROUNDING_SECONDS = 1e-9
"""A flow that has no more than this to go is at its end."""


class Clock(Protocol):
    now: float

    def at(self, when: float, call: Callable[..., None], *args: object) -> None: ...


class Side:
    """One direction of a port. ``flows`` by the side at their other end; ``load`` is what they add up to."""

    __slots__ = ("capacity", "flows", "level", "load", "queued")

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.level = inf
        self.load = 0.0
        self.flows: dict[Flow, Side] = {}
        self.queued = False


class Port:
    """One host's end: ``up`` and ``down`` in bytes/s, infinite for no limit, 0 for a link that stands still."""

    __slots__ = ("down", "up")

    def __init__(self, up: float, down: float) -> None:
        self.up = Side(up)
        self.down = Side(down)


class Flow:
    """Something on its way: ``left`` bytes of it at the moment ``since``, at ``rate`` from then on."""

    __slots__ = ("done", "down", "due", "left", "rate", "since", "up", "version")

    def __init__(self, up: Side, down: Side, size: float, now: float, done: Callable[[], None]) -> None:
        self.up = up
        self.down = down
        self.left = size
        self.since = now
        self.rate = 0.0
        self.done = done
        self.due = inf
        """When its end is next looked for: at its end or, when it has become slower since, before."""
        self.version = 0
        """Of the call that is due; negative once it is over."""


class Links:
    """All flows of a network."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed: deque[Side] = deque()
        self._called = False

    def send(self, source: Port, receiver: Port, size: float, done: Callable[[], None]) -> Flow:
        """Send ``size`` bytes; call ``done`` when the last of them has left the link."""
        flow = Flow(source.up, receiver.down, size, self._clock.now, done)
        flow.up.flows[flow] = flow.down
        flow.down.flows[flow] = flow.up
        self._change(flow.up)
        self._change(flow.down)
        return flow

    def cancel(self, flow: Flow) -> None:
        """The connection broke: ``done`` is never called. Nothing happens when it was called already."""
        if flow.version >= 0:
            self._end(flow)

    def set_rates(self, port: Port, up: float, down: float) -> None:
        """The links of ``port`` have become faster or slower, and so do the flows on them."""
        for side, capacity in ((port.up, up), (port.down, down)):
            if side.capacity != capacity:
                side.capacity = capacity
                self._change(side)

    def _end(self, flow: Flow) -> None:
        flow.version = -1
        for side in (flow.up, flow.down):
            del side.flows[flow]
            self._change(side)

    def _change(self, side: Side) -> None:
        if not side.queued:
            side.queued = True
            self._changed.append(side)
        if not self._called:
            self._called = True
            self._clock.at(self._clock.now, self._balance)

    # --- how fast ----------------------------------------------------------------------------------------

    def _balance(self) -> None:
        """Set the levels of what has changed, then of what that put out of balance; then see when flows end."""
        self._called = False
        now = self._clock.now
        waiting = self._changed
        hurried: dict[Flow, None] = {}
        for _ in range(BALANCED_FACTOR * len(waiting) + BALANCED_COUNT):
            if not waiting:
                break
            side = waiting.popleft()
            side.queued = False
            level = side.level = _level(side)
            load = 0.0
            for flow, far in side.flows.items():
                rate = level if level < far.level else far.level
                before = flow.rate
                load += rate
                if rate == before:
                    continue
                if now > flow.since:
                    flow.left -= before * (now - flow.since)
                    flow.since = now
                flow.rate = rate
                if rate > before:
                    hurried[flow] = None
                if far.capacity == inf or far.queued:
                    continue
                far.load += rate - before
                if far.load > far.capacity * (1 + OVER) or (far.level < inf and far.load < far.capacity * (1 - UNDER)):
                    far.queued = True
                    waiting.append(far)
            side.load = load
        for flow in hurried:
            self._look(flow, now)

    def _look(self, flow: Flow, now: float) -> None:
        """Look for the end of ``flow`` when it is due, unless that is done before already."""
        left = flow.left - (flow.rate * (now - flow.since) if now > flow.since else 0.0)
        due = now + left / flow.rate if left > 0 else now
        if due < flow.due:
            flow.due = due
            flow.version += 1
            self._clock.at(due, self._due, flow, flow.version)

    def _due(self, flow: Flow, version: int) -> None:
        if flow.version != version:
            return
        now = self._clock.now
        rate = flow.rate
        if now > flow.since:
            flow.left -= rate * (now - flow.since)
            flow.since = now
        if flow.left <= rate * ROUNDING_SECONDS:
            self._end(flow)
            flow.done()
            return
        flow.due = inf
        if rate:
            self._look(flow, now)


def _level(side: Side) -> float:
    """The rate at which flows that are not slower elsewhere fill the link; infinite when there are none."""
    left = side.capacity
    count = len(side.flows)
    for limit in sorted([far.level for far in side.flows.values()]):
        if limit * count >= left:
            return left / count
        left -= limit
        count -= 1
    return inf
