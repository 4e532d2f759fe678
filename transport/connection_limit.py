"""Keeps descriptors free in a process that strangers connect to.

libzmq accepts whoever comes while there are descriptors. When there are none left its I/O thread spins on the
connection that waits, and serves nobody new; `unbind` silences those that were accepted. So some are hung up on
(`transport.accepted`).
"""

from __future__ import annotations

import errno
import logging
import os
import resource

from transport.accepted import Accepted
from transport.kernel import address_of, tcp_info
from transport.loop import Loop

SILENT_SECONDS = 10.0
"""A connection over which nothing came for this long gives way to a new one: two heartbeats, and what a session may
take. Whoever had it dials again."""
LOOK_SECONDS = 1.0
"""How often all connections may be looked at, and it is noticed that files took the descriptors."""
LOG_SECONDS = 10.0
SPARE_COUNT_MAX = 256
"""Descriptors that are kept free for files, and for those who come while others are being closed."""
SPARE_PART = 4
"""...but no more than this part of all."""
LOW_COUNT = 1_024
"""A limit below this is worth a line at start."""

_logger = logging.getLogger(__name__)


class ConnectionLimit:
    """Watches sockets that listen, on ``loop``; closed before they are.

    Beyond the mark the connection that was silent longest is closed for each that comes, or, where all have spoken
    lately, the one that came. ``descriptors`` is how many the process may have, its limit by default.
    """

    def __init__(self, loop: Loop, descriptors: int = 0) -> None:
        self._loop = loop
        self._limit = descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._mark = self._limit - min(SPARE_COUNT_MAX, self._limit // SPARE_PART)
        self._accepted: list[Accepted] = []
        self._others = 0
        self._silent: list[_Connection] = []
        self._look_at = self._scan_at = self._log_at = loop.now()
        self._closed = 0
        if self._limit < LOW_COUNT:
            _logger.warning(
                "only %d open files are allowed, enough for some %d connections: raise the limit (ulimit -n)",
                self._limit,
                self._mark,
            )

    def watch(self, accepted: Accepted) -> None:
        """Before its socket is bound."""
        self._accepted.append(accepted)
        self._loop.add(accepted.monitor.socket, self._on_events)

    def tick(self, now: float) -> float:
        """Called after every turn; returns when to be called at the latest."""
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            before = self._connections()
            found = _descriptors()
            newcomers = self._newcomers()
            # Whoever comes or goes meanwhile is no file: that would be counted twice, and another turned away for it.
            connections = before | self._connections()
            self._others = len(found - connections) if found is not None else self._limit - len(connections)
            self._keep_below_mark(newcomers, now)
        return self._look_at

    def shut_down_from(self, address: str) -> None:
        """Close all connections from the IP ``address``."""
        self._on_events()
        for accepted in self._accepted:
            for fd in list(accepted.open):
                if address_of(fd) == address:
                    accepted.shut_down(fd)

    def close(self) -> None:
        """Stop watching. Twice is once."""
        for accepted in self._accepted:
            self._loop.remove(accepted.monitor.socket)
            accepted.monitor.close()
        self._accepted.clear()

    def _on_events(self) -> None:
        newcomers = self._newcomers()
        if newcomers:
            self._keep_below_mark(newcomers, self._loop.now())

    def _connections(self) -> set[int]:
        """Descriptors of connections, as far as events tell."""
        return {fd for accepted in self._accepted for fd in (*accepted.open, *accepted.closing)}

    def _newcomers(self) -> list[_Connection]:
        return [(accepted, fd) for accepted in self._accepted for fd in accepted.take_newcomers()]

    def _keep_below_mark(self, newcomers: list[_Connection], now: float) -> None:
        excess = self._open_count() + self._others - self._mark
        if excess <= 0:
            return
        silent = self._take_silent(excess, now)
        left = excess - len(silent)
        closing = [*silent, *(newcomers[-left:] if left else [])]
        for accepted, fd in closing:
            accepted.shut_down(fd)
        self._closed += len(closing)
        if self._closed and now >= self._log_at:
            self._log_at = now + LOG_SECONDS
            _logger.warning(
                "too many connections for %d open files: %d closed, %d open; raise the limit (ulimit -n)",
                self._limit,
                self._closed,
                self._open_count(),
            )
            self._closed = 0

    def _open_count(self) -> int:
        return sum(len(accepted.open) for accepted in self._accepted)

    def _take_silent(self, count: int, now: float) -> list[_Connection]:
        """Up to ``count`` connections that are silent, the longest first."""
        if not self._silent and now >= self._scan_at:
            self._scan_at = now + LOOK_SECONDS
            seconds = {(one, fd): _silent_seconds(fd) for one in self._accepted for fd in one.open}
            self._silent = sorted(
                (each for each in seconds if seconds[each] >= SILENT_SECONDS), key=seconds.__getitem__
            )
        found: list[_Connection] = []
        while self._silent and len(found) < count:
            accepted, fd = self._silent.pop()
            if fd in accepted.open and _silent_seconds(fd) >= SILENT_SECONDS:
                found.append((accepted, fd))
        return found


_Connection = tuple[Accepted, int]


def _descriptors() -> set[int] | None:
    """Those that this process has open, and the one that this takes; None when none is left to look with."""
    try:
        return set(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    except OSError as error:
        return None if error.errno in (errno.EMFILE, errno.ENFILE) else set()  # the latter without /proc


def _silent_seconds(fd: int) -> float:
    """How long ago something came over it; 0 when it has ended meanwhile."""
    info = tcp_info(fd)
    return 0.0 if info is None else info.silent_seconds
