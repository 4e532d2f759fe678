"""Threads for the blocking work of one event loop: hashing, writing, syncing.

How much is handed in at once is bounded by the caller, in bytes. Results come back in the order they are ready.

Not `concurrent.futures`: nobody waits for one piece of work, so a future for each, with its lock and its callbacks, is
a tenth of what a downloader computes for a piece.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

END_SECONDS = 0.3
"""How long a process that ends waits for its threads. All they do may be cut off at any moment, as a kill does; what
takes long, as with 100,000 files, is."""

T = TypeVar("T")
R = TypeVar("R")


class Workers(Generic[T, R]):
    """``count`` threads. ``T`` is the type of the tags that tell work apart, ``R`` that of its results."""

    def __init__(self, count: int) -> None:
        self._todo: SimpleQueue[tuple[T, Callable[[], R]] | None] = SimpleQueue()
        self._ready: deque[tuple[T, R | BaseException]] = deque()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable while results wait; for a poll loop."""
        self._closed = False
        # Daemons: a process that fails ends, though nobody closed this.
        self._threads = [Thread(target=self._run, name=f"worker-{number}", daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, tag: T, work: Callable[[], R]) -> None:
        """Run ``work`` in a thread; `results` will give (``tag``, what it returned or raised). RuntimeError when it is
        closed."""
        if self._closed:
            raise RuntimeError("these workers are closed")
        self._todo.put((tag, work))

    def results(self) -> list[tuple[T, R | BaseException]]:
        """What became ready since the last call; empty at once when nothing did, which may be after a wake-up too: the
        last call took a result whose signal came after it."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return []
        return [self._ready.popleft() for _ in range(len(self._ready))]

    def close(self, patience: float | None = None) -> bool:
        """Drop what has not begun, wait for work that runs, end the threads. False when some of it still runs after
        ``patience`` seconds: the process may end all the same, and takes it along."""
        self._closed = True
        while self._drop_one():
            pass
        for _ in self._threads:
            self._todo.put(None)
        deadline = None if patience is None else time.monotonic() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return False
        os.close(self.fd)
        return True

    def _drop_one(self) -> bool:
        try:
            self._todo.get_nowait()
        except Empty:
            return False
        return True

    def _run(self) -> None:
        while (task := self._todo.get()) is not None:
            tag, work = task
            result: R | BaseException
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the loop's to judge
                result = error
            self._ready.append((tag, result))
            os.eventfd_write(self.fd, 1)
            del task, tag, work, result  # a thread that waits holds no piece
