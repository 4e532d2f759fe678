"""Sessions with the sources of a download: whom to dial, and with whom to part. PROTOCOL.md, section 6.

Pure. Owns when that is decided. Leaves who is known and trusted to `source`, who takes too long to `patience`, and what
is said in a session to `download`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from node.downloader.patience import Patience
from node.downloader.source import (
    NO_ANSWER,
    Banned,
    Connect,
    Disconnect,
    Farewell,
    Send,
    Source,
    SourcePool,
    Trouble,
    address_of,
)
from protocol.bitfield import Bitfield
from protocol.messages import Bye, SeederEntry, Test

NEED_SOURCES_SECONDS = 1.0
MAKE_ROOM_COUNT = 8
"""So many sources at a time give way when all places are taken: useless ones to others that are known, or any to
candidates that were passed over while every source owed something."""
FALSE_PIECES_COUNT_MAX = 3
"""From one address, after which it is banned for good: what a liar can cost a download."""
PARDON_SECONDS = 30.0
"""How long a source is banned for its first false piece; for the second twice as long."""
Effects = list[Connect | Disconnect | Send | Banned]


class Sessions:
    """With sources of ``pool``, for content ``digest``. ``end`` is called with a source whose session ends: nothing
    more comes of what was said in it."""

    def __init__(self, digest: str, pool: SourcePool, patience: Patience, end: Callable[[Source], None]) -> None:
        self._digest, self._pool, self._patience, self._end = digest, pool, patience, end
        self.closed = False
        """Nobody is dialled."""
        self._needed_at = float("-inf")
        self._false: dict[str, int] = {}
        """False pieces by the address that they came from."""
        self._pardons: dict[str, tuple[float, SeederEntry]] = {}
        """By address, who is banned for a false piece from there, and until when."""

    def found(self, entries: Sequence[SeederEntry], now: float, listed: int | None) -> Effects:
        newcomers = self._pool.learn(entries, listed)
        return [*self.connect(now), *self._prefer(newcomers, len(newcomers), now)]

    def connect(self, now: float) -> Effects:
        for address in [address for address, (until, _) in self._pardons.items() if now >= until]:
            self._pool.pardon(self._pardons.pop(address)[1])
        opened = () if self.closed else self._pool.connect(now)
        return [source.dial() for source in opened]

    def test(self, sources: Iterable[Source], now: float) -> Effects:
        effects: Effects = []
        for source in sources:
            source.said_at = source.polled_at = now
            source.tests += 1
            test = Test(source.session, self._digest, source.entry.peer, source.answered)
            effects.append(Send(source.session, test))
        return effects

    def drop(self, source: Source, now: float, why: Trouble | Farewell) -> Effects:
        self._end(source)
        self._pool.drop(source, now, why)
        return [Disconnect(source.session)]

    def part_with(self, source: Source, now: float, why: Farewell, bad: Sequence[int] = ()) -> Effects:
        """Drop it with a `Bye`; the pieces ``bad`` were damaged."""
        return [Send(source.session, Bye(source.session, [*bad])), *self.drop(source, now, why)]

    def replace(self, source: Source, now: float, why: Trouble) -> Effects:
        """Drop it; somebody else may take its place."""
        return [*self.drop(source, now, why), *self.connect(now)]

    def ban(self, source: Source, reason: str, now: float) -> Effects:
        self._ban(source.entry, reason)
        self._false[address_of(source.entry)] = FALSE_PIECES_COUNT_MAX
        return [*self.drop(source, now, Farewell.FRIENDLY), Banned(source.entry.peer, source.entry.name, reason)]

    def sent_false_piece(self, entry: SeederEntry, piece: int, now: float) -> Effects:
        """A source has sent bytes that are not ``piece``. It is told, and looks at its disk. An honest one does not
        send that piece again, so it is used again after a while, up to `FALSE_PIECES_COUNT_MAX`."""
        reason = f"sent a damaged piece {piece}; run 'verify' there to check its copy"
        source, address = self._pool.of_peer(entry.peer), address_of(entry)
        count = self._false[address] = self._false.get(address, 0) + 1
        self._ban(entry, reason)
        if count < FALSE_PIECES_COUNT_MAX:
            self._pardons[address] = now + count * PARDON_SECONDS, entry
        told = [] if source is None else self.part_with(source, now, Farewell.FRIENDLY, [piece])
        return [*told, Banned(entry.peer, entry.name, reason)]

    def _ban(self, entry: SeederEntry, reason: str) -> None:
        self._pool.ban(entry, reason)
        self._pardons.pop(address_of(entry), None)

    # --- now and then ------------------------------------------------------------------------------------

    def part_with_silent(self, now: float) -> Effects:
        """Drop who says nothing, who owes a piece for far too long, and who was forgotten and owes nothing any more."""
        effects: Effects = []
        for source in [*self._patience.silent(now), *self._patience.stuck(now)]:
            if self._pool.get(source.session) is source:
                self._pool.be_patient(source)
                effects += self.drop(source, now, NO_ANSWER)
        for source in self._pool.forgotten():
            if not source.owes:
                effects += self.drop(source, now, Farewell.FOREVER)
        return effects

    def needs_others(self, wanted: Bitfield, now: float) -> bool:
        """Whether none can send any of the pieces ``wanted``; now and then only."""
        if now - self._needed_at < NEED_SOURCES_SECONDS or not wanted.count_set:
            return False
        if any(source.is_to_send or wanted.both(source.bits).count_set for source in self._pool.ready()):
            return False
        self._needed_at = now
        return True

    def make_room(self, are_useless: bool, now: float) -> Effects:
        """Where others wait for a place, sources give way that ``are_useless``, and those that have sent nothing for
        long, whatever they have promised: names cost nothing, and those of one liar may take all places."""
        effects: Effects = []
        if are_useless and self._pool.leaves_out(now):
            ready = list(self._pool.ready())
            for source in ready[: min(MAKE_ROOM_COUNT, len(ready) // 2)]:  # the others say what nobody has
                effects += self.drop(source, now, Farewell.USELESS)
        mute = self._patience.mute(now)
        if mute and self._pool.leaves_out(now):
            for source in mute[:MAKE_ROOM_COUNT]:
                effects += self.part_with(source, now, Farewell.USELESS)
        return [*effects, *self.connect(now), *self._prefer(None, MAKE_ROOM_COUNT, now)]

    def _prefer(self, newcomers: Sequence[str] | None, count: int, now: float) -> Effects:
        """Where there is no room for all, up to ``count`` of the ``newcomers``, or of all, take the places of whom they
        outrank."""
        effects: Effects = []
        for _ in range(0 if self.closed else count):
            found = self._pool.outranked(now, newcomers)
            if found is None:
                break
            source, peer = found
            effects += self.part_with(source, now, Farewell.FRIENDLY)
            effects.append(self._pool.open(peer, now).dial())
        return effects
