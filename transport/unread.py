"""How many bytes of each connection have arrived and not been read, and which connections have too many.

libzmq hands a message on when all of its frames have arrived, and none of its queues has a bound: a stranger that sends
a message without end, or messages faster than they are read, fills the memory of the process. The kernel counts what
arrived; what was read is counted here. An honest peer has a few requests open at a time, and each is one frame.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.limits import CONTROL_BYTES_MAX, MIB
from transport.kernel import tcp_info

UNREAD_BYTES_MAX = 1 * MIB
"""Of one connection..."""
UNREAD_ALL_BYTES_MAX = 64 * MIB
"""...and of all together; also how much memory may grow meanwhile. Beyond that one connection may have only this..."""
CROWDED_BYTES_MAX = 2 * CONTROL_BYTES_MAX
"""...a request that waits and the next one on its way, and none if its message takes longer than `SLOW_SECONDS`."""
SLOW_SECONDS = 5.0
FRAME_BYTES = 64
"""What a frame takes on the wire besides what is in it, at most, encryption included; and how much memory an empty one
takes, which is two bytes on the wire."""


class Unread:
    """Of the connection ``fd``, which came at ``now`` (monotonic seconds)."""

    __slots__ = ("_read_before", "begun", "fd", "hung_up", "read", "read_at", "waiting")

    def __init__(self, fd: int, now: float) -> None:
        self.fd = fd
        self.hung_up = False
        """Nobody listens to it any more."""
        self.read = self._read_before = 0
        """Bytes that were read, at least: whoever reads a frame adds it, and `FRAME_BYTES`."""
        self.read_at = now
        self.waiting = 0
        """Bytes that came and were not read, when that was last looked at..."""
        self.begun = 0
        """...and of these those of a message that has not ended, at least."""

    def look(self, now: float, emptied: bool) -> None:
        """``emptied``: since the last look there was a moment at which no whole message was left to be read."""
        info = tcp_info(self.fd)
        came = self.read if info is None else info.read_bytes
        before, was_read = self.waiting, self.read != self._read_before
        self.read = self._read_before = min(self.read, came)
        self.waiting = came - self.read
        if was_read or not self.waiting:
            self.read_at = now
        self.begun = 0 if was_read else min(self.waiting, before if emptied else self.begun)

    def read_all(self) -> None:
        """What came until now is read, or soon will be."""
        self.look(self.read_at, emptied=False)
        self.read += self.waiting
        self.waiting = 0


def too_much(connections: Iterable[Unread], grown_bytes: int, now: float) -> list[Unread]:
    """Those among ``connections``, as they were last looked at, that have to be hung up on. Memory has ``grown_bytes``
    since nothing was unread."""
    waiting = sorted((one for one in connections if one.waiting), key=lambda one: -one.waiting)
    over: list[Unread] = []
    others: list[Unread] = []
    for one in waiting:
        is_over = one.waiting > UNREAD_BYTES_MAX or one.begun > CONTROL_BYTES_MAX + FRAME_BYTES
        (over if is_over else others).append(one)
    excess = sum(one.waiting for one in others) - UNREAD_ALL_BYTES_MAX
    grown = grown_bytes - UNREAD_ALL_BYTES_MAX - sum(one.waiting for one in over)
    for one in others:
        is_slow = one.begun > 0 and now - one.read_at >= SLOW_SECONDS
        if (excess > 0 and one.waiting > CROWDED_BYTES_MAX) or (max(grown, excess) > 0 and is_slow):
            over.append(one)
            excess -= one.waiting
            grown -= one.waiting * FRAME_BYTES // 2
    return over
