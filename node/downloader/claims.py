"""Which source owes which piece, and for how long it may. PROTOCOL.md, section 6.3.

Pure. A claim begins with an Accept and ends when the piece arrives or is taken to be coming no more. One that takes
much longer than others do is given up: the piece is missing again, and whichever copy arrives first is used.
"""

from __future__ import annotations

from itertools import islice
from statistics import median

from node.downloader.piece_table import PieceState, PieceTable
from node.downloader.source import AT_ONCE_USUAL, CLAIM_PART_MIN, Claim, Send, Source, SourcePool
from node.downloader.wants import Wants
from protocol.limits import UNDER_WAY_BYTES_MAX

CLAIMS_COUNT_MAX = 16
"""Pieces accepted and not yet arrived, of one download. As for all these numbers, those of sources that send more than
`AT_ONCE_USUAL` at a time, because messages take long or pieces do not, count for less..."""
PARTS_BYTES_MAX = UNDER_WAY_BYTES_MAX // 2
"""...but only while what one download waits for is less than that: others of this process want to get something too."""
CLAIMS_BUSY_COUNT = AT_ONCE_USUAL
"""As many as a source sends at a time. Pieces of sources that have other receivers are accepted up to this number:
where links are alike, uplinks and downlinks are then shared by as many, and none waits for another. Those of sources
that have nothing else to send are accepted up to the other bounds."""
CLAIMS_UNNEEDED_COUNT = 2
"""What others could send as well is accepted of a complete source only while there are fewer than that."""
SLOW_FACTOR = 2.0
"""A source that takes longer than so many times what the fastest takes fills less of our link, and its claims count
for less."""
CLAIMS_SHARED_COUNT = 8
"""What sources send at once, and as many again ahead. Sources that have something to give share these, each at least
one: without a share, whichever offers first (or is slow to send) would take them all and keep the others waiting."""
OVERDUE_FACTOR, OVERDUE_SECONDS_MIN = 4.0, 2.0
"""A claim is given up after this many typical piece times, and at least this long..."""
ENDGAME_FACTOR, ENDGAME_SECONDS_MIN = 2.0, 0.25
"""...and sooner when nothing else is left to ask for."""
OVERDUE_SECONDS_FIRST = 10.0
"""...and after this long while no piece has arrived yet."""
STUCK_FACTOR, STUCK_SECONDS = 10.0, 60.0
"""A session that owes a piece this long is closed and opened anew, even when there is no other source."""
SLOW_SECONDS, SLOW_DOUBLINGS_MAX = 10.0, 4
"""A source that lost a claim is asked for nothing that others have for this long, and twice as long each time it
happens again before a piece came in time."""


class Claims:
    """The claims of one download; they are kept in the `Source` that owes them."""

    def __init__(self, table: PieceTable, pool: SourcePool, wants: Wants) -> None:
        self._table = table
        self._pool = pool
        self._wants = wants
        self.count = 0
        """How many pieces are owed, by all sources."""
        self._owing: dict[int, Source] = {}
        """By session, those that owe any of them."""
        self._ended = 0
        """How many claims have ended so far."""
        self._fastest: float | None = None
        """Seconds a piece takes from the fastest source."""
        self._parts = 0
        """How many claims count for less than one."""

    def tell_wants(self, now: float) -> list[Send]:
        """Say what is wanted, to those who may send more first of all."""
        effects = self._wants.tell_news(now)
        if not self._wants.any_held:
            return effects
        if (self.count >= CLAIMS_COUNT_MAX and self._taken() >= CLAIMS_COUNT_MAX) or not self._table.admits_any(now):
            return effects
        held = self._wants.held(self._why(False), now)
        room = self._busy_count() - self._load() if held else 0.0
        if room > 0 or any(source.spare for source in held):
            owing = self._share() / 2
            able = [source for source in held if self._owed(source) <= owing]
            able.sort(key=lambda source: (self._owed(source), source.want_at, source.session))
            spare_room = CLAIMS_COUNT_MAX - self._taken() if self._takes_spare() else room
            effects += self._wants.tell_held(able, now, room, spare_room)
        return effects

    def hold(self, source: Source, now: float, over_budget: bool = False) -> None:
        """An offer of the source was refused for want of room, or because the budget of all downloads has none."""
        self._wants.refused(source, self._why(over_budget), now)

    def take(self, source: Source, offer: int, piece: int, now: float) -> bool:
        """Accept an offer of the missing ``piece``; False when there is no room for it, and the source is held then."""
        full = self._taken() >= CLAIMS_COUNT_MAX or self._owed(source) >= self._share()
        if full or not self._has_room(source, piece):
            self.hold(source, now)
            return False
        if not self._table.admits(piece, now):
            self.hold(source, now, over_budget=True)
            return False
        self._table.claim(piece, now)
        self.count += 1
        source.claims[offer] = Claim(piece, self._table.size(piece), now, source.claim_part)
        self._parts += source.claim_part < 1
        self._owing[source.session] = source
        return True

    def arrived(self, source: Source, offer: int, piece: int, size: int, now: float) -> bool | None:
        """The data of a piece is here. True when it is to be written (the piece counts as arrived then), False when
        it came too late to be of use, None when it is not what was accepted."""
        claim = source.claims.get(offer) or source.late.get(offer)
        if claim is None or (claim.piece, claim.size) != (piece, size):
            return None
        source.measured(now - claim.at)
        self._fastest = min(other.piece_seconds for other in self._pool if other.piece_seconds is not None)
        if source.late.pop(offer, None) is not None:
            if not self._take_over(piece, now):
                return False
        else:
            self._take_off(source, offer)
            source.strikes = 0
        self._table.arrive(piece)
        return True

    def release(self, source: Source, offer: int) -> None:
        """Nothing comes of ``offer``, if it is known at all."""
        source.late.pop(offer, None)
        if offer in source.claims:
            claim = self._take_off(source, offer)
            self._table.release(claim.piece)
            self._wants.missing_again(claim.piece)

    def release_piece(self, source: Source, piece: int) -> None:
        """The source does not send ``piece``."""
        for offer, claim in [*source.claims.items(), *source.late.items()]:
            if claim.piece == piece:
                self.release(source, offer)

    def release_all(self, source: Source) -> None:
        """The source sends nothing more."""
        for offer in [*source.claims, *source.late]:
            self.release(source, offer)

    def give_up_overdue(self, now: float) -> None:
        """Give pieces of slow sources to others that have them."""
        for source in self._pool:
            if source.slow and now >= source.slow_until:
                source.slow = False
                self._wants.changed(source)
        ready = list(self._pool.ready())
        endgame = not len(self._table.picker)
        allowed = self._seconds_allowed(ready, endgame)
        for source in ready:
            overdue = [offer for offer, claim in source.claims.items() if now - claim.at >= allowed]
            for offer in overdue:
                claim = source.claims[offer]
                if not self._wants.others_could_send(claim.piece, source):
                    continue
                self.release(source, offer)
                source.late[offer] = claim
                if not endgame:
                    self._set_aside(source, now)

    def stuck(self, now: float) -> list[Source]:
        """Sources that owe a piece for far too long and that nobody can stand in for."""
        found = []
        for source in self._pool.ready():
            oldest = min((claim.at for claim in source.claims.values()), default=now)
            if now - oldest > max(STUCK_SECONDS, STUCK_FACTOR * (source.piece_seconds or 0)) * source.patience:
                found.append(source)
        return found

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        assert self._parts == sum(claim.part < 1 for source in self._pool for claim in source.claims.values())
        assert sorted(self._owing) == sorted(source.session for source in self._pool if source.claims)
        claimed = [claim.piece for source in self._owing.values() for claim in source.claims.values()]
        assert len(claimed) == len(set(claimed)) == self.count <= CLAIMS_COUNT_MAX / CLAIM_PART_MIN
        assert sum(source.owed for source in self._owing.values()) < CLAIMS_COUNT_MAX + 1
        if self.count > CLAIMS_COUNT_MAX:
            assert (self.count - 1) * self._table.piece_length < PARTS_BYTES_MAX
        assert sorted(claimed) == self._table.in_state(PieceState.CLAIMED)

    def _why(self, over_budget: bool) -> tuple[int, int, int, bool]:
        """What room depends on, as far as it changes often: while it stays as it is, who was refused would be again."""
        return self._ended, len(self._pool), self._busy_count(), over_budget

    def _has_room(self, source: Source, piece: int) -> bool:
        """Whether to accept ``piece``: all that sources have to spare, little of those that have others to send to.
        There is room for one more of the pieces that nobody else has: the sooner they are passed on the better."""
        rare = self._table.picker.availability(piece) <= 1
        if not rare and not self._is_needed(source):
            return self._taken() < CLAIMS_UNNEEDED_COUNT
        if source.spare and self._takes_spare():
            return True
        return self._load() <= self._busy_count() + (rare - 0.5) * source.claim_part

    def _takes_spare(self) -> bool:
        """Whether to accept whatever sources have to spare."""
        return self._busy_count() == CLAIMS_BUSY_COUNT

    def _busy_count(self) -> int:
        """How many pieces to accept of sources that have other receivers: while little has spread, one of each complete
        source and as many as partial ones could choose from. What is fresh is with few, who would send it to many at a
        time, and so late to all, while others that could have passed it on have nothing to send."""
        picker = self._table.picker
        if picker.spread_count + picker.complete_sources >= CLAIMS_BUSY_COUNT or len(picker) < CLAIMS_BUSY_COUNT:
            return CLAIMS_BUSY_COUNT
        if not picker.spread_count and self._table.have.count_set:
            return CLAIMS_BUSY_COUNT  # partial sources are of no use, and may never be
        if all(source.complete for source in self._pool.ready()):
            return CLAIMS_BUSY_COUNT
        return max(1, picker.complete_sources) + picker.spread_count

    def _is_needed(self, source: Source) -> bool:
        """Whether to make use of what the source has to spare: of a complete one only where there are too few others,
        since it will be needed by those who come later, and they do better to pass on what they have."""
        if not source.complete:
            return True
        others = (other for other in self._pool.ready() if not other.complete and (other.left or other.claims))
        return sum(1 for _ in islice(others, CLAIMS_BUSY_COUNT)) < CLAIMS_BUSY_COUNT

    def _taken(self) -> float:
        """How many claims those there are amount to."""
        return sum(map(self._owed, self._owing.values())) if self._parts else self.count

    def _owed(self, source: Source) -> float:
        """How many claims what the source owes amounts to."""
        in_parts = self._parts and self.count * self._table.piece_length < PARTS_BYTES_MAX
        return source.owed if in_parts else len(source.claims)

    def _load(self) -> float:
        """How many claims of fast sources those there are amount to."""
        fast = None if self._fastest is None else SLOW_FACTOR * self._fastest
        load = 0.0
        for source in self._owing.values():
            seconds = source.piece_seconds
            owed = self._owed(source)
            if fast is not None and seconds is not None and seconds > fast:
                owed = min(owed, len(source.claims) * fast / seconds)
            load += owed
        return load

    def _share(self) -> int:
        """How many claims each source may have."""
        useful = 0
        for source in self._pool.ready():
            if source.claims or source.left or self._wants.is_held(source):
                useful += 1
                if 2 * useful > CLAIMS_SHARED_COUNT:
                    return 1
        return CLAIMS_SHARED_COUNT // max(1, useful)

    def _set_aside(self, source: Source, now: float) -> None:
        if not source.slow:
            source.slow = True
            self._wants.changed(source)
            source.slow_until = now + SLOW_SECONDS * 2 ** min(source.strikes, SLOW_DOUBLINGS_MAX)
            source.strikes += 1

    def _take_over(self, piece: int, now: float) -> bool:
        """A claim that was given up arrived after all. True when its data is still of use: then who else was to
        send the piece is late now."""
        state = self._table[piece]
        if state is PieceState.MISSING:
            self._table.claim(piece, now)
            return True
        if state is not PieceState.CLAIMED:
            return False
        for other in self._pool:
            for offer, claim in list(other.claims.items()):
                if claim.piece == piece:
                    other.late[offer] = self._take_off(other, offer)
        return True

    def _take_off(self, source: Source, offer: int) -> Claim:
        """It is not counted any more."""
        claim = source.claims.pop(offer)
        self.count -= 1
        self._parts -= claim.part < 1
        self._ended += 1
        if not source.claims:
            del self._owing[source.session]
        return claim

    def _seconds_allowed(self, ready: list[Source], endgame: bool) -> float:
        times = [source.piece_seconds for source in ready if source.piece_seconds is not None]
        if not times:
            return OVERDUE_SECONDS_FIRST
        if endgame:
            return max(ENDGAME_SECONDS_MIN, ENDGAME_FACTOR * median(times))
        return max(OVERDUE_SECONDS_MIN, OVERDUE_FACTOR * median(times))
