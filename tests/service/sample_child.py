"""A child process for the tests of `service`: says what happens to it on a named pipe, and behaves as told."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from protocol.errors import LocalError, NetworkError
from service.child import run_child
from service.logs import LogSettings
from transport.loop import Loop

Behaviour = Literal[
    "serve", "crash", "crash with a thread", "bug", "fatal", "fatal too late", "stop", "stuck", "term itself"
]


class SampleSettings(Struct, frozen=True, kw_only=True):
    """``events`` is a named pipe; ``ballast`` makes the settings larger than a pipe takes at once."""

    name: str
    events: str
    behaviour: Behaviour = "serve"
    ballast: str = ""
    log: LogSettings = field(default_factory=LogSettings)


def main(settings: SampleSettings, loop: Loop) -> int:
    """Report the start, behave, report the end."""
    say(settings, "started")
    match settings.behaviour:
        case "crash":
            raise RuntimeError("a crash\nof two lines")
        case "crash with a thread":
            threading.Thread(target=threading.Event().wait).start()
            raise RuntimeError("a crash")
        case "bug":
            raise LocalError("our own mistake")
        case "fatal":
            raise NetworkError("port 5550 is in use")
        case "fatal too late":
            loop.run(fail)
        case "stop":
            return 0
        case "stuck":
            threading.Event().wait()
        case "term itself":
            # The signal comes while nothing looks: only the wakeup descriptor ends the poll after it.
            signal.raise_signal(signal.SIGTERM)
        case _:
            pass
    loop.run(lambda _now: None)
    say(settings, "stopped")
    return 0


def fail(_now: float) -> None:
    raise NetworkError("no more sockets")


def say(settings: SampleSettings, what: str) -> None:
    line = f"{settings.name} {what} {os.getpid()} {Path.cwd()}\n"
    with Path(settings.events).open("w") as pipe:
        pipe.write(line)


if __name__ == "__main__":
    run_child("sample", SampleSettings, main)
