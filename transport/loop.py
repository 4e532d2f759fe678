"""One thread's poll loop: readable sources call their handlers, deadlines call ``tick``.

Owns the waiting. What to do with input and when to be woken is the caller's: a handler drains its source without
blocking and up to a limit, and ``tick`` returns the next moment it wants to be called at.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterable

import zmq

from transport.sockets import forget_uses, is_readable, note_uses

Source = zmq.Socket[bytes] | int
"""A ZeroMQ socket or a file descriptor."""

_WAIT_SECONDS_MAX = 86_400.0


class Loop:
    """A loop for one thread. A turn costs by what happened in it, not by how many sources there are.

    ``clock`` gives monotonic seconds. Handlers and ``tick`` may add and remove sources, themselves included; a
    source is removed before it is closed. Sources are level-triggered: one that still has input after its handler
    returned has it called again in the next turn, without waiting.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._handlers: dict[Source, Callable[[], None]] = {}
        self._fds: dict[Source, int] = {}
        self._by_fd: dict[int, Source] = {}
        self._always: set[int] = set()
        """Files, whose input is never waited for."""
        self._used: set[zmq.Socket[bytes]] = set()
        """Sockets to be looked at before anything is waited for. Their descriptors tell only that something has
        changed, and whoever uses a socket may have taken that signal."""
        self._soon: list[Callable[[], None]] = []
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
        """Call ``on_readable`` whenever ``source`` has input, or an error or end of file to be read. A socket is in one
        loop at a time."""
        if source not in self._handlers:
            self._watch(source)
        self._handlers[source] = on_readable

    def has(self, source: Source) -> bool:
        return source in self._handlers

    def remove(self, source: Source) -> None:
        """Forget ``source``; its handler is not called again, not even in this turn. KeyError when unknown."""
        del self._handlers[source]
        fd = self._fds.pop(source)
        del self._by_fd[fd]
        if not isinstance(source, int):
            forget_uses(source, self._used)
        if fd in self._always:
            self._always.remove(fd)
        else:
            self._epoll.unregister(fd)

    def soon(self, call: Callable[[], None]) -> None:
        """Make the call in the next turn, without waiting for anything. For the loop's own thread."""
        self._soon.append(call)

    def stop(self) -> None:
        """End `run` when its present turn is over, ``tick`` included. For the loop's own thread."""
        self._stopped = True

    def resume(self) -> None:
        """Let `run` go on after `stop`."""
        self._stopped = False

    def run(self, tick: Callable[[float], float | None]) -> None:
        """Run until `stop`. ``tick(now)`` comes first, then after the handlers of each turn.

        It returns the next deadline on the loop's clock (a past one: at once), or None when it has none. An
        exception of a handler or of ``tick`` ends the loop and is the caller's.
        """
        self._ran = True
        handlers = self._handlers
        deadline = tick(self._clock())
        while not self._stopped:
            for source in self._ready(self._wait_seconds(deadline)):
                handler = handlers.get(source)
                if handler is not None:
                    handler()
            soon, self._soon = self._soon, []
            for call in soon:
                call()
            deadline = tick(self._clock())

    def _watch(self, source: Source) -> None:
        fd = source if isinstance(source, int) else int(source.getsockopt(zmq.FD))
        try:
            self._epoll.register(fd, select.EPOLLIN)
        except PermissionError:
            self._always.add(fd)
        self._fds[source], self._by_fd[fd] = fd, source
        if not isinstance(source, int):
            note_uses(source, self._used)
            self._used.add(source)

    def _ready(self, seconds: float | None) -> Iterable[Source]:
        """The sources that have input, waited for no longer than that (None: for ever)."""
        ready: dict[Source, None] = dict.fromkeys(self._always)
        for socket in self._used:
            if is_readable(socket):
                ready[socket] = None
        self._used.clear()
        for fd, _ in self._epoll.poll(0 if ready else seconds):
            source = self._by_fd[fd]
            if isinstance(source, int) or (source not in ready and is_readable(source)):
                ready[source] = None
        self._used.update(source for source in ready if not isinstance(source, int))
        return ready

    def _wait_seconds(self, deadline: float | None) -> float | None:
        """Until ``deadline``, or none when a call is to be made. What waits rounds up to milliseconds: rounding down
        would spin through the last one."""
        if self._soon:
            return 0.0
        if deadline is None or deadline == math.inf:
            return None
        return min(max(0.0, deadline - self._clock()), _WAIT_SECONDS_MAX)
