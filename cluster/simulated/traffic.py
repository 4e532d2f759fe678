"""The pieces that arrive anywhere in a world: who gave whom how much, what the seeders gave out, how fast. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from cluster.simulated.clock import Clock
from cluster.simulated.content import SentPiece
from protocol.bitfield import Bitfield

MARKS_COUNT = 64
"""So many times it is noted when how much had arrived."""
SWING_PART = 0.5
"""A swarm in full swing is looked for in this part of all it delivers: pieces that are few arrive in waves."""


class Traffic:
    """``seen`` is told of every message of a network. ``receivers`` and ``seeders`` are names; each receiver is to get
    ``length`` bytes in ``pieces``. ``enough`` is called once the seeders have given out ``part`` of one copy."""

    def __init__(
        self,
        clock: Clock,
        receivers: Sequence[str],
        seeders: Sequence[str],
        length: int,
        pieces: int,
        part: float,
        enough: Callable[[], None],
    ) -> None:
        self.received = dict.fromkeys(receivers, 0)
        """Bytes, by name."""
        self.sources: dict[str, dict[str, None]] = {name: {} for name in receivers}
        """Who gave them something, by name."""
        self.bytes = 0
        self.whole = length * len(receivers)
        """Bytes that are to arrive."""
        self._clock = clock
        self._seeders = dict.fromkeys(seeders)
        self._out = Bitfield(pieces)
        self._part, self._enough = part, enough
        self._marks: list[tuple[float, int]] = []
        self._next_mark = 0.0

    @property
    def kept_back(self) -> int:
        """Pieces that the seeders have given nobody."""
        return self._out.size - self._out.count_set

    def seen(self, source: str, target: str, message: object) -> None:
        """A message arrived: pieces are those that come with data."""
        if not isinstance(message, SentPiece):
            return
        size = len(message.data)
        self.bytes += size
        self.received[target] += size
        self.sources[target][source] = None
        if self.bytes >= self._next_mark:
            self._marks.append((self._clock.now, self.bytes))
            self._next_mark = self.bytes + self.whole / MARKS_COUNT
        if source in self._seeders:
            self._note_out(message.header.piece)

    def _note_out(self, piece: int) -> None:
        """A seeder has sent it."""
        if piece not in self._out:
            self._out.set(piece)
            if self._out.count_set == ceil(self._part * self._out.size):
                self._enough()

    def full_swing(self) -> float:
        """Bytes/s, all together, while it went fastest; 0 when too little arrived to say."""
        best = 0.0
        end = 0
        for began, before in self._marks:
            while end < len(self._marks) and self._marks[end][1] - before < SWING_PART * self.whole:
                end += 1
            if end == len(self._marks):
                break
            ended, after = self._marks[end]
            if ended > began:
                best = max(best, (after - before) / (ended - began))
        return best
