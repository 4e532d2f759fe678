"""Threads for the blocking work of one event loop: hashing, writing, syncing.

How much is handed in at once is bounded by the caller, in bytes. Results come back in the order they are ready.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers(Generic[T, R]):
    """``count`` threads. ``T`` is the type of the tags that tell work apart, ``R`` that of its results."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._ready: deque[tuple[T, R | BaseException]] = deque()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable while results wait; for a poll loop."""

    def submit(self, tag: T, work: Callable[[], R]) -> None:
        """Run ``work`` in a thread; `results` will give (``tag``, what it returned or raised)."""
        self._pool.submit(work).add_done_callback(lambda future: self._done(tag, future))

    def results(self) -> list[tuple[T, R | BaseException]]:
        """What became ready since the last call; empty at once when nothing did, which may be after a wake-up too: the
        last call took a result whose signal came after it."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return []
        return [self._ready.popleft() for _ in range(len(self._ready))]

    def close(self) -> None:
        """Wait for work that runs, drop what has not begun, end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        os.close(self.fd)

    def _done(self, tag: T, future: Future[R]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        self._ready.append((tag, future.result() if error is None else error))
        os.eventfd_write(self.fd, 1)
