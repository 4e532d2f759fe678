"""What a piece server sends to whom: sessions, what is assigned, pushed and asked for. PROTOCOL.md, section 6.

Pure: `Uploads.handle` takes a message and the time and returns effects; the shell sends, reads the disk and calls
back. Owns the sessions of all swarms and the uplink they share. Leaves manifests and the bytes of pieces to the
shell.

Content has a *stock*: pieces that nobody relays yet. A piece of it goes to a receiver that would relay one more, as in
initial seeding (BEP 16), and that receiver's peer pushes it to all its followers: what this peer *relays* it sends to
each follower in the order it came. What a receiver asks for by number it gets first. Sessions take turns, one piece
each. Nothing but the credit of the receivers says how many pieces are on their way: each connection then gets an equal
part of the uplink, and of the downlink at its other end, and no receiver that is slow or has stalled takes anything
from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from statistics import median_low

from node.local_messages import Room
from node.piece_server.swarm import OnWay, Ration, Session, SessionKey, Swarm
from node.rate_limit import TokenBucket
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
from protocol.limits import (
    PIECES_TOLD_COUNT_MAX,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSION_SILENT_SECONDS,
    SESSIONS_COUNT_MAX,
    SOURCES_PER_DOWNLOAD_COUNT_MAX,
    STALLED_BYTES_MAX,
)
from protocol.messages import (
    Bye,
    Cancel,
    Follow,
    Get,
    Have,
    NoSession,
    NotHeld,
    Piece,
    Received,
    Relay,
    Status,
    Test,
)

UploadRequest = Test | Follow | Received | Relay | Get | Cancel | Have | Bye
ON_WAY_BYTES_MAX = 4 * STALLED_BYTES_MAX
"""Of pieces on their way. Many of them are the same few, and in memory once."""
ASSIGNED_COUNT_MAX = SOURCES_PER_DOWNLOAD_COUNT_MAX
"""Assigned pieces on their way at a time. A receiver's downlink is shared by as many sources, so this many fill the
uplink; with more the first ones of a large swarm would all come late."""
ANSWERED_COUNT_MIN = 16
"""Of pieces that were asked for by number at least so many are on their way at a time, and as many as were acknowledged
from one `CHECK_SECONDS` to the next. Those that wait can still be cancelled: near the end all receivers ask whoever is
idle, and get most of it elsewhere."""
LATE_FACTOR, LATE_SECONDS_MIN, LATE_SECONDS_FIRST = 3.0, 0.1, 30.0
"""A receiver to which a piece takes so many times as long as is usual, and at least this long, has stalled, or nearly:
what is on its way there says nothing of the uplink. The last is for when it is not known yet what is usual."""
CHECK_SECONDS = 0.25
"""How often sessions are looked over, and a source that is idle tells what it has got since."""
IDLE_SECONDS = 0.1
"""A source that has had nothing to send for so long says so."""
SPREAD_SECONDS, UNSPREAD_COUNT_MAX = 5.0, 8
"""Who was assigned more pieces than this, so long ago, that no other receiver has, gets no more."""
LEFT_SECONDS = 1.0
"""How often a connection is tried whose session ended with something on its way: the bytes count until it is gone."""
EVICTION_SECONDS = 5.0
"""A session that has got nothing for so long gives way when there are too many."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send ``message`` to ``route``."""

    route: bytes
    message: Status | NotHeld | NoSession


@dataclass(frozen=True, slots=True)
class SendPiece:
    """Read the piece of ``digest`` that ``header`` names and send both to ``route``, after those before it and if
    ``session`` is still open by then; if it cannot be read call `Uploads.piece_failed`."""

    route: bytes
    digest: str
    header: Piece
    session: Session


@dataclass(frozen=True, slots=True)
class Recheck:
    """A receiver says that ``piece``, which it was sent, does not have its digest: read it again and see."""

    digest: str
    piece: int


Effect = Reply | SendPiece | Recheck | Room


class Uploads:
    """All sessions of one piece server. ``rate`` in bytes/s, 0 unlimited. ``rng`` draws the order in which pieces are
    assigned."""

    def __init__(self, rate: float, now: float, rng: Random) -> None:
        self.serving = True
        self._bucket = TokenBucket(rate, now)
        self._rng = rng
        self._swarms: dict[str, Swarm] = {}
        self._sessions: dict[SessionKey, Session] = {}
        self._ready: dict[Session, None] = {}
        """Sessions with credit that there may be something to send to, in turn."""
        self._changed: dict[str, None] = {}
        """Swarms whose stock or room may not be as was told."""
        self._assignments = Ration(ASSIGNED_COUNT_MAX)
        self._answers = Ration(ANSWERED_COUNT_MIN)
        self._acknowledged = 0
        """Pieces since `_check`."""
        self._on_way = 0
        """Pieces on their way that are not late..."""
        self._on_way_bytes = 0
        """...and their bytes."""
        self._late_bytes = 0
        """Bytes that are on their way to sessions that are late..."""
        self._left_bytes = 0
        """...and that were to sessions that ended, over connections that are still there."""
        self._left: dict[bytes, tuple[int, int, float]] = {}
        """By route, the last session that ended before all was acknowledged, the bytes that were on their way to such,
        and when to see whether the connection is still there."""
        self._usual: float | None = None
        """Seconds a piece is on its way: moving average."""
        self._idle_since: float | None = None
        self._check_at = now

    # --- what is served ----------------------------------------------------------------------------------

    def serve(
        self,
        digest: str,
        have: Bitfield,
        length: int,
        piece_length: int,
        spread: Bitfield | None = None,
        relayed: Iterable[int] = (),
    ) -> bool:
        """Serve the pieces ``have`` of content ``digest``; known content gets the new bitfield, its sessions stay.
        ``spread``: those that somebody relays; ``relayed``: those that this peer was assigned. Whether it was known."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            swarm = self._swarms[digest] = Swarm(
                digest, have, length, piece_length, [], Bitfield(have.size), Bitfield(have.size)
            )
            fresh = have if spread is None else have.without(spread)
            swarm.put_in_stock(fresh.indices(), self._rng)
            swarm.had_stock = swarm.in_stock.count_set > 0
            self._changed[digest] = None
            swarm.relay(relayed)
            return False
        if swarm.have is have:
            return True
        before, swarm.have = swarm.have, have
        for piece in before.without(have).indices():
            self._note_lost(swarm, piece)
        fresh = have.without(before)
        self._changed[digest] = None
        self._restock(swarm, (fresh if spread is None else fresh.without(spread)).indices())
        swarm.relayed_before, swarm.room = len(swarm.relayed), -1
        swarm.revision += 1
        return True

    def held(self, digest: str, pieces: list[int], relayed: list[int], now: float) -> list[Effect]:
        """``pieces`` of a partial download are verified and on disk now, of which ``relayed`` were assigned to this
        peer."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            return []
        for piece in pieces:
            swarm.have.set(piece)
        swarm.revision += 1
        if relayed:
            self._changed[digest] = None
            swarm.relayed_before -= len(relayed) - swarm.relay(relayed)  # the downloader counts each
            swarm.recent.extend([now] * len(relayed))
            for session in swarm.sessions.values():
                if session.follows and session.credit:
                    self._ready[session] = None
        return self.tick(now)

    def withdraw(self, digest: str) -> list[Effect]:
        """Stop serving ``digest``; its sessions are told."""
        swarm = self._swarms.pop(digest, None)
        return [] if swarm is None else self._end_all(swarm.sessions.values(), "no")

    def set_serving(self, serving: bool) -> list[Effect]:
        """Pause or resume everything: while paused every `Test` is answered with ``later``."""
        self.serving = serving
        return [] if serving else self._end_all(self._sessions.values(), "later")

    def _end_all(self, sessions: Iterable[Session], state: str) -> list[Effect]:
        ended = list(sessions)
        for session in ended:
            self._drop(session)
        return [Reply(one.route, Status(one.number, "no" if state == "no" else "later")) for one in ended]

    # --- figures for reports -----------------------------------------------------------------------------

    def sessions(self) -> dict[str, int]:
        """How many there are of each content that has any."""
        return {swarm.digest: len(swarm.sessions) for swarm in self._swarms.values() if swarm.sessions}

    def is_open(self, session: Session) -> bool:
        return self._sessions.get(session.key) is session

    @property
    def queued_pieces(self) -> int:
        return self._on_way

    # --- events ------------------------------------------------------------------------------------------

    def handle(self, route: bytes, message: UploadRequest, now: float) -> list[Effect]:
        """One message of a receiver. Call `tick` after one or more of them."""
        if isinstance(message, Test):
            return self._test(route, message, now)
        session = self._sessions.get((route, message.session))
        if session is None:
            return [] if isinstance(message, Bye) else [Reply(route, NoSession(message.session))]
        session.heard_at = now
        self._changed[session.swarm.digest] = None
        if not (session.begun or isinstance(message, Follow | Bye)):
            return []  # it is of the session that had this number before
        if isinstance(message, Received):
            self._received(session, message, now)
        elif isinstance(message, Get):
            return self._get(session, message)
        elif isinstance(message, Relay):
            return self._relay(session, message)
        elif isinstance(message, Cancel):
            self._cancel(session, message.pieces)
        elif isinstance(message, Follow):
            return self._follow(session, message)
        elif isinstance(message, Have):
            return self._have(session, message, now)
        else:
            bad = [Recheck(session.swarm.digest, piece) for piece in message.bad if piece in session.sent]
            self._drop(session, now)
            return [*bad]
        return []

    def piece_failed(self, route: bytes, number: int, piece: int, gone: bool) -> list[Effect]:
        """The piece of a `SendPiece` could not be read. One that is ``gone`` is taken off the bitfield and the receiver
        told; a disk that does not answer just now sends the receiver away for a while."""
        session = self._sessions.get((route, number))
        if session is None:
            return []
        self._unsent(session)
        if not gone:
            self._drop(session)
            return [Reply(route, Status(number, "later"))]
        self.lost(session.swarm.digest, piece)
        return [Reply(route, NotHeld(number, piece))]

    def lost(self, digest: str, piece: int) -> None:
        """``piece`` of a download is not what was verified any more: it is sent to nobody."""
        swarm = self._swarms.get(digest)
        if swarm is not None:
            swarm.have.clear(piece)
            self._note_lost(swarm, piece)
            swarm.revision += 1

    def unreachable(self, route: bytes, number: int) -> None:
        """libzmq could not take a message for ``route``: its connection is gone or full. Forget the session."""
        session = self._sessions.get((route, number))
        if session is not None:
            self._drop(session)
        if route in self._left:
            size, _, _ = self._left.pop(route)
            self._left_bytes -= size

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and send what can be sent."""
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            self._answers.limit, self._acknowledged = max(ANSWERED_COUNT_MIN, self._acknowledged), 0
            effects = self._check(now)
        effects += self._pump(now)
        changed, self._changed = self._changed, {}
        for digest in changed:
            swarm = self._swarms.get(digest)
            if swarm is not None:
                effects += self._tell_stock(swarm)
                effects += self._tell_room(swarm, now)
        return effects

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None while there is no session."""
        if not self._sessions:
            return None
        due = self._check_at
        if self._has_turns:
            ready = self._bucket.ready_at(now)
            if ready > now:
                due = min(due, ready)
        return due

    # --- one kind of message each ------------------------------------------------------------------------

    def _test(self, route: bytes, message: Test, now: float) -> list[Effect]:
        key = (route, message.session)
        swarm = self._swarms.get(message.digest)
        session = self._sessions.get(key)
        if session is not None and session.swarm is not swarm:
            self._drop(session)
            session = None
        if not self.serving:
            return [Reply(route, Status(message.session, "later"))]
        if swarm is None:
            return [Reply(route, Status(message.session, "no"))]
        effects: list[Effect] = []
        is_idle = session is not None and self._is_idle(now)
        if session is None:
            over = sum(1 for other, _ in self._sessions if other == route)
            may_open = over < ROUTE_SESSIONS_COUNT_MAX and route not in self._left
            if may_open and len(self._sessions) >= SESSIONS_COUNT_MAX:
                effects = self._make_room(now)
                may_open = bool(effects)
            if not may_open:
                return [Reply(route, Status(message.session, "later"))]
            size = swarm.have.size
            session = Session(route, message.session, swarm, now, now, Bitfield(size), Bitfield(size))
            self._sessions[key] = swarm.sessions[key] = session
            if len(swarm.sessions) == 2:
                effects += [self._tell(one) for one in swarm.sessions.values() if one is not session]
        session.heard_at = now
        return [*effects, self._tell(session, is_idle)]

    def _is_idle(self, now: float) -> bool:
        return self._idle_since is not None and now - self._idle_since >= IDLE_SECONDS

    def _tell(self, session: Session, idle: bool = False) -> Effect:
        session.told = session.swarm.revision, idle
        status = session.swarm.status(session, idle)
        session.stocked = status.stock
        if not status.stock:
            session.asked = 0
        return Reply(session.route, status)

    def _tell_stock(self, swarm: Swarm) -> list[Effect]:
        """Tell those for whom there is stock again, and who waits to be assigned some when there is none."""
        sessions = swarm.sessions.values()
        has_stock = swarm.in_stock.count_set > 0
        if has_stock != swarm.had_stock or swarm.restocked:
            swarm.had_stock = has_stock
            swarm.restocked = False
            swarm.revision += 1
            if has_stock:
                return [self._tell(one) for one in sessions if not one.stocked and swarm.has_stock_for(one)]
        return [] if has_stock else [self._tell(one) for one in sessions if one.asked]

    def _restock(self, swarm: Swarm, pieces: Iterable[int]) -> None:
        """Nobody relays ``pieces``: who waits to be assigned some may get them."""
        self._changed[swarm.digest] = None
        swarm.put_in_stock(pieces, self._rng)
        swarm.restocked = True
        self._ready.update((one, None) for one in swarm.sessions.values() if one.asked and one.credit)

    def _make_room(self, now: float) -> list[Effect]:
        """End the session that has got nothing for the longest, if that is long enough."""
        idle = min(self._sessions.values(), key=lambda session: session.served_at)
        return [] if now - idle.served_at < EVICTION_SECONDS else self._start_over(idle)

    def _follow(self, session: Session, message: Follow) -> list[Effect]:
        swarm = session.swarm
        try:
            skip = Bitfield.from_bytes(message.bits, swarm.have.size)
        except ProtocolError:
            return self._start_over(session)
        session.skip = skip
        self._note_spread(swarm, skip)
        session.begun = True
        session.follows = message.push
        session.credit = message.credit
        session.position = session.promised = 0
        self._ready[session] = None
        return []

    def _received(self, session: Session, message: Received, now: float) -> None:
        count = min(message.count, len(session.on_way))
        for _ in range(count):
            sent = session.on_way.popleft()
            self._count(session, sent, -1)
            self._measured(now - sent.at)
        self._acknowledged += count
        if count:
            session.served_at = now
            if session.late:
                self._set_late(session, False)
        session.credit += message.credit
        if session.credit:
            self._ready[session] = None

    def _measured(self, seconds: float) -> None:
        """A piece was acknowledged so long after it was sent."""
        usual = self._usual
        if usual is None:
            self._usual = seconds
        else:
            self._usual = usual + 0.05 * (min(seconds, LATE_FACTOR * usual + LATE_SECONDS_MIN) - usual)

    def _relay(self, session: Session, message: Relay) -> list[Effect]:
        swarm = session.swarm
        for piece in message.assigned:
            if piece in swarm.in_stock:
                swarm.in_stock.clear(piece)
        if session.hoards or not swarm.in_stock.count_set:
            return [self._tell(session)]  # it would wait, and ask no other source meanwhile
        session.asked = min(session.asked + message.count, PIECES_TOLD_COUNT_MAX)
        if session.credit:
            self._ready[session] = None
        return []

    def _get(self, session: Session, message: Get) -> list[Effect]:
        have = session.swarm.have
        missing = [piece for piece in message.pieces if piece not in have]
        room = PIECES_TOLD_COUNT_MAX - len(session.wanted)
        session.wanted.extend([piece for piece in message.pieces if piece in have][:room])
        if session.credit:
            self._ready[session] = None
        return [Reply(session.route, NotHeld(session.number, piece)) for piece in missing]

    def _cancel(self, session: Session, pieces: list[int]) -> None:
        for piece in pieces:
            if piece < session.skip.size:
                session.skip.set(piece)
        if session.wanted:
            gone = set(pieces)
            session.wanted = deque(piece for piece in session.wanted if piece not in gone)

    def _have(self, session: Session, message: Have, now: float) -> list[Effect]:
        swarm = session.swarm
        try:
            bits = Bitfield.from_bytes(message.bits, swarm.have.size)
        except ProtocolError:
            return self._start_over(session)
        session.has_at = now
        self._note_spread(swarm, bits)
        for other in swarm.sessions.values():
            if other is not session and other.assigned:
                other.assigned = {piece: at for piece, at in other.assigned.items() if piece not in bits}
        if swarm.orphans:
            swarm.orphans = {piece: at for piece, at in swarm.orphans.items() if piece not in bits}
        return []

    def _note_spread(self, swarm: Swarm, bits: Bitfield) -> None:
        """A receiver has, or is to get from others, the pieces ``bits``: somebody relays them."""
        if swarm.in_stock.count_set and bits.count_set:
            swarm.in_stock = swarm.in_stock.without(bits)

    # --- the uplink --------------------------------------------------------------------------------------

    def _pump(self, now: float) -> list[Effect]:
        """Send what there is credit for: sessions take turns."""
        effects: list[Effect] = []
        ready = self._ready
        while self._on_way_bytes < ON_WAY_BYTES_MAX and self._bucket.ready_at(now) <= now:
            session = self._next()
            if session is None:
                break
            if self._may_send(session) and self._send_next(session, effects, now) and session.credit:
                ready[session] = None
        if self._on_way or self._has_turns:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return effects

    @property
    def _has_turns(self) -> bool:
        """Whether there may be something to send."""
        return bool(self._ready or self._answers.waiting or self._assignments.waiting)

    def _next(self) -> Session | None:
        """Whose turn it is."""
        session = self._answers.next() or self._assignments.next()
        if session is None and self._ready:
            session = next(iter(self._ready))
        if session is not None:
            self._ready.pop(session, None)
        return session

    def _may_send(self, session: Session) -> bool:
        """Where too much is stalled nobody has more than one piece on its way: who has stalled would be sent all that
        it gives credit for, and each new connection as much again."""
        stalled = self._late_bytes + self._left_bytes
        return session.credit > 0 and (stalled <= STALLED_BYTES_MAX or not session.on_way)

    def _relay_some(self) -> None:
        """Nobody would relay more, or can, and nothing is to be sent: push a piece of the stock to all."""
        for swarm in self._swarms.values():
            followers = [session for session in swarm.sessions.values() if session.follows and session.credit]
            piece = swarm.take_from_stock(followers[0]) if len(followers) > 1 and swarm.in_stock.count_set else None
            if piece is not None:
                swarm.relay([piece])
                swarm.relayed_before += 1
                self._ready.update(dict.fromkeys(followers))

    def _send_next(self, session: Session, effects: list[Effect], now: float) -> bool:
        """Send the next piece for ``session``; False when there is none."""
        swarm = session.swarm
        have, skip = swarm.have, session.skip
        wanted = session.wanted
        if wanted and self._answers.is_used_up:
            self._answers.waiting[session] = None
        while wanted and not self._answers.is_used_up:
            piece = wanted.popleft()
            if piece in have:
                relay = piece in swarm.in_stock and not session.hoards
                if relay:
                    swarm.in_stock.clear(piece)
                    session.asked -= session.asked > 0
                self._send(session, piece, relay, self._answers, effects, now)
                return True
            effects.append(Reply(session.route, NotHeld(session.number, piece)))
        if session.asked and self._assignments.is_used_up:
            self._assignments.waiting[session] = None
        elif session.asked and swarm.in_stock.count_set and swarm.in_time(session):
            found = swarm.take_from_stock(session)
            if found is not None:
                session.asked -= 1
                swarm.note_assigned(session, now)
                self._send(session, found, True, self._assignments, effects, now)
                return True
            effects.append(self._tell(session))
        if session.follows:
            relayed = swarm.relayed
            while session.position < len(relayed):
                piece = relayed[session.position]
                session.position += 1
                if piece in skip:
                    continue
                if piece in have:
                    self._send(session, piece, False, None, effects, now)
                    return True
                effects.append(Reply(session.route, NotHeld(session.number, piece)))
        return False

    def _send(
        self, session: Session, piece: int, relay: bool, ration: Ration | None, effects: list[Effect], now: float
    ) -> None:
        swarm = session.swarm
        size = swarm.piece_size(piece)
        session.skip.set(piece)
        session.sent.set(piece)
        session.told = None
        if relay:
            session.assigned[piece] = now
        promised: list[int] = []
        if session.follows and session.promised < len(swarm.relayed):
            told = max(session.promised, session.position)
            session.promised = min(told + PIECES_TOLD_COUNT_MAX, len(swarm.relayed))
            promised = [one for one in swarm.relayed[told : session.promised] if one not in session.skip]
        session.credit -= 1
        session.on_way.append(OnWay(size, now, ration))
        self._count(session, session.on_way[-1], 1)
        self._changed[swarm.digest] = None
        self._bucket.spend(size, now)
        effects.append(SendPiece(session.route, swarm.digest, Piece(session.number, piece, relay, promised), session))

    def _unsent(self, session: Session) -> None:
        """The piece sent last was not; a receiver that acknowledged it before it was sent lied."""
        if not session.on_way:
            return
        self._count(session, session.on_way.pop(), -1)
        session.credit += 1
        self._ready[session] = None
        session.late &= bool(session.on_way)

    def _set_late(self, session: Session, late: bool) -> None:
        for sent in session.on_way:
            self._count(session, sent, -1)
        session.late = late
        for sent in session.on_way:
            self._count(session, sent, 1)

    def _count(self, session: Session, sent: OnWay, by: int) -> None:
        """One piece more (``by`` 1) or less (-1) is on its way."""
        if session.late:
            self._late_bytes += by * sent.size
            return
        self._on_way += by
        self._on_way_bytes += by * sent.size
        if sent.ration is not None:
            sent.ration.taken += by

    def _tell_room(self, swarm: Swarm, now: float) -> list[Effect]:
        """How many pieces this peer may have been assigned: few are to be left for the median follower. One slow
        follower says nothing about this uplink."""
        count = len(swarm.relayed)
        left = [count - session.position for session in swarm.sessions.values() if session.follows]
        room = count - swarm.relayed_before + max(0, swarm.ahead(now) - (median_low(left) if left else count))
        if room == swarm.room:
            return []
        swarm.room = room
        return [Room(swarm.digest, room)]

    # --- time --------------------------------------------------------------------------------------------

    def _check(self, now: float) -> list[Effect]:
        effects = self._check_sessions(now)
        for route, (size, number, look_at) in self._left.items():
            if now >= look_at:
                self._left[route] = size, number, now + LEFT_SECONDS
                effects.append(Reply(route, NoSession(number)))
        for swarm in self._swarms.values():
            if swarm.sessions or swarm.orphans:
                effects += self._check_spread(swarm, now)
        if self._is_idle(now):
            self._relay_some()
            told = [session for session in self._sessions.values() if session.told != (session.swarm.revision, True)]
            effects += [self._tell(session, True) for session in told]
        return effects

    def _check_sessions(self, now: float) -> list[Effect]:
        """End those that are silent, see which are late, and end the latest when too much is on its way to these."""
        effects: list[Effect] = []
        late = LATE_SECONDS_FIRST if self._usual is None else max(LATE_SECONDS_MIN, LATE_FACTOR * self._usual)
        for session in list(self._sessions.values()):
            if now - session.heard_at > SESSION_SILENT_SECONDS:
                effects += self._start_over(session)
            elif not session.late and session.on_way and now - session.on_way[0].at > late:
                self._set_late(session, True)
        while self._late_bytes > STALLED_BYTES_MAX:
            stalled = [session for session in self._sessions.values() if session.late]
            effects += self._start_over(min(stalled, key=lambda session: session.on_way[0].at))
        return effects

    def _check_spread(self, swarm: Swarm, now: float) -> list[Effect]:
        """Put back into stock what was assigned and does not spread."""
        effects: list[Effect] = []
        back = [piece for piece, since in swarm.orphans.items() if now - since > SPREAD_SECONDS]
        for piece in back:
            del swarm.orphans[piece]
        for session in swarm.sessions.values():
            old = [piece for piece, since in session.assigned.items() if now - since > SPREAD_SECONDS]
            if len(old) > UNSPREAD_COUNT_MAX and any(
                one is not session and now - one.has_at < SPREAD_SECONDS for one in swarm.sessions.values()
            ):
                session.hoards = True
                effects.append(self._tell(session))
                back += old
                for piece in old:
                    del session.assigned[piece]
        if back:
            self._restock(swarm, back)
        return effects

    def _start_over(self, session: Session) -> list[Effect]:
        """Forget the session and say so: were its next `Test` to open a new one, it would wait for old promises."""
        self._drop(session)
        return [Reply(session.route, NoSession(session.number))]

    def _drop(self, session: Session, now: float | None = None) -> None:
        swarm = session.swarm
        if session.on_way:
            if not session.late:
                self._set_late(session, True)
            size = sum(sent.size for sent in session.on_way)
            self._late_bytes -= size
            self._left_bytes += size
            before, _, _ = self._left.get(session.route, (0, 0, 0.0))
            self._left[session.route] = before + size, session.number, 0.0
        at = session.heard_at if now is None else now
        swarm.orphans.update((piece, at) for piece in session.assigned)
        del self._sessions[session.key]
        del swarm.sessions[session.key]
        self._changed[swarm.digest] = None
        self._ready.pop(session, None)
        self._answers.waiting.pop(session, None)
        self._assignments.waiting.pop(session, None)
        if len(swarm.sessions) == 1:
            swarm.revision += 1
        elif not swarm.sessions:
            swarm.orphans.clear()
            self._restock(swarm, swarm.taken())

    def _note_lost(self, swarm: Swarm, piece: int) -> None:
        self._changed[swarm.digest] = None
        if piece in swarm.in_stock:
            swarm.in_stock.clear(piece)
        swarm.revision += 1

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        fast = [session for session in self._sessions.values() if not session.late]
        assert self._on_way == sum(len(session.on_way) for session in fast)
        assert self._on_way_bytes == sum(sent.size for session in fast for sent in session.on_way)
        for ration in (self._answers, self._assignments):
            assert ration.taken == sum(sent.ration is ration for session in fast for sent in session.on_way)
        late = sum(sent.size for session in self._sessions.values() if session.late for sent in session.on_way)
        assert self._late_bytes == late
        assert self._left_bytes == sum(size for size, _, _ in self._left.values())
        assert len(self._sessions) <= SESSIONS_COUNT_MAX
        for swarm in self._swarms.values():
            assert all(self._sessions[key] is session for key, session in swarm.sessions.items())
            assert not swarm.in_stock.without(swarm.have).count_set
            assert swarm.relayed == list(swarm.relays)
        for session in self._sessions.values():
            assert session.credit >= 0
            assert session.on_way or not session.late
            assert session.position <= len(session.swarm.relayed)
