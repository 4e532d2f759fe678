"""Invalid messages at a socket of the tracker: answers and counts them. Pure.

Nothing that arrives is fatal, and nobody can fill the log: refused messages are counted, and the count is logged at
most once in NOTE_SECONDS.
"""

from __future__ import annotations

from broker.effects import Note
from protocol.codec import request_id
from protocol.errors import ProtocolError
from protocol.limits import DETAIL_BYTES_MAX
from protocol.messages import Error

NOTE_SECONDS = 10.0


class Intake:
    """The invalid messages of one socket. ``what`` is the log's word for its messages, in the plural."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = ""
        self._noted = 0
        self._note_at: float | None = None
        self.refused = 0
        """The number of invalid messages."""

    def refuse(self, data: bytes, error: ProtocolError, now: float) -> Error:
        """The `Error` to answer ``data`` with."""
        self.refused += 1
        self._last = str(error)
        if self._note_at is None:
            self._note_at = now
        return Error(request_id(data), error.code, str(error)[:DETAIL_BYTES_MAX])

    def next_deadline(self) -> float | None:
        """When `note` has something to tell."""
        return self._note_at if self.refused > self._noted else None

    def note(self, now: float) -> list[Note]:
        """The count, when it is due."""
        if self._note_at is None or now < self._note_at:
            return []
        if self.refused == self._noted:
            self._note_at = None
            return []
        fresh, self._noted = self.refused - self._noted, self.refused
        self._note_at = now + NOTE_SECONDS
        text = f"refused {fresh} bad {self._what} ({self.refused} in all), the last one: {self._last}"
        return [Note("warning", text)]
