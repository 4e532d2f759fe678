"""What arrives at a ROUTER of the tracker: a message, or something to refuse. Pure.

Nothing that arrives is ever fatal, and nobody can fill the log: what was refused is counted, and the count is told at
most once in NOTE_SECONDS.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from broker.effects import Note
from protocol.codec import Decoder, request_id
from protocol.errors import ProtocolError
from protocol.limits import DETAIL_BYTES_MAX
from protocol.messages import Error

M = TypeVar("M")
NOTE_SECONDS = 10.0


class Intake(Generic[M]):
    """Reads the frames of one socket. ``what`` is what the log calls them, in the plural."""

    def __init__(self, what: str, decoder: Decoder[M]) -> None:
        self._what = what
        self._decoder = decoder
        self._last = ""
        self._noted = 0
        self._note_at: float | None = None
        self.refused = 0
        """How many messages were none of ours."""

    def read(self, frame: bytes, count: int, now: float) -> M | Error:
        """The message in ``frame``, the first of ``count`` behind the route, or the `Error` to answer with."""
        try:
            if count != 1:
                raise ProtocolError(f"a message is one frame, not {count}")
            return self._decoder.decode(frame)
        except ProtocolError as error:
            self.refused += 1
            self._last = str(error)
            if self._note_at is None:
                self._note_at = now
            asked = request_id(frame) if count == 1 else 0
            return Error(asked, error.code, str(error)[:DETAIL_BYTES_MAX])

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
