"""What happened in a world, as one digest and as the last events for a person. Pure.

Two runs of one seed are the same if their digests are: every message, turn and fault goes in, with its time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

SHOWN_COUNT = 60
BATCH_COUNT = 256
"""Lines that are hashed at a time: hashing each would cost as much as making it."""
LINE_CHARS_MAX = 240


class Trace:
    """Lines of (time, who, what)."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._pending: list[str] = []
        self._last: deque[tuple[float, str, object]] = deque(maxlen=SHOWN_COUNT)
        self.count = 0

    def note(self, now: float, who: str, what: object) -> None:
        """``what`` must not change afterwards, and its `repr` must be the same in every run."""
        self.count += 1
        self._last.append((now, who, what))
        self._pending.append(f"{now!r} {who} {what!r}\n")
        if len(self._pending) >= BATCH_COUNT:
            self._flush()

    def digest(self) -> str:
        """Of all lines so far, in hex."""
        self._flush()
        return self._hash.hexdigest()

    def last(self) -> Iterator[str]:
        """The last events, oldest first, a line each."""
        for now, who, what in self._last:
            yield f"{now:12.6f}  {who}  {what!r}"[:LINE_CHARS_MAX]

    def _flush(self) -> None:
        self._hash.update("".join(self._pending).encode())
        self._pending.clear()
