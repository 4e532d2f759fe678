"""Which sources are told what is wanted of them, and when. PROTOCOL.md, section 6.3.

Pure. A source is told anew when something about the pieces it could send has changed, when it has offered most of
what it was told, or when it was refused for want of room and there is room now. One that still has enough to choose
from hears of changes in batches.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

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
REFUSED_SECONDS = 1.0
"""Who was refused is asked for offers again after this long, though nothing has changed that we know of."""
INFINITE = float("inf")


class Held(NamedTuple):
    """A source that was refused at ``at``. ``why``: what decided that there was no room."""

    source: Source
    why: Hashable
    at: float


class Wants:
    """The Wants of one download, to the sources in ``pool``, of the pieces in ``picker``."""

    def __init__(self, pool: SourcePool, picker: Picker, piece_count: int) -> None:
        self._pool = pool
        self._picker = picker
        self._piece_count = piece_count
        self._changed: dict[int, Source] = {}
        """By session, of whom we want something else than the last Want says."""
        self._held: dict[int, Held] = {}
        """By session, whose offer was refused because we were full: they wait for the next Want."""
        self._due_at = INFINITE
        """Before that there is no news to tell; nobody need be looked at."""

    def changed(self, source: Source) -> None:
        """What we want of ``source`` has changed, or what it has."""
        self._changed[source.session] = source
        self._due_at = min(self._due_at, self._news_due_at(source))

    def missing_again(self, piece: int) -> None:
        """``piece`` can be asked for again: of whoever has it."""
        for source in self._pool:
            if piece in source.bits:
                self.changed(source)

    def offered(self, source: Source) -> None:
        """The source has offered one of the pieces it was told."""
        source.left = max(0, source.left - 1)
        if source.session in self._changed or (source.truncated and source.left <= WANT_COUNT_MAX // 2):
            self.changed(source)

    def refused(self, source: Source, why: Hashable, now: float) -> None:
        """The source has to wait until there is room. ``why`` is what decided that there was none."""
        self._held[source.session] = Held(source, why, now)

    def gone(self, source: Source) -> None:
        """There is nobody to tell any more."""
        self._changed.pop(source.session, None)
        self._held.pop(source.session, None)
        self._due_at = -INFINITE  # fewer sources may hear of news more often

    def is_held(self, source: Source) -> bool:
        """Whether it waits for room."""
        return source.session in self._held

    def others_could_send(self, piece: int, source: Source) -> bool:
        """Whether a source other than this one, and not slow, has the piece."""
        return any(piece in other.bits for other in self._quick() if other is not source)

    def tell_news(self, now: float) -> list[Send]:
        """Tell those of whom something else is wanted, when that is due."""
        effects: list[Send] = []
        if now < self._due_at:
            return effects
        self._due_at = INFINITE
        for _, source in sorted(self._changed.items()):
            due = self._news_due_at(source)
            if due <= now:
                effects += self._tell(source, now)
            elif due < self._due_at:
                self._due_at = due
        return effects

    @property
    def any_held(self) -> bool:
        """Whether anybody waits for room."""
        return bool(self._held)

    def held(self, why: Hashable, now: float) -> list[Source]:
        """Those held who may be told. ``why`` is what decides now whether there is room: who was refused for the same
        reason would be again, and is told when it has waited for a while."""
        return [
            source
            for source, refused_for, at in self._held.values()
            if (refused_for != why or now >= at + REFUSED_SECONDS) and source.state is SourceState.READY
        ]

    def tell_held(self, sources: Sequence[Source], now: float, room: float, spare_room: float) -> list[Send]:
        """Tell those of ``sources``, the first of them first, that there is room for: for ``room`` more pieces, for
        ``spare_room`` of sources that have nothing else to send."""
        effects: list[Send] = []
        ahead = 0.0  # what those before may take; of this one there has to be room for half of a piece
        for source in sources:
            if ahead + source.claim_part / 2 < (spare_room if source.spare else min(room, spare_room)):
                effects += self._tell(source, now)
            ahead += source.claim_part * source.batch
        return effects

    def next_deadline(self) -> float:
        """When there may be news to tell though nothing happens; infinite when never."""
        return self._due_at

    def _news_due_at(self, source: Source) -> float:
        """When to tell ``source`` of what has changed; infinite while something else has to happen first."""
        if source.state is not SourceState.READY or source.session in self._held:
            return INFINITE
        return source.want_at + self._interval() if source.left else -INFINITE

    def _tell(self, source: Source, now: float) -> list[Send]:
        have = self._only_from(source) if source.slow else source.bits
        pieces = self._picker.order(have, WANT_COUNT_MAX)
        nothing_new = not pieces and not source.left
        self._changed.pop(source.session, None)
        self._held.pop(source.session, None)
        source.left = len(pieces)
        source.truncated = len(pieces) == WANT_COUNT_MAX
        if nothing_new:
            return []
        source.revision += 1
        source.want_at = source.said_at = now
        return [Send(source.session, Want(source.session, source.revision, pieces, batches=True))]

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
