"""Starts the processes of a tracker or a peer, restarts those that die, and ends them.

Owns processes and nothing else: no sockets, no state of the product. A child is a fresh Python program
(`service.child`). Its stdin carries its settings and is its lifeline: it ends when the write end is closed, which
the kernel does for a supervisor that was killed. So no child outlives its supervisor. As process 1, of a container,
it reaps what others leave behind too.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from msgspec import Struct

from service.exits import describe_exit, final_exit

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 10.0
"""A child that ran this long starts over with the shortest backoff."""
STOP_SECONDS = 5.0
"""How long the children may take to shut down cleanly before they are killed."""

PROJECT_ROOT = Path(__file__).resolve().parent.parent

MALLOC_SETTINGS = {
    # glibc maps and unmaps every block above its threshold: pinned above the largest piece, pieces are reused.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}

_HELD_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_logger = logging.getLogger(__name__)


class ChildSpec(Struct, frozen=True):
    """A child to run. ``settings`` is one JSON line without its newline. ``expendable``: the others go on without it,
    even if it cannot start; it is tried again."""

    role: str
    module: str
    settings: bytes
    expendable: bool = False


class Supervisor:
    """Runs ``children``. For one thread.

    Either `run` does it all in the main thread, or the owner of a main loop and of the signals calls `start`, then
    `poll` until it returns an exit code or it has had enough, then `stop`.
    """

    def __init__(self, children: Sequence[ChildSpec]) -> None:
        self._children = [_Child(spec) for spec in children]
        self._wakeup: int | None = None
        self._interrupts = 0
        self._ending = False

    def start(self) -> None:
        """Start all, in list order. When one cannot be started the others are ended, and the `OSError` raised."""
        try:
            for child in self._children:
                child.start()
        except OSError:
            self.stop()
            raise

    def poll(self, timeout: float) -> int | None:
        """Wait up to ``timeout`` seconds until a child has ended or is due to be restarted, and see to it.

        Returns the exit code to end with once a child ended for good (`service.exits`); the others still run then,
        until `stop`. None otherwise.
        """
        now = time.monotonic()
        due = [child.restart_at for child in self._children if child.process is None]
        self._wait(self._children, max(0.0, min([now + timeout, *due]) - now))
        if self._ending:  # whoever ended meanwhile was told to
            return None
        now = time.monotonic()
        for child in self._children:
            code = child.reap()
            if code is not None:
                final = final_exit(code)
                if final is not None and not child.spec.expendable:
                    return final
                child.plan_restart(code, now)
            elif child.process is None and child.restart_at <= now:
                child.restart(now)
        if os.getpid() == 1:
            self._reap_orphans()
        return None

    def stop(self) -> None:
        """End the children, all at the same time, and kill those that take too long.

        All are reaped when it returns, or raises what a signal handler raised.
        """
        try:
            for child in self._children:
                child.close_lifeline()
            deadline = time.monotonic() + STOP_SECONDS
            while (running := self._running()) and not self._in_a_hurry and (left := deadline - time.monotonic()) > 0:
                self._wait(running, left)
            why = "was not given time to end" if self._in_a_hurry else "did not end in time"
            for child in running:
                _logger.warning("%s (pid %d) %s; killing it", child.spec.role, child.pid, why)
        finally:
            self.kill()

    def kill(self) -> None:
        """End all at once, whatever they do. All are reaped when it returns."""
        for child in self._running():
            child.kill()
        for child in self._children:
            child.wait()

    def run(self) -> int:
        """Start, supervise and stop, in the main thread. Returns the exit code of the program.

        After SIGTERM, SIGINT or SIGHUP (a terminal that was closed; not under `nohup`) the children shut down cleanly,
        and the result is 0. A second Ctrl-C kills them.
        """
        self._wakeup, wakeup_end = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_end, False)
        wakeup_before = signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        held = [number for number in _HELD_SIGNALS if number != signal.SIGHUP or not _under_nohup()]
        handlers = {number: signal.signal(number, self._on_signal) for number in held}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _wake_up)
        try:
            self.start()
            code = None
            while code is None and not self._ending:
                code = self.poll(HEALTHY_SECONDS)
            self._ending = True
            self.stop()
            return code or 0
        finally:
            self.kill()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            os.close(self._wakeup)
            os.close(wakeup_end)
            self._wakeup = None

    def pids(self) -> dict[str, int]:
        """Process ids by role, of the children that run now."""
        return {child.spec.role: child.pid for child in self._children if child.running}

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.running]

    def _reap_orphans(self) -> None:
        """Processes that lost their parent and became children of this one. Those of the supervisor keep their ends for
        `_Child.reap`; what waits behind one of them is for the next time."""
        own = {child.pid for child in self._children}
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid in own:
                    return
                os.waitid(os.P_PID, ended.si_pid, os.WEXITED)
        except ChildProcessError:
            return

    @property
    def _in_a_hurry(self) -> bool:
        return self._interrupts > 1

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT or self._interrupts == 0:
            self._interrupts += 1
        self._ending = True

    def _wait(self, children: Sequence[_Child], timeout: float) -> None:
        """Until one of ``children`` ended, a signal came, or ``timeout`` seconds have passed."""
        poller = select.poll()
        for child in children:
            if child.process is not None:
                poller.register(child.pidfd, select.POLLIN)
        if self._wakeup is not None:
            poller.register(self._wakeup, select.POLLIN)
        ready = poller.poll(timeout * 1_000)
        if any(fd == self._wakeup for fd, _ in ready) and self._wakeup is not None:
            os.read(self._wakeup, 4_096)


def _under_nohup() -> bool:
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


class _Child:
    """One child and its process, if it has one now."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self.restart_at = 0.0
        self._started_at = 0.0
        self._backoff = BACKOFF_SECONDS_MIN

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def running(self) -> bool:
        """Whether it runs. How it ended stays known until `reap` is asked."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and hand it its settings. Raises `OSError`."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_SIGNALS)  # inherited: `service.child` unblocks them
        try:
            # -P: a file in the user's working directory must not stand in for a module.
            command = [sys.executable, "-P", "-m", self.spec.module]
            self.process = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, env=_environment(os.environ))
            self.pidfd = os.pidfd_open(self.process.pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._started_at = time.monotonic()
        self._hand_over_settings(self.process)

    def restart(self, now: float) -> None:
        try:
            self.start()
        except OSError as error:
            self._back_off(now, f"cannot be started: {error.strerror}")

    def reap(self) -> int | None:
        """Its exit code, once, when it has ended."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self._forget()
        return code

    def plan_restart(self, code: int, now: float) -> None:
        if now - self._started_at >= HEALTHY_SECONDS:
            self._backoff = BACKOFF_SECONDS_MIN
        self._back_off(now, describe_exit(code))

    def close_lifeline(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def wait(self) -> None:
        """Until it has ended, if it runs."""
        if self.process is not None:
            self.process.wait()
            self._forget()

    def _back_off(self, now: float, how: str) -> None:
        _logger.error("%s %s; starting it again in %.1f s", self.spec.role, how, self._backoff)
        self.restart_at = now + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_SECONDS_MAX)

    def _hand_over_settings(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        unsent = self.spec.settings + b"\n"
        try:
            while unsent:
                unsent = unsent[process.stdin.write(unsent) :]
        except BrokenPipeError:
            _logger.debug("%s ended before it read its settings", self.spec.role)

    def _forget(self) -> None:
        self.close_lifeline()
        os.close(self.pidfd)
        self.process = None


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """That a signal has a handler is what makes it end a wait."""


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: it finds the project from any directory, and has the allocator's thresholds pinned."""
    paths = [str(PROJECT_ROOT), *filter(None, [own.get("PYTHONPATH", "")])]
    return {**MALLOC_SETTINGS, **own, "PYTHONPATH": os.pathsep.join(paths)}
