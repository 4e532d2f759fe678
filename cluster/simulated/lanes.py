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

    cuts: dict[tuple[str, str], int]
    """From whom nothing gets to whom just now."""


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
        "_path",
        "_ports",
        "_queue",
        "_route",
        "arrives_at",
        "full_until",
        "limit",
        "open",
        "refused",
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
        self.arrives_at = 0.0
        """When what left it last is at its end."""
        self.refused = 0
        """Messages that found it at its high-water mark."""
        self.limit = limit
        self._path, self._route, self._ports, self._delay = path, route, ports, delay
        self._deliver, self._held_up = deliver, held_up
        self._queue: deque[tuple[object, float]] | None = None
        """Made when it is needed: most lanes never queue anything, and there are a hundred thousand."""
        self._flow: Flow | None = None
        self._held: list[object] | None = None
        self._dead = False

    def __len__(self) -> int:
        """Messages that have not left yet."""
        return (len(self._queue) if self._queue else 0) + (self._flow is not None)

    def begin(self, limit: int) -> None:
        """The connection is there, and messages go at once; ``limit`` of them wait at most."""
        self.limit, self.open, self._dead = limit, True, False

    def send(self, message: object, size: float) -> bool:
        """Put ``message`` behind what is on the lane; ``size`` in bytes, 0 for one that takes no time on a link. False,
        and nothing sent, when the lane is at its high-water mark (0: it has none)."""
        if self._dead:
            return True
        queue, clock = self._queue, self._path.clock
        if clock.now < self.full_until or (queue and 0 < self.limit <= len(queue)):
            self.refused += 1
            return False
        if not size and not queue and self._flow is None and self.open:
            self._leave(message)
            return True
        if queue is None:
            queue = self._queue = deque()
        queue.append((message, size))
        self.go_on()
        return True

    @property
    def delay_now(self) -> float:
        """How long a message without size takes that is sent now; negative when it has to wait, or cannot be sent."""
        free = self.open and not self._dead and not self._queue and self._flow is None
        return self._delay if free and self._path.clock.now >= self.full_until else -1.0

    def go_on(self) -> None:
        """Send what can be sent."""
        queue = self._queue
        while queue and self._flow is None and self.open and not self._dead:
            message, size = queue.popleft()
            if size:
                self._flow = self._path.links.send(*self._ports, size, partial(self._sent, message))
            else:
                self._leave(message)

    def kill(self) -> None:
        """What is on the lane, or is sent from now on, does not arrive."""
        self._dead = True
        self._queue = self._held = None
        if self._flow is not None:
            self._path.links.cancel(self._flow)
            self._flow = None

    def let_go(self) -> None:
        """What was held up arrives, if nothing cuts the way any more."""
        if self._held and self._route not in self._path.cuts:
            held, self._held = self._held, None
            for message in held:
                self._deliver(message)

    @property
    def holds(self) -> bool:
        """Whether something is held up."""
        return bool(self._held)

    def _sent(self, message: object) -> None:
        self._flow = None
        self._leave(message)
        self.go_on()

    def _leave(self, message: object) -> None:
        self.arrives_at = self._path.clock.now + self._delay
        self._path.clock.at(self.arrives_at, self.arrive, message)

    def arrive(self, message: object) -> None:
        """``message`` has come to the end of the lane."""
        if self._dead:
            return
        cuts = self._path.cuts
        if self._held:
            self._held.append(message)
        elif cuts and self._route in cuts:
            self._held = [message]
            self._held_up()
        else:
            self._deliver(message)
