"""The threads behind `node.piece_server.reading`: some for each file system, so that one that hangs has only these."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from node.disk.file_systems import Mount, follow_link, mount_of
from node.piece_server.reading import Then, Work, attempt
from node.workers import END_SECONDS, Workers
from protocol.errors import ZswarmError
from transport.loop import Loop

THREADS_COUNT = 4
"""For each file system."""
FILE_SYSTEMS_COUNT_MAX = 16
"""With threads of their own, started when they are first needed: 64 threads at most. Further ones share these."""
LINKS_COUNT_MAX = 40
"""Symbolic links in a path: Linux follows no more."""


class ReadingThreads:
    """`reading.Threads` of this machine; results are told in turns of ``loop``. ``mount_of`` gives the mount of a path
    without symbolic links."""

    def __init__(self, loop: Loop, mount_of: Callable[[str], Mount] = mount_of) -> None:
        self._loop = loop
        self._mount_of = mount_of
        self._workers: dict[Mount, Workers[Then, object]] = {}

    def find(self, path: str, then: Callable[[Mount], None], links: int = 0) -> None:
        """As `reading.Threads` has it, and never at once. ``links`` were followed so far."""
        mount = self._mount_of(path)

        def followed(found: object) -> None:
            assert isinstance(found, str)
            if found == path or links == LINKS_COUNT_MAX:
                then(mount)
            else:
                self.find(found, then, links + 1)

        self.submit(mount, partial(follow_link, path, mount), followed)

    def submit(self, mount: Mount, work: Work, then: Then) -> None:
        """As `reading.Threads` has it, and never at once."""
        self._workers_of(mount).submit(then, partial(attempt, work))

    def close(self) -> None:
        """What runs or hangs is given up after a moment: it ends with the process."""
        for workers in self._workers.values():
            self._loop.remove(workers.fd)
            workers.close(END_SECONDS)

    def _workers_of(self, mount: Mount) -> Workers[Then, object]:
        workers = self._workers.get(mount)
        if workers is None:
            if len(self._workers) == FILE_SYSTEMS_COUNT_MAX:
                return list(self._workers.values())[len(mount.point) % FILE_SYSTEMS_COUNT_MAX]
            workers = self._workers[mount] = Workers(THREADS_COUNT)
            self._loop.add(workers.fd, partial(self._arrived, workers))
        return workers

    def _arrived(self, workers: Workers[Then, object]) -> None:
        for then, result in workers.results():
            if isinstance(result, BaseException) and not isinstance(result, ZswarmError | OSError):
                raise result
            then(result)
