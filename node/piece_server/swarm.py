"""The records that `uploads` keeps: content and its stock, and the sessions of those who fetch it. Pure.

Owns which pieces of a content nobody relays yet, and who may be assigned one. Leaves what is sent to `uploads`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from statistics import median_low
from typing import NamedTuple

from node.pace import Recent, RoundTrips
from protocol.bitfield import Bitfield
from protocol.grid import Mate
from protocol.limits import SESSIONS_COUNT_MAX
from protocol.messages import Status

SessionKey = tuple[bytes, int]
"""The receiver's route (its identity at our ROUTER) and its session number."""

AHEAD_COUNT = 2
"""Pieces to relay that a quick follower still has to get: with fewer the uplink waits for the next one, with more the
last ones come late..."""
QUICK_SECONDS = 0.1
"""...but as many as followers got within so long, if that is more: where all are quick it is not the links that take
the time, but processes that wait for their turn."""
QUICK_PART = 4
"""The quick follower is the slowest of the quickest fourth. A slow uplink makes all of them wait; slow followers say
nothing about the uplink, even where most are slow."""
PACE_COUNT, PACE_ROUNDS_COUNT = 64, 2
"""Assignments that say how fast pieces are assigned: receivers ask in the same moment, all of them. So these are those
of a few rounds..."""
PACE_COUNT_MAX = max(PACE_COUNT, PACE_ROUNDS_COUNT * SESSIONS_COUNT_MAX)
"""...however many receivers there are."""
GOLDEN_PART = (5**0.5 - 1) / 2
"""Of a circle: going on by this part again and again comes nowhere twice."""
SPREAD_SECONDS = 5.0
"""A piece that was assigned so long ago should have spread."""
CAME_BACK_COUNT_MAX = 1
"""A piece that came back to stock more often is for whoever asks to relay: whoever asked for it by number, and kept it,
could keep it from all others. Not the first time: a source that was slow has come back to it then."""
UNSPREAD_COUNT_MAX = 8
"""A receiver with more pieces than this that should have spread and have not is assigned no more, when another one has
got as many pieces from other peers meanwhile."""


@dataclass(slots=True, eq=False)
class Ration:
    """Of some kind of pieces, ``least`` may be on their way at a time or, where receivers are far away, as many as
    their links take: what has arrived in a few ``round_trips``. Those that count are ``taken``."""

    least: int
    round_trips: RoundTrips
    taken: int = 0
    waiting: dict[Session, None] = field(default_factory=dict)
    """Sessions that are sent one when it is their turn."""
    arrived: Recent = field(default_factory=Recent)

    def is_used_up(self, now: float, least: int | None = None) -> bool:
        """``least``: instead of that of the ration."""
        arrived = self.arrived.since(now - self.round_trips.seconds)
        return self.taken >= max(self.least if least is None else least, arrived)

    def next(self, now: float) -> Session | None:
        """Who may be sent one now, and waits no more."""
        if not self.waiting or self.is_used_up(now):
            return None
        session = next(iter(self.waiting))
        del self.waiting[session]
        return session


class OnWay(NamedTuple):
    """A ``piece`` of ``size`` bytes that was sent ``at`` a moment, with a ``receipt``; of a ``ration``, unless it was
    pushed."""

    piece: int
    receipt: int
    size: int
    at: float
    ration: Ration | None


class Lately:
    """How many there were not long ago: what is ``seconds`` old counts half."""

    __slots__ = ("_at", "_count", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count, self._at = 0.0, 0.0

    def count(self, now: float, more: int = 0) -> float:
        """With ``more`` at this moment."""
        self._count = self._count * 0.5 ** ((now - self._at) / self._seconds) + more
        self._at = now
        return self._count


@dataclass(slots=True, eq=False)
class Session:
    """One receiver of one content. ``skip``: pieces it is not pushed, since it has them, gets them elsewhere, or was
    sent them."""

    route: bytes
    address: str
    number: int
    swarm: Swarm
    heard_at: float
    served_at: float
    skip: Bitfield
    sent: Bitfield
    takes: bool = False
    """It has acknowledged a piece."""
    begun: bool = False
    """It has said `Follow`."""
    follows: bool = False
    mate: Mate | None = None
    """As it said in that."""
    credit: int = 0
    turn_bytes: int = 0
    """What it was sent in this turn."""
    position: int = 0
    """How much of what the swarm relays it was pushed..."""
    promised: int = 0
    """...and was told of."""
    would_relay: int = 0
    """How many pieces it would relay since its `Follow`, in all..."""
    relays: int = 0
    """...and how many it was sent to relay."""
    wanted: deque[int] = field(default_factory=deque)
    """Pieces it asked for."""
    on_way: deque[OnWay] = field(default_factory=deque)
    """Pieces it has not acknowledged."""
    late: bool = False
    """What is on its way takes so long that it does not count."""
    assigned: dict[int, float] = field(default_factory=dict)
    """Pieces it relays that no other receiver is known to have, and since when."""
    assigned_at: float = 0.0
    interval: float | None = None
    """When a piece was last assigned to it, and seconds from the one before."""
    had_elsewhere: int = 0
    """How many pieces it has said it has, besides those it was sent here..."""
    gained: Lately = field(default_factory=lambda: Lately(SPREAD_SECONDS))
    """...and how these grow."""
    spread: Lately = field(default_factory=lambda: Lately(SPREAD_SECONDS))
    """Pieces it was assigned that others have got."""
    hoards: bool = False
    stocked: bool = False
    """Whether it was told that there is stock for it..."""
    told_alone: bool = False
    """...and that it is the only receiver."""
    told: tuple[int, bool] | None = None
    """Revision of the swarm in the last `Status`, and whether that said that this source is idle."""

    @property
    def key(self) -> SessionKey:
        return self.route, self.number

    @property
    def queue(self) -> list[int]:
        """The pieces that it is pushed, in order."""
        return self.swarm.for_row if self.mate == "row" else self.swarm.relayed

    @property
    def asked(self) -> int:
        """Pieces that it would relay besides."""
        return max(0, self.would_relay - self.relays)


@dataclass(slots=True)
class Swarm:
    """Content this process serves. ``relayed``: the pieces it pushes to all followers, in order."""

    digest: str
    have: Bitfield
    length: int
    piece_length: int
    stock: deque[int] = field(default_factory=deque)
    """The pieces of `in_stock` and some that were, the next one last."""
    in_stock: Bitfield = field(init=False)
    ever_in_stock: Bitfield = field(init=False)
    came_back: dict[int, int] = field(default_factory=dict)
    """How often pieces were in stock again after they had been assigned."""
    restocked: bool = False
    """Whether some has come back since they were told."""
    had_stock: bool = False
    """Whether there was any when receivers were last told."""
    relayed: list[int] = field(default_factory=list)
    relays: dict[int, bool] = field(default_factory=dict)
    """Whether it was not assigned one of these, but took it from its own stock."""
    for_row: list[int] = field(default_factory=list)
    """These and those that it hands on to its row..."""
    handed_on: dict[int, None] = field(default_factory=dict)
    """...alone."""
    pushes: Recent = field(default_factory=Recent)
    """When followers were sent the last of them."""
    sessions: dict[SessionKey, Session] = field(default_factory=dict)
    orphans: dict[int, float] = field(default_factory=dict)
    """Pieces that were assigned to receivers which have gone, not known to have spread, and since when."""
    revision: int = 0
    """Of what its sessions are told in a `Status`."""
    company_told_at: float = float("-inf")
    """When one was last told that it is not alone any more."""
    assigned_at: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_COUNT_MAX))
    """When the last pieces were assigned."""
    relayed_before: int = 0
    """How many of these this peer's downloader has not been assigned since it last said what there is to serve."""
    room: int = -1
    """As last said in a `Room`."""

    def __post_init__(self) -> None:
        self.in_stock, self.ever_in_stock = Bitfield(self.have.size), Bitfield(self.have.size)

    def relay(self, pieces: Iterable[int], own: bool = False) -> int:
        """This peer relays ``pieces`` too, of its ``own`` stock or assigned to it; how many of them it did not yet."""
        fresh = [piece for piece in pieces if piece not in self.relays]
        self.relays.update(dict.fromkeys(fresh, own))
        self.relayed += fresh
        self.for_row += [piece for piece in fresh if piece not in self.handed_on]
        return len(fresh)

    def hand_on(self, pieces: Iterable[int]) -> None:
        """This peer pushes ``pieces`` along its row."""
        fresh = [piece for piece in pieces if piece not in self.handed_on and piece not in self.relays]
        self.handed_on.update(dict.fromkeys(fresh))
        self.for_row += fresh

    def may_have_assigned(self, now: float) -> int:
        """How many pieces this peer may have been assigned in all, since its downloader last said what there is: few
        are to be left for a quick follower."""
        left = sorted(len(one.queue) - one.position for one in self.sessions.values() if one.follows)
        if not left:
            return max(0, AHEAD_COUNT - self.relayed_before)
        ahead = max(AHEAD_COUNT, self.pushes.since(now - QUICK_SECONDS) // len(left))
        return max(0, len(self.relayed) - self.relayed_before + ahead - left[(len(left) - 1) // QUICK_PART])

    def lose(self, piece: int) -> None:
        """This peer does not have ``piece`` any more."""
        self.have.clear(piece)
        self.in_stock.clear(piece)
        self.revision += 1

    def piece_size(self, piece: int) -> int:
        return min(self.piece_length, self.length - piece * self.piece_length)

    def taken(self) -> list[int]:
        """Pieces that were in stock, and that others relay by now."""
        return [piece for piece in self.ever_in_stock.without(self.in_stock).indices() if piece not in self.relays]

    def put_in_stock(self, pieces: Iterable[int], rng: Random) -> None:
        fresh = deque(piece for piece in pieces if piece in self.have and piece not in self.in_stock)
        fresh.reverse()
        fresh.rotate(rng.randrange(len(fresh) or 1))
        self.stock = fresh + deque(piece for piece in self.stock if piece in self.in_stock)
        for piece in fresh:
            self.in_stock.set(piece)
            if piece in self.ever_in_stock:
                self.came_back[piece] = self.came_back.get(piece, 0) + 1
            self.ever_in_stock.set(piece)

    def take_from_stock(self, session: Session) -> int | None:
        """A piece that ``session`` lacks.

        One after the other from a random place on, so that several sources do not assign the same ones: who comes to
        where another one has been goes on far from there."""
        stock, in_stock, skip = self.stock, self.in_stock, session.skip
        passed: list[int] = []
        found = None
        while stock:
            piece = stock.pop()
            if piece not in in_stock:
                stock.rotate(int(len(stock) * GOLDEN_PART))
                continue
            if piece not in skip:
                found = piece
                in_stock.clear(piece)
                break
            passed.append(piece)
            if len(passed) == 8 and not in_stock.without(skip).count_set:
                break
        stock.extend(reversed(passed))
        return found

    def is_assigned_by_number(self, piece: int) -> bool:
        """Whether who asks for ``piece`` is to relay it."""
        return piece in self.in_stock and self.came_back.get(piece, 0) <= CAME_BACK_COUNT_MAX

    def note_assigned(self, session: Session, now: float) -> None:
        if session.assigned_at:
            session.interval = now - session.assigned_at
        session.assigned_at = now
        self.assigned_at.append(now)

    def in_time(self, session: Session) -> bool:
        """Whether the session will have relayed one more piece when all are: a slow one would be waited for."""
        if session.interval is None:
            return True
        last = self.assigned_at
        count = min(len(last), max(PACE_COUNT, PACE_ROUNDS_COUNT * len(self.sessions)))
        pace = (last[-1] - last[-count]) / (count - 1)
        usual = median_low(one.interval for one in self.sessions.values() if one.interval is not None)
        return (AHEAD_COUNT + 1) * (session.interval - usual) <= self.in_stock.count_set * pace

    def has_stock_for(self, session: Session) -> bool:
        return not session.hoards and self.in_stock.without(session.skip).count_set > 0

    # --- whether it spreads ------------------------------------------------------------------------------

    def note_spread(self, bits: Bitfield) -> None:
        """A receiver has, or is to get from others, the pieces ``bits``: somebody relays them."""
        if self.in_stock.count_set and bits.count_set:
            self.in_stock = self.in_stock.without(bits)

    def has_by_now(self, session: Session, bits: Bitfield, now: float) -> None:
        """The receiver of ``session`` has the pieces ``bits``."""
        if not session.hoards:
            self.note_spread(bits)
        elsewhere = bits.without(session.sent).count_set
        session.gained.count(now, max(0, elsewhere - session.had_elsewhere))
        session.had_elsewhere = max(elsewhere, session.had_elsewhere)
        for other in self.sessions.values():
            if other is not session and other.assigned:
                before = len(other.assigned)
                other.assigned = {piece: at for piece, at in other.assigned.items() if piece not in bits}
                other.spread.count(now, before - len(other.assigned))
        if self.orphans:
            self.orphans = {piece: at for piece, at in self.orphans.items() if piece not in bits}

    def not_spread(self, now: float) -> tuple[list[int], list[Session]]:
        """Pieces that were assigned, do not spread, and are nobody's any more; and receivers that are found to keep
        theirs."""
        back, hoarders = _old(self.orphans, now), []
        for piece in back:
            del self.orphans[piece]
        for session in self.sessions.values():
            old = _old(session.assigned, now)
            if len(old) > UNSPREAD_COUNT_MAX and self._could_have_spread(session, len(old), now):
                session.hoards = True
                hoarders.append(session)
                back += old
                for piece in old:
                    del session.assigned[piece]
        return back, hoarders

    def _could_have_spread(self, session: Session, count: int, now: float) -> bool:
        """Whether another receiver got ``count`` pieces from others than ``session`` lately: else the receivers may be
        slow."""
        of_session = session.spread.count(now)
        others = (one for one in self.sessions.values() if one is not session)
        return any(one.gained.count(now) - of_session >= count for one in others)

    # --- what is said ------------------------------------------------------------------------------------

    def tell(self, session: Session, idle: bool) -> Status:
        """What ``session`` is told now, and is known to have been told; ``idle``: there is nothing to send."""
        full = self.have.full
        session.told = self.revision, idle
        session.told_alone = len(self.sessions) == 1
        session.stocked = self.has_stock_for(session)
        if not session.stocked:
            session.would_relay = session.relays
        return Status(
            session.number,
            "complete" if full else "partial",
            b"" if full else self.have.to_bytes(),
            stock=session.stocked,
            alone=session.told_alone,
            idle=idle,
        )


def _old(pieces: dict[int, float], now: float) -> list[int]:
    """Those that should have spread by now."""
    return [piece for piece, since in pieces.items() if now - since > SPREAD_SECONDS]
