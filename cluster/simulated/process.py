"""A process of a simulated host: it takes turns, as a poll loop does. Pure.

What arrives waits for the next turn, in which everything that waits is handled and then the process ticks. Owns when
turns happen; what happens in one is the subclass's.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.simulated.clock import Clock

TURN_SECONDS = 5e-5
"""Between two turns, at least: what a turn of a real loop costs."""


class Process:
    """``name`` is for people. Override `tick`."""

    def __init__(self, clock: Clock, name: str, turn_seconds: float = TURN_SECONDS) -> None:
        self.clock = clock
        self.name = name
        self.alive = True
        self._paused = False
        self._turn_seconds = turn_seconds
        self._inbox: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._turn_at = float("inf")
        self._ready_at = clock.now
        self.after_turn: Callable[[Process], None] = _nothing

    @property
    def waiting(self) -> int:
        """How much has arrived and waits for a turn."""
        return len(self._inbox)

    @property
    def paused(self) -> bool:
        """It takes no turns."""
        return self._paused

    def receive(self, call: Callable[..., None], *args: object) -> None:
        """Something arrived: ``call`` it in the next turn. Nothing arrives at a process that is dead."""
        if self.alive:
            self._inbox.append((call, args))
            if self._turn_at > self._ready_at:
                self.wake(self.clock.now)

    def wake(self, when: float) -> None:
        """Take a turn at ``when`` at the latest."""
        if self._ready_at > when:
            when = self._ready_at
        if when < self._turn_at and not self._paused:
            self._turn_at = when
            self.clock.at(when, self._turn, when)

    def pause(self) -> None:
        """No turns until `go_on`; what arrives waits."""
        self._paused = True
        self._turn_at = float("inf")

    def go_on(self) -> None:
        if self._paused:
            self._paused = False
            self.wake(self.clock.now)

    def kill(self) -> None:
        """As by SIGKILL: it does nothing any more, and what waited is gone."""
        self.alive = False
        self._turn_at = float("-inf")
        self._inbox.clear()

    def tick(self, now: float) -> float | None:
        """The end of a turn; returns when to take the next one at the latest."""
        raise NotImplementedError

    def _turn(self, when: float) -> None:
        if when != self._turn_at:
            return  # it was asked for, and then an earlier one
        self._turn_at = float("inf")
        self._ready_at = when + self._turn_seconds
        inbox, self._inbox = self._inbox, []
        for call, args in inbox:
            if not self.alive:  # it may be killed by what it does itself
                return
            call(*args)
        due = self.tick(when) if self.alive else None
        if due is not None:
            self.wake(due)
        self.after_turn(self)


def _nothing(_process: Process) -> None:
    """What is done after a turn, unless somebody wants to look."""
