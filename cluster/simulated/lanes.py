"""One direction of a simulated connection: messages in order and whole, over shared links and a delay. Pure.

What breaks it (`Lane.kill`) loses what is on it, as a TCP connection of ZeroMQ does: on reconnect nothing comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cluster.simulated.clock import Clock
from cluster.simulated.links import Flow, Links, Port


class Path(Protocol):
    """What a lane asks of the network, about its two hosts."""

    clock: Clock
    links: Links

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one to the other just now."""


class Lane:
    """From host ``source`` to host ``target``. ``deliver`` gets what arrives; ``held_up`` is called when a message
    cannot get through, once until `let_go`."""

    __slots__ = (
        "_dead",
        "_delay",
        "_deliver",
        "_flow",
        "_held",
        "_held_up",
        "_limit",
        "_path",
        "_ports",
        "_queue",
        "_route",
        "full_until",
        "open",
    )

    def __init__(
        self,
        path: Path,
        route: tuple[str, str],
        ports: tuple[Port, Port],
        delay: float,
        limit: int,
        deliver: Callable[[object], None],
        held_up: Callable[[], None],
    ) -> None:
        self.open = False
        """Messages wait until the connection is there."""
        self.full_until = 0.0
        """As if at its high-water mark."""
        self._path, self._route, self._ports, self._delay, self._limit = path, route, ports, delay, limit
        self._deliver, self._held_up = deliver, held_up
        self._queue: deque[tuple[object, float]] = deque()
        self._flow: Flow | None = None
        self._held: list[object] = []
        self._dead = False

    def __len__(self) -> int:
        """Messages that have not left yet."""
        return len(self._queue) + (self._flow is not None)

    def send(self, message: object, size: float) -> bool:
        """Put ``message`` behind what is on the lane; ``size`` in bytes, 0 for one that takes no time on a link. False,
        and nothing sent, when the lane is at its high-water mark (0: it has none)."""
        if self._dead:
            return True
        if (self._limit and len(self._queue) >= self._limit) or self._path.clock.now < self.full_until:
            return False
        self._queue.append((message, size))
        self.go_on()
        return True

    def go_on(self) -> None:
        """Send what can be sent."""
        queue = self._queue
        while queue and self._flow is None and self.open and not self._dead:
            message, size = queue.popleft()
            if size:
                self._flow = self._path.links.send(*self._ports, size, partial(self._sent, message))
            else:
                self._path.clock.after(self._delay, self._arrive, message)

    def kill(self) -> None:
        """What is on the lane, or is sent from now on, does not arrive."""
        self._dead = True
        self._queue.clear()
        self._held.clear()
        if self._flow is not None:
            self._path.links.cancel(self._flow)
            self._flow = None

    def let_go(self) -> None:
        """What was held up arrives, if nothing cuts the way any more."""
        if self._held and not self._path.is_cut(*self._route):
            held, self._held = self._held, []
            for message in held:
                self._deliver(message)

    @property
    def holds(self) -> bool:
        """Whether something is held up."""
        return bool(self._held)

    def _sent(self, message: object) -> None:
        self._flow = None
        self._path.clock.after(self._delay, self._arrive, message)
        self.go_on()

    def _arrive(self, message: object) -> None:
        if self._dead:
            return
        if self._held or self._path.is_cut(*self._route):
            self._held.append(message)
            if len(self._held) == 1:
                self._held_up()
            return
        self._deliver(message)
