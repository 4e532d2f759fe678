"""Lines for the log about members that come and go. Pure.

A stranger that joins and leaves over and over does not fill the disk: in each period of NOTE_SECONDS up to
NOTES_COUNT_MAX lines are logged, and then the number of the others.
"""

from __future__ import annotations

from broker.effects import Note
from protocol.endpoints import is_wildcard, parse_endpoint

NOTE_SECONDS = 10.0
NOTES_COUNT_MAX = 200
"""Of a thousand peers that start at once the first ones are named."""


class MemberNotes:
    def __init__(self, now: float) -> None:
        self._until = now
        self._told = self._left_out = 0

    def joined(self, peer: str, name: str, endpoint: str, count: int, again: bool, now: float) -> list[Note]:
        """``count``: the entries of its list."""
        verb = "joined again" if again else "joined"
        return self._note(f"peer {label(peer, name)} {verb} {_place(endpoint)} with a list of {count}", now)

    def left(self, peer: str, name: str, what: str, count: int, now: float) -> list[Note]:
        return self._note(f"peer {label(peer, name)} {what}; its list of {count} is removed", now)

    def next_deadline(self) -> float | None:
        """When `tick` has something to tell."""
        return self._until if self._left_out else None

    def tick(self, now: float) -> list[Note]:
        if now < self._until:
            return []
        notes = [Note("info", f"{self._left_out} more joined, left or were forgotten")] if self._left_out else []
        self._told = self._left_out = 0
        return notes

    def _note(self, text: str, now: float) -> list[Note]:
        notes = self.tick(now)
        if not self._told:
            self._until = now + NOTE_SECONDS
        if self._told == NOTES_COUNT_MAX:
            self._left_out += 1
            return notes
        self._told += 1
        return [*notes, Note("info", text)]


def label(peer: str, name: str) -> str:
    """How a peer is called in the log."""
    return f"{name} ({peer[:8]})" if name else peer[:8]


def _place(endpoint: str) -> str:
    address = parse_endpoint(endpoint)
    return f"on this machine at port {address.port}" if is_wildcard(address.host) else f"at {endpoint}"
