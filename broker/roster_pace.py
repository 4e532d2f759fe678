"""How much the roster says at most: what goes to all members costs by how many they are. Pure.

When a tracker of 10,000 peers comes back, each of them joins, and all would be told of each: a hundred million
messages, behind which the answers to the joins wait. What is left out is a gap in the numbers, after which a peer asks
a lookup again about what it wants (PROTOCOL.md, section 7): nothing, for most.
"""

from __future__ import annotations

MESSAGES_PER_SECOND = 20_000
"""Some 0.1 s of a core: 400 events a second for 50 members, 20 for 1,000."""
MESSAGES_COUNT_MAX = 200_000
"""So many at once, after a quiet time."""


class RosterPace:
    """From ``now`` on, in monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._left: float = MESSAGES_COUNT_MAX
        self._counted_at = now

    def allows(self, members: int, now: float) -> bool:
        """Whether one more event is announced, to ``members``."""
        self._left = min(MESSAGES_COUNT_MAX, self._left + (now - self._counted_at) * MESSAGES_PER_SECOND)
        self._counted_at = now
        if self._left < members:
            return False
        self._left -= members
        return True
