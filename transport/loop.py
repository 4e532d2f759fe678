"""One thread's poll loop: readable sources call their handlers, deadlines call ``tick``.

Owns the waiting. What to do with input and when to be woken is the caller's: a handler drains its source without
blocking and up to a limit, and ``tick`` returns the next moment it wants to be called at.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable

import zmq

Source = zmq.Socket[bytes] | int
"""A ZeroMQ socket or a file descriptor."""

_WAIT_MS_MAX = 2**31 - 1


class Loop:
    """A loop for one thread.

    ``clock`` gives monotonic seconds. Handlers and ``tick`` may add and remove sources, themselves included; a
    source is removed before it is closed. Sources are level-triggered: one that still has input after its handler
    returned has it called again in the next turn, without waiting.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._poller = zmq.Poller()
        self._handlers: dict[Source, Callable[[], None]] = {}
        self._stopped = False
        self._ran = False

    def now(self) -> float:
        return self._clock()

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def ran(self) -> bool:
        """Whether `run` was called, and so the start of whoever owns the loop is over."""
        return self._ran

    def add(self, source: Source, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` whenever ``source`` has input, or an error or end of file to be read."""
        self._handlers[source] = on_readable
        self._poller.register(source, zmq.POLLIN)

    def remove(self, source: Source) -> None:
        """Forget ``source``; its handler is not called again, not even in this turn. KeyError when unknown."""
        del self._handlers[source]
        self._poller.unregister(source)

    def stop(self) -> None:
        """End `run` when its present turn is over, ``tick`` included. For the loop's own thread."""
        self._stopped = True

    def run(self, tick: Callable[[float], float | None]) -> None:
        """Run until `stop`. ``tick(now)`` comes first, then after the handlers of each turn.

        It returns the next deadline on the loop's clock (a past one: at once), or None when it has none. An
        exception of a handler or of ``tick`` ends the loop and is the caller's.
        """
        self._ran = True
        handlers = self._handlers
        deadline = tick(self._clock())
        while not self._stopped:
            for source, _ in self._poll(self._wait_ms(deadline)):
                handler = handlers.get(source)
                if handler is not None:
                    handler()
            deadline = tick(self._clock())

    def _poll(self, wait_ms: int) -> list[tuple[Source, int]]:
        if self._handlers:
            return self._poller.poll(wait_ms)
        select.select((), (), (), None if wait_ms < 0 else wait_ms / 1_000)  # zmq_poll of nothing does not wait
        return []

    def _wait_ms(self, deadline: float | None) -> int:
        """Milliseconds until ``deadline``, rounded up: rounding down would spin through the last one."""
        if deadline is None or deadline == math.inf:
            return -1
        wait = math.ceil((deadline - self._clock()) * 1_000)
        return max(0, min(wait, _WAIT_MS_MAX))
