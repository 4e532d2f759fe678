"""The frame of a child process: its settings, its log, and the ways it ends.

A child is a module with ``if __name__ == "__main__": run_child("role", SettingsType, main)``, started by
`service.supervisor`. The first line on its stdin is its settings as JSON; after that stdin is its lifeline: when
the supervisor closes it, or dies in whatever way, the child's loop is stopped. So does SIGTERM; Ctrl-C is for the
supervisor alone. `service.exits` says what the exit codes mean.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeVar

import msgspec

from protocol.errors import ConfigError, LocalError, ZswarmError
from service.exits import EXIT_CRASHED, EXIT_STOPPED, EXIT_TERMINATED, fatal_exit
from service.logs import LogSettings, set_up_logging
from service.memory import limit_memory
from transport.loop import Loop

_STDIN = 0
_READ_BYTES = 64 * 1024
_YOUNG_COUNT = 10_000
"""New objects between two looks of the collector of cycles. A message is a dozen that are gone at once."""

_logger = logging.getLogger(__name__)


class ChildSettings(Protocol):
    """What the settings of every child have."""

    @property
    def log(self) -> LogSettings: ...


S = TypeVar("S", bound=ChildSettings)


def run_child(role: str, settings_type: type[S], main: Callable[[S, Loop], int]) -> NoReturn:
    """Run ``main(settings, loop)`` as this process, and exit.

    ``main`` adds its sources to ``loop``, runs it, closes what it opened and returns an exit code, 0 when all went
    well. A `ZswarmError` that it raises before the loop runs (port in use, data directory not usable) is logged in
    one line and ends the supervisor and its other children too. Anything that comes out of a running loop, and a
    `LocalError` at any time, is a bug or passes: logged with its traceback, and restarted.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _spare_the_heap()
    loop = Loop()
    lifeline = _Lifeline(loop)
    set_up_logging(role, LogSettings())
    try:
        settings = _read_settings(settings_type)
        set_up_logging(role, settings.log)
        _raise_file_limit()
        limit_memory()
        lifeline.watch()
        code = main(settings, loop)
    except ZswarmError as error:
        if loop.ran or isinstance(error, LocalError):
            _logger.exception("crashed")
            os._exit(EXIT_CRASHED)
        _logger.error("%s", error)
        os._exit(fatal_exit(error))
    except Exception:
        _logger.exception("crashed")
        os._exit(EXIT_CRASHED)  # sys.exit would wait for the threads that ``main`` left behind
    sys.exit(EXIT_TERMINATED if code == EXIT_STOPPED and lifeline.terminated else code)


def _spare_the_heap() -> None:
    """Python's collector of cycles looks less often, and not at what was imported, which stays."""
    gc.freeze()
    gc.set_threshold(_YOUNG_COUNT, *gc.get_threshold()[1:])


class _Lifeline:
    """Stops the loop at the end of stdin or at SIGTERM.

    The wakeup descriptor is what makes a signal end a poll that is just about to begin.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.terminated = False
        self._wakeup, wakeup_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal sends it to all; the supervisor ends them
        # The supervisor starts its children with all three blocked, so that none ends one before it is this far.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def watch(self) -> None:
        self._loop.add(self._wakeup, self._on_wakeup)
        self._loop.add(_STDIN, self._on_stdin)

    def _on_term(self, _signal: int, _frame: object) -> None:
        self.terminated = True
        self._loop.stop()

    def _on_wakeup(self) -> None:
        os.read(self._wakeup, _READ_BYTES)

    def _on_stdin(self) -> None:
        if not os.read(_STDIN, _READ_BYTES):
            self._loop.remove(_STDIN)
            self._loop.stop()


def _read_settings(settings_type: type[S]) -> S:
    """The first line of stdin, up to its newline; nothing comes after it."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(_STDIN, _READ_BYTES)
        if not data:
            raise ConfigError("stdin ended before its settings: this process is started by its supervisor")
        line += data
    try:
        return msgspec.json.decode(line, type=settings_type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings on stdin are not a {settings_type.__name__}: {error}") from None


def _raise_file_limit() -> None:
    """A socket needs descriptors, and a ROUTER that has none left spins and accepts nobody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
