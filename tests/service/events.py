"""What `sample_child` processes said, read from their named pipe."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from service.supervisor import ChildSpec
from tests.service.sample_child import Behaviour, SampleSettings

PATIENCE_SECONDS = 20.0


class Event(NamedTuple):
    """``what`` is ``started`` or ``stopped``."""

    name: str
    what: str
    pid: int
    cwd: str


class Events:
    """The reading end of the pipe at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for writing too, so that it never ends
        self._text = ""

    def spec(self, name: str, behaviour: Behaviour = "serve", ballast: str = "") -> ChildSpec:
        settings = SampleSettings(name=name, events=str(self.path), behaviour=behaviour, ballast=ballast)
        return ChildSpec(name, "tests.service.sample_child", msgspec.json.encode(settings))

    def next(self) -> Event:
        """The next event; fails when none comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "\n" not in self._text:
            left = deadline - time.monotonic()
            assert left > 0, "no event came"
            if select.select([self._fd], [], [], left)[0]:
                self._text += os.read(self._fd, 4_096).decode()
        line, self._text = self._text.split("\n", 1)
        name, what, pid, cwd = line.rsplit(" ", 3)
        return Event(name, what, int(pid), cwd)

    def close(self) -> None:
        os.close(self._fd)


def gone(pid: int) -> bool:
    """Whether no process has that id, not even an unreaped one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
