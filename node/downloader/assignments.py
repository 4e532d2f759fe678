"""Pieces that sources assign to this peer, which relays them to others. PROTOCOL.md, section 6.

Pure. Owns how many those are, of whom more are asked for, and what such sources are told.
"""

from __future__ import annotations

from collections import deque

from node.downloader.credit import CREDIT_COUNT, Credit
from node.downloader.source import Send, Source, SourcePool
from protocol.bitfield import Bitfield
from protocol.limits import PIECES_TOLD_COUNT_MAX
from protocol.messages import Have, Piece, Relay

STARVED_SECONDS = 2.0
"""A receiver that has been pushed nothing for so long depends on what it is assigned."""
ROOM_COUNT = 1
"""Pieces to ask to be assigned until this peer's piece server has said how many."""
HAVE_SECONDS = 2.0
"""How often sources that assign pieces are told what has come."""


class Assignments:
    """Those of one download."""

    def __init__(self, pool: SourcePool, credit: Credit) -> None:
        self._pool, self._credit = pool, credit
        self.relays = 0
        """Pieces assigned to this peer since `restart`."""
        self.room = ROOM_COUNT
        """How many of them its piece server has room for."""
        self._stocked: dict[Source, None] = {}
        """Sources that would assign pieces, and are asked to."""
        self._lately: deque[bool] = deque(maxlen=CREDIT_COUNT)
        """Whether the last pieces that came were assigned to this peer, or pushed by others..."""
        self._pushed_at = 0.0
        """...and when one last was pushed."""
        self._have_at = float("-inf")

    def restart(self, relays: int) -> None:
        """The piece server counts anew; ``relays`` pieces that were assigned are being written."""
        self.relays = relays
        self.room = relays + ROOM_COUNT

    def stock(self, source: Source) -> None:
        """It has said whether it has a stock."""
        if source.stock:
            source.assigns = True
            self._stocked[source] = None
        else:
            self.give_up(source)

    def give_up(self, source: Source) -> None:
        """Nothing is assigned by ``source`` until it says again that it has a stock."""
        source.asked = 0
        self._stocked.pop(source, None)

    def arrived(self, source: Source, message: Piece, is_missing: bool, now: float) -> None:
        """A piece has come, which was missing or not."""
        if message.relay:
            source.relays += 1
            source.asked = max(0, source.asked - 1)
        if source in self._stocked:
            for other in self._stocked:
                if other is not source:  # it will be told that somebody relays these
                    other.assigned_elsewhere.update(dict.fromkeys([message.piece, *message.promised]))
        if is_missing:
            self.relays += message.relay
            self._lately.append(message.relay)
            if not message.relay:
                self._pushed_at = now

    def ask(self, open_count: int, now: float) -> list[Send]:
        """Have more of ``open_count`` pieces assigned, as many as this peer has room for and as will have been pushed
        on when they come from far away."""
        able = [source for source in self._stocked if not source.alone]
        if not able:
            return []
        room = self.room - self.relays + sum(self._credit.usually_on_way(source) for source in able)
        asked = sum(source.asked for source in self._stocked)
        if not asked and not any(source.is_to_send for source in self._pool) and self._starves(now):
            room = max(1, room)  # it need not wait for followers that are slower than itself
        more: dict[Source, None] = {}
        for _ in range(min(room, open_count) - asked):
            source = min(able, key=lambda one: one.asked)
            if not source.asked:
                source.owed_from(now)
            source.asked += 1
            more[source] = None
        effects: list[Send] = []
        for source in more:
            source.said_at = now
            known = [*source.assigned_elsewhere][-PIECES_TOLD_COUNT_MAX:]
            source.assigned_elsewhere.clear()
            effects.append(Send(source.session, Relay(source.session, source.relays + source.asked, known)))
        return effects

    def _starves(self, now: float) -> bool:
        """Whether others have pushed less lately than was assigned to this peer, or nothing."""
        return 2 * sum(self._lately) >= len(self._lately) or now >= self._pushed_at + STARVED_SECONDS

    def say_have(self, have: Bitfield, now: float) -> list[Send]:
        """Tell sources that assign pieces now and then what has come."""
        if now < self._have_at:
            return []
        self._have_at = now + HAVE_SECONDS
        bits = have.to_bytes()
        assigning = [source for source in self._pool.ready() if source.assigns and not source.alone]
        return [Send(source.session, Have(source.session, bits)) for source in assigning]
