"""Requests that wait for the reply of a registrar, repeated with their ids (PROTOCOL.md, section 2.5). Pure."""

from __future__ import annotations

import random
from enum import Enum

from protocol.limits import REQUEST_TIMEOUT_SECONDS
from protocol.messages import RegistrarRequest

BACKOFF_FACTOR = 1.5
REPEAT_SECONDS_MAX = 10.0


class Slot(Enum):
    """At most one request of each is open at a time."""

    CONVERSATION = "Join, FileList, Leave"
    HEARTBEAT = "Heartbeat"
    REPORT = "Update, Transfer"


class _Open:
    def __init__(self, message: RegistrarRequest, now: float, due: float) -> None:
        self.message = message
        self.first_at = now
        self.due = due
        self.tries = 1


class OpenRequests:
    """By slot. With ``every`` they are repeated after that many seconds each time, and not later and later."""

    def __init__(self, rng: random.Random) -> None:
        self.every: float | None = None
        self._rng = rng
        self._open: dict[Slot, _Open] = {}
        self._next_id = 1

    def __contains__(self, slot: Slot) -> bool:
        return slot in self._open

    def new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def open(self, slot: Slot, message: RegistrarRequest, now: float) -> None:
        """``message`` is sent now."""
        self._open[slot] = _Open(message, now, now + self._patience(1))

    def message(self, slot: Slot) -> RegistrarRequest | None:
        request = self._open.get(slot)
        return None if request is None else request.message

    def answered_by(self, number: int) -> Slot | None:
        """The slot of the request with id ``number``, which stays open."""
        return next((slot for slot, request in self._open.items() if request.message.id == number), None)

    def close(self, slot: Slot) -> RegistrarRequest | None:
        request = self._open.pop(slot, None)
        return None if request is None else request.message

    def clear(self) -> None:
        self._open.clear()
        self.every = None

    def reconnected(self, now: float) -> list[RegistrarRequest]:
        """All of them, to be sent again; what was sent before may be lost."""
        for request in self._open.values():
            request.first_at, request.due = now, now + self._patience(1)
        return [request.message for request in self._open.values()]

    def due(self, now: float) -> list[tuple[RegistrarRequest, float]]:
        """Those to be sent again now, and since when each has no reply."""
        late = [request for request in self._open.values() if now >= request.due]
        for request in late:
            request.tries += 1
            request.due = now + self._patience(request.tries)
        return [(request.message, request.first_at) for request in late]

    def next_deadline(self) -> float | None:
        return min((request.due for request in self._open.values()), default=None)

    def _patience(self, tries: int) -> float:
        if self.every is not None:
            return self.every
        seconds: float = min(REQUEST_TIMEOUT_SECONDS * BACKOFF_FACTOR ** (tries - 1), REPEAT_SECONDS_MAX)
        return seconds * self._rng.uniform(0.9, 1.1)
