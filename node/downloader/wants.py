"""Which sources are told what is wanted of them, and when. PROTOCOL.md, section 6.3.

Pure. A source is told anew when something about the pieces it could send has changed, when it has offered most of
what it was told, or when it was refused for want of room and there is room now. One that still has enough to choose
from hears of changes in batches.
"""

from __future__ import annotations

from node.downloader.picker import Picker
from node.downloader.source import Send, Source, SourcePool, SourceState
from protocol.bitfield import Bitfield
from protocol.limits import WANT_COUNT_MAX
from protocol.messages import Want

WANT_INTERVAL_SECONDS = 0.05
WANT_SECONDS_PER_CHOICE = 1e-7
"""To choose costs a twentieth of this per piece and source as a rule, and no more than all of it: the interval grows
with their numbers (to 0.4 s for 65,536 pieces and 64 sources), so that choosing stays a small part of the work..."""
WANT_INTERVAL_SECONDS_MAX = 1.0
"""...and a source hears of news within a second."""


class Wants:
    """The Wants of one download, to the sources in ``pool``, of the pieces in ``picker``."""

    def __init__(self, pool: SourcePool, picker: Picker, piece_count: int) -> None:
        self._pool = pool
        self._picker = picker
        self._piece_count = piece_count

    def missing_again(self, piece: int) -> None:
        """``piece`` can be asked for again: of whoever has it."""
        for source in self._pool:
            source.dirty = source.dirty or piece in source.bits

    def offered(self, source: Source) -> None:
        """The source has offered one of the pieces it was told."""
        source.left = max(0, source.left - 1)
        if source.truncated and source.left <= WANT_COUNT_MAX // 2:
            source.dirty = True

    def others_could_send(self, piece: int, source: Source) -> bool:
        """Whether a source other than this one, and not slow, has the piece."""
        return any(piece in other.bits for other in self._quick() if other is not source)

    def tell_news(self, now: float) -> list[Send]:
        """Tell those of whom something else is wanted, when that is due."""
        effects: list[Send] = []
        interval = self._interval()
        for source in self._pool:
            if not source.dirty or source.held or source.state is not SourceState.READY:
                continue
            if not source.left or now >= source.want_at + interval:
                effects += self._tell(source, now)
        return effects

    def held(self) -> list[Source]:
        """Those that were refused for want of room."""
        return [source for source in self._pool if source.held and source.state is SourceState.READY]

    def tell_held(self, held: list[Source], now: float, room: int, spare_room: int, owing: int) -> list[Send]:
        """Tell those of ``held`` that owe no more than ``owing``: there is room for ``room`` more pieces, for
        ``spare_room`` of sources that have nothing else to send."""
        waiting = [source for source in held if len(source.claims) <= owing]
        waiting.sort(key=lambda source: (len(source.claims), source.want_at))
        effects: list[Send] = []
        for place, source in enumerate(waiting[: max(0, spare_room)]):
            if place < room or source.spare:
                effects += self._tell(source, now)
        return effects

    def next_deadline(self) -> float:
        """When `tell` has something to say though nothing happens; infinite when never."""
        interval = self._interval()
        return min(
            (
                source.want_at + interval
                for source in self._pool
                if source.dirty and not source.held and source.state is SourceState.READY
            ),
            default=float("inf"),
        )

    def _tell(self, source: Source, now: float) -> list[Send]:
        have = self._only_from(source) if source.slow else source.bits
        pieces = self._picker.order(have, WANT_COUNT_MAX)
        nothing_new = not pieces and not source.left
        source.dirty = source.held = False
        source.left = len(pieces)
        source.truncated = len(pieces) == WANT_COUNT_MAX
        if nothing_new:
            return []
        source.revision += 1
        source.want_at = source.said_at = now
        return [Send(source.session, Want(source.session, source.revision, pieces))]

    def _only_from(self, source: Source) -> Bitfield:
        """What a slow source has and no quick one."""
        only = source.bits
        for other in self._quick():
            only = only.without(other.bits)
        return only

    def _quick(self) -> list[Source]:
        return [source for source in self._pool if source.state is SourceState.READY and not source.slow]

    def _interval(self) -> float:
        cost = WANT_SECONDS_PER_CHOICE * self._piece_count * len(self._pool)
        return min(WANT_INTERVAL_SECONDS_MAX, max(WANT_INTERVAL_SECONDS, cost))
