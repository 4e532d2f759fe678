"""Reads pieces, and opens what they are read from, without the loop waiting for a disk or a server.

Work is done in lanes, one for each content: first in, first out, one piece of work at a time. What hangs (a dead NFS
server, a failing disk) holds up its own lane, and further lanes of its file system once all threads of that hang. Other
file systems have threads of their own. Pure but for its port: the threads are behind `Threads`.

A hand-over to a thread and back takes 10 us while the thread is busy and 60 us when it sleeps; reading 64 KiB from
the page cache takes 4 us. So what is in memory is read in the loop: on a file system in memory anything, and on a local
disk what `OpenContent.read_cached` finds in the page cache. This takes 0.6 us more for 64 KiB and 30 us more for 4 MiB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from node.disk.file_systems import Mount
from protocol.errors import ZswarmError

T = TypeVar("T")
Work = Callable[[], object]
Then = Callable[[object], None]
"""Told what the work returned, or the `ZswarmError` or ``OSError`` that it raised."""


class OpenContent(Protocol):
    """Content open for reading, as `node.disk.content.Content` is."""

    def read(self, piece: int) -> bytes:
        """The bytes of ``piece``. Raises `ContentChangedError` when shared content is not what was hashed,
        `NotThereError` when a download does not have them, another `DiskError` when the disk fails."""

    def read_cached(self, piece: int) -> bytes | bytearray | None:
        """The same without waiting for a disk; None when that cannot be, or something is wrong."""

    def check(self, piece: int) -> None:
        """Read ``piece`` and compare its digest. Raises as `read` does, when it is wrong too."""

    def move(self, root: str) -> None:
        """The content was renamed to ``root``."""

    def close(self) -> None: ...


class Threads(Protocol):
    """Where work is done that may have to wait: `node.piece_server.reading_threads`."""

    def find(self, path: str, then: Callable[[Mount], None]) -> None:
        """Tell ``then`` which file system ``path`` is on, symbolic links followed; at once or later."""

    def submit(self, mount: Mount, work: Work, then: Then) -> None:
        """Do ``work`` on files of ``mount``, and tell ``then`` in the loop; at once or later."""


class InLoop:
    """The `Threads` of a world in which no disk makes anybody wait: all work is done in the loop."""

    def find(self, path: str, then: Callable[[Mount], None]) -> None:
        del path
        then(Mount("/", "tmpfs"))

    def submit(self, mount: Mount, work: Work, then: Then) -> None:
        del mount
        then(attempt(work))


class _Task(NamedTuple, Generic[T]):
    tag: T | None
    work: Work
    cached: Work | None
    """The same without waiting, None when it has to wait; itself None when it always does."""


class _Lane(Generic[T]):
    def __init__(self) -> None:
        self.mount: Mount | None = None
        """None: still to be found."""
        self.todo: deque[_Task[T]] = deque()
        self.busy = False
        """Its work, or the search for its mount, is in a thread."""
        self.untold = 0
        self.closed = False


class Reading(Generic[T]):
    """Work on files by key, one for each content or seed; ``done`` is told its results by tag: those of a key in the
    order the work was given, and none before the call that gave it has returned. A result is what `Then` is told.

    An open content is closed as ``last`` of `close`, and never directly: it may wait for the thread that reads it. At
    the end of the process nothing is closed but the threads.

    The simulated world has `InLoop` in place of threads, and the rest as it is.
    """

    def __init__(self, threads: Threads, done: Callable[[T, object], None]) -> None:
        self._threads = threads
        self._done = done
        self._lanes: dict[str, _Lane[T]] = {}
        self._due: deque[_Lane[T]] = deque()
        """Lanes that were given something to do since `deliver` looked at them."""

    def open(self, key: str, path: str) -> None:
        """The work of ``key``, which is not open, will be on files at or below the absolute ``path``."""
        assert key not in self._lanes
        lane = self._lanes[key] = _Lane[T]()
        lane.busy = True
        self._threads.find(path, partial(self._found, lane))

    def read(self, key: str, content: OpenContent, piece: int, tag: T) -> None:
        """Read ``piece`` of ``content``; the result is ``bytes`` or a ``bytearray``. KeyError when ``key`` is not
        open."""
        self._add(key, _Task(tag, partial(content.read, piece), partial(content.read_cached, piece)))

    def run(self, key: str, work: Work, tag: T) -> None:
        """Do ``work``, perhaps in a thread, and not while other work of ``key`` is done. KeyError when that is not
        open."""
        self._add(key, _Task(tag, work, None))

    def pending(self, key: str) -> int:
        """How many results of ``key`` are still to be told; none when it is not open."""
        return self._lanes[key].untold if key in self._lanes else 0

    def close(self, key: str, last: Work | None = None) -> None:
        """Forget ``key``: nothing of it is told any more, and what has not begun is not done. ``last`` is done when
        nothing else of it is, and its result dropped. The key may be opened again at once. KeyError when it is not
        open."""
        lane = self._lanes.pop(key)
        lane.closed = True
        lane.todo.clear()
        if last is not None:
            lane.todo.append(_Task(None, last, None))
            self._due.append(lane)

    def deliver(self) -> bool:
        """Begin what is due, and tell the results of what did not have to wait; the others come with the wake-ups of
        the loop. Whether any were told."""
        told = False
        while self._due:
            told |= self._go_on(self._due.popleft())
        return told

    def _add(self, key: str, task: _Task[T]) -> None:
        lane = self._lanes[key]
        lane.todo.append(task)
        lane.untold += 1
        self._due.append(lane)

    def _go_on(self, lane: _Lane[T]) -> bool:
        told = False
        while lane.todo and not lane.busy:
            assert lane.mount is not None
            task = lane.todo.popleft()
            if lane.mount.is_in_memory:
                result = attempt(task.work)
            elif not lane.mount.is_cached or task.cached is None or (result := task.cached()) is None:
                lane.busy = True
                self._threads.submit(lane.mount, task.work, partial(self._finished, lane, task))
                continue
            self._tell(lane, task, result)
            told = True
        return told

    def _found(self, lane: _Lane[T], mount: Mount) -> None:
        lane.mount, lane.busy = mount, False
        self._due.append(lane)

    def _finished(self, lane: _Lane[T], task: _Task[T], result: object) -> None:
        lane.busy = False
        self._tell(lane, task, result)
        self._due.append(lane)

    def _tell(self, lane: _Lane[T], task: _Task[T], result: object) -> None:
        if not lane.closed:
            lane.untold -= 1
            assert task.tag is not None
            self._done(task.tag, result)


def attempt(work: Work) -> object:
    """What ``work`` returns, or the `ZswarmError` or ``OSError`` it raises."""
    try:
        return work()
    except (ZswarmError, OSError) as error:
        return error
