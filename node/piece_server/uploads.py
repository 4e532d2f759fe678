"""What a piece server sends to whom: sessions, what is assigned, pushed and asked for. PROTOCOL.md, section 6.

Pure: `Uploads.handle` takes a message and the time and returns effects; the shell sends, reads the disk and calls
back. Owns the sessions of all swarms. Leaves what is on its way to `uplink`, manifests and the bytes of pieces to
the shell.

Content has a *stock*: pieces that nobody relays yet. A piece of it goes to a receiver that would relay one more, as in
initial seeding (BEP 16), and that receiver's peer pushes it to all its followers: what this peer *relays* it sends to
each follower in the order it came. What a receiver asks for by number it gets before what is pushed. Sessions take
turns, one piece each or, where pieces differ in length, as many bytes as the longest has. Of what is pushed the
receivers' credit says how much is on its way: each connection then gets an equal part of the uplink and of the downlink
at its other end, and a receiver that is slow or has stalled takes hardly anything from the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median_low

from node.local_messages import Room
from node.piece_server.admission import Places
from node.piece_server.swarm import AHEAD_COUNT, SPREAD_SECONDS, OnWay, Ration, Session, SessionKey, Swarm
from node.piece_server.uplink import SPARE_COUNT, Uplink
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
from protocol.limits import (
    PIECES_TOLD_COUNT_MAX,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSION_SILENT_SECONDS,
    SESSIONS_COUNT_MAX,
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
CHECK_SECONDS = 0.25
"""How often sessions are looked over, and a source that is idle tells what it has got since."""
IDLE_SECONDS = 0.1
"""A source that has had nothing to send for so long says so."""
UNSPREAD_COUNT_MAX = 8
"""A receiver with more pieces than this that should have spread and have not is assigned no more, when another one has
got as many pieces from other peers meanwhile."""
EVICTION_SECONDS = 5.0
"""A session that has got nothing for so long may give way to one of an address that holds no more, when there are too
many."""


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
    """All sessions of one piece server. ``rng`` draws the order in which pieces are assigned, and receipts, which
    nobody may foresee."""

    def __init__(self, now: float, rng: Random) -> None:
        self.serving = True
        self._uplink = Uplink(now)
        self._rng = rng
        self._swarms: dict[str, Swarm] = {}
        self._sessions: dict[SessionKey, Session] = {}
        self._places: Places[Session] = Places()
        """The same."""
        self._ready: OrderedDict[Session, None] = OrderedDict()
        """Sessions with credit that there may be something to send to, in turn."""
        self._turn_bytes = 0
        """How much one is sent when it is its turn: a piece, of the longest there are."""
        self._told_over: dict[SessionKey, None] = {}
        """Who was told since the last check that it has no session: many messages to it may come at once."""
        self._changed: dict[str, None] = {}
        """Swarms whose stock or room may not be as was told."""
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
        ``spread``: those that somebody relays; ``relayed``: those that this peer was assigned, of content
        that is not known. Returns whether it was known."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            swarm = self._swarms[digest] = Swarm(
                digest, have, length, piece_length, deque(), Bitfield(have.size), Bitfield(have.size)
            )
            fresh = have if spread is None else have.without(spread)
            swarm.put_in_stock(fresh.indices(), self._rng)
            swarm.had_stock = swarm.in_stock.count_set > 0
            self._changed[digest] = None
            swarm.relay(relayed)
            return False
        before, swarm.have = swarm.have, have
        for piece in before.without(have).indices():
            self._note_lost(swarm, piece)
        fresh = have.without(before)
        self._changed[digest] = None
        self._restock(swarm, (fresh if spread is None else fresh.without(spread)).indices())
        swarm.relayed_before, swarm.room = len(swarm.relayed), -1
        swarm.revision += 1
        return True

    def held(
        self, digest: str, pieces: list[int], relayed: list[int], now: float, handed_on: Sequence[int] = ()
    ) -> list[Effect]:
        """``pieces`` of a partial download are verified and on disk now, of which ``relayed`` were assigned to this
        peer, and ``handed_on`` are to go along its row."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            return []
        for piece in pieces:
            swarm.have.set(piece)
        swarm.revision += 1
        swarm.hand_on(handed_on)
        if relayed or handed_on:
            self._changed[digest] = None
            swarm.relayed_before -= len(relayed) - swarm.relay(relayed)  # the downloader counts each
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

    def set_rate(self, rate: float, now: float) -> None:
        """Send no more than ``rate`` bytes a second from now on; 0: as much as possible."""
        self._uplink.bucket.set_rate(rate, now)

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
        return self._uplink.pieces

    # --- events ------------------------------------------------------------------------------------------

    def handle(self, route: bytes, message: UploadRequest, now: float, address: str = "") -> list[Effect]:
        """One message of a receiver; a `Test` with the IP ``address`` it came from. Call `tick` after one or more."""
        if isinstance(message, Test):
            return self._test(route, message, now, address)
        session = self._sessions.get((route, message.session))
        if session is None:
            key = route, message.session
            if isinstance(message, Bye) or key in self._told_over:
                return []
            self._told_over[key] = None
            return [Reply(route, NoSession(message.session))]
        session.heard_at = now
        self._changed[session.swarm.digest] = None
        if not (session.begun or isinstance(message, Follow | Bye)):
            return []  # it is of the session that had this number before
        if isinstance(message, Received):
            return self._received(session, message, now)
        elif isinstance(message, Get):
            return self._get(session, message)
        elif isinstance(message, Relay):
            return self._relay(session, message)
        elif isinstance(message, Cancel):
            self._cancel(session, message.pieces)
        elif isinstance(message, Follow):
            return self._follow(session, message, now)
        elif isinstance(message, Have):
            return self._have(session, message, now)
        else:
            bad = [Recheck(session.swarm.digest, piece) for piece in message.bad if piece in session.sent]
            self._drop(session, now)
            return [*bad]
        return []

    def piece_failed(self, session: Session, header: Piece, gone: bool) -> list[Effect]:
        """The piece of a `SendPiece` in the open ``session`` could not be read. One that is ``gone`` is taken off the
        bitfield and the receiver told; a disk that does not answer just now sends the receiver away for a while."""
        self._uplink.take_back(session, header)
        if not gone:
            self._drop(session)
            return [Reply(session.route, Status(session.number, "later"))]
        session.assigned.pop(header.piece, None)
        self._ready[session] = None
        self.lost(session.swarm.digest, header.piece)
        return [Reply(session.route, NotHeld(session.number, header.piece))]

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
        self._uplink.lost(route)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and send what can be sent."""
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            self._told_over.clear()
            effects = self._check(now)
        effects += self._pump(now)
        changed, self._changed = self._changed, {}
        for digest in changed:
            swarm = self._swarms.get(digest)
            if swarm is not None:
                effects += self._tell_stock(swarm)
                effects += self._tell_room(swarm, now)
        if self._ready:
            effects += self._pump(now)  # they waited while there was stock
        return effects

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None while there is no session."""
        if not self._sessions:
            return None
        due = self._check_at
        if self._has_turns:
            ready = self._uplink.bucket.ready_at(now)
            if ready > now:
                due = min(due, ready)
        return due

    # --- one kind of message each ------------------------------------------------------------------------

    def _test(self, route: bytes, message: Test, now: float, address: str) -> list[Effect]:
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
        if message.begun and (session is None or not session.begun):
            return [Reply(route, NoSession(message.session))]  # it waits for what was promised in one that is over
        effects: list[Effect] = []
        is_idle = session is not None and self._is_idle(now)
        if session is None:
            over = self._places.of_route(route)
            may_open = over < ROUTE_SESSIONS_COUNT_MAX and not self._uplink.is_left(route)
            if may_open and len(self._sessions) >= SESSIONS_COUNT_MAX:
                least = self._places.who_gives_way(address, route, now, EVICTION_SECONDS)
                may_open = least is not None
                effects = [] if least is None else self._start_over(least)
            if not may_open:
                return [Reply(route, Status(message.session, "later"))]
            size = swarm.have.size
            session = Session(route, address, message.session, swarm, now, now, Bitfield(size), Bitfield(size))
            self._sessions[key] = swarm.sessions[key] = session
            self._places.add(session)
            self._turn_bytes = max(self._turn_bytes, swarm.piece_length)
            self._told_over.pop(key, None)
            effects += self._tell_company(swarm, now)
        session.heard_at = now
        return [*effects, self._tell(session, is_idle)]

    def _is_idle(self, now: float) -> bool:
        return self._idle_since is not None and now - self._idle_since >= IDLE_SECONDS

    def _tell(self, session: Session, idle: bool = False) -> Effect:
        session.told = session.swarm.revision, idle
        status = session.swarm.status(session, idle)
        session.told_alone = status.alone
        session.stocked = status.stock
        if not status.stock:
            session.would_relay = session.relays
        return Reply(session.route, status)

    def _tell_company(self, swarm: Swarm, now: float) -> list[Effect]:
        """Tell a receiver that was alone that it is not; now and then, since anybody may come and go."""
        told = [one for one in swarm.sessions.values() if one.told_alone]
        if len(swarm.sessions) == 1 or not told or now < swarm.company_told_at + CHECK_SECONDS:
            return []
        swarm.company_told_at = now
        return [self._tell(one) for one in told]

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
            self._ready.update(self._uplink.spare.waiting)  # nobody asks any more for whom there is to be room
            self._uplink.spare.waiting.clear()
        return [] if has_stock else [self._tell(one) for one in sessions if one.asked]

    def _restock(self, swarm: Swarm, pieces: Iterable[int]) -> None:
        """Nobody relays ``pieces``: who waits to be assigned some may get them."""
        self._changed[swarm.digest] = None
        swarm.put_in_stock(pieces, self._rng)
        swarm.restocked = True
        self._ready.update((one, None) for one in swarm.sessions.values() if one.asked and one.credit)

    def _follow(self, session: Session, message: Follow, now: float) -> list[Effect]:
        swarm = session.swarm
        try:
            skip = Bitfield.from_bytes(message.bits, swarm.have.size)
        except ProtocolError:
            return self._start_over(session)
        session.skip = skip
        session.had_elsewhere = skip.count_set
        self._note_spread(swarm, skip)
        if not session.begun:
            self._uplink.answered(now - session.served_at)
        session.begun = True
        session.push = message.push
        session.credit = message.credit
        session.position = session.promised = session.relays = session.would_relay = 0
        self._ready[session] = None
        return []

    def _received(self, session: Session, message: Received, now: float) -> list[Effect]:
        count = message.count
        if count:
            if count > len(session.on_way) or session.on_way[count - 1].receipt != message.receipt:
                return self._start_over(session)  # it would have us keep ever more in memory that it never reads
            session.served_at, session.takes = now, True
            self._uplink.acknowledge(session, count, now)
        session.credit += message.credit
        if session.credit:
            self._ready[session] = None
        return []

    def _relay(self, session: Session, message: Relay) -> list[Effect]:
        swarm = session.swarm
        for piece in message.assigned:
            if piece in swarm.in_stock:
                swarm.in_stock.clear(piece)
        if session.hoards or not swarm.in_stock.count_set:
            return [self._tell(session)]  # it would wait, and ask no other source meanwhile
        session.would_relay = min(message.count, session.relays + PIECES_TOLD_COUNT_MAX)
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
        if not session.hoards:
            self._note_spread(swarm, bits)
        elsewhere = bits.without(session.sent).count_set
        session.gained.count(now, max(0, elsewhere - session.had_elsewhere))
        session.had_elsewhere = max(elsewhere, session.had_elsewhere)
        for other in swarm.sessions.values():
            if other is not session and other.assigned:
                before = len(other.assigned)
                other.assigned = {piece: at for piece, at in other.assigned.items() if piece not in bits}
                other.spread.count(now, before - len(other.assigned))
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
        uplink = self._uplink
        while uplink.bucket.ready_at(now) <= now:
            session = self._next(now)
            if session is None:
                if self._relay_some(now):
                    continue
                break
            if uplink.may_send(session) and self._send_next(session, effects, now):
                session.turn_bytes += session.swarm.piece_length
                if session.credit:
                    ready[session] = None
                    if session.turn_bytes < self._turn_bytes:
                        ready.move_to_end(session, last=False)
                        continue
            session.turn_bytes = 0
        if uplink.pieces or self._has_turns:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return effects

    @property
    def _has_turns(self) -> bool:
        """Whether there may be something to send."""
        return bool(self._ready) or self._uplink.has_waiting

    def _next(self, now: float) -> Session | None:
        """Whose turn it is."""
        uplink = self._uplink
        session = uplink.answers.next(now) or uplink.assignments.next(now) or next(iter(self._ready), None)
        if session is None:
            return uplink.spare.next(now)
        self._ready.pop(session, None)
        return session

    def _relay_some(self, now: float) -> bool:
        """It is nobody's turn: relay a piece of the stock, if there is one and the uplink has time to spare. Whether
        it did."""
        for swarm in {session.swarm.digest: session.swarm for session in self._sessions.values()}.values():
            followers = [session for session in swarm.sessions.values() if session.follows]
            if len(followers) < 2 or not swarm.in_stock.count_set:
                continue
            left = median_low([len(session.queue) - session.position for session in followers])
            if left >= AHEAD_COUNT or self._uplink.spare.is_used_up(now, min(SPARE_COUNT, len(followers))):
                continue
            piece = swarm.take_from_stock(self._rng.choice(followers))
            if piece is not None:
                swarm.relayed_before += swarm.relay([piece])
                swarm.own[piece] = None
                self._ready.update((session, None) for session in followers if session.credit)
                return True
        return False

    def _send_next(self, session: Session, effects: list[Effect], now: float) -> bool:
        """Send the next piece for ``session``; False when there is none."""
        swarm = session.swarm
        have, wanted = swarm.have, session.wanted
        if wanted and self._uplink.answers.is_used_up(now):
            self._uplink.answers.waiting[session] = None
        while wanted and not self._uplink.answers.is_used_up(now):
            piece = wanted.popleft()
            if piece in have:
                relay = piece in swarm.in_stock and not session.hoards
                if relay:
                    swarm.in_stock.clear(piece)
                self._send(session, piece, relay, self._uplink.answers, effects, now)
                return True
            effects.append(Reply(session.route, NotHeld(session.number, piece)))
        if session.asked and self._uplink.assignments.is_used_up(now):
            self._uplink.assignments.waiting[session] = None
        elif session.asked and swarm.in_stock.count_set and swarm.in_time(session):
            found = swarm.take_from_stock(session)
            if found is not None:
                swarm.note_assigned(session, now)
                self._send(session, found, True, self._uplink.assignments, effects, now)
                return True
            effects.append(self._tell(session))
        return session.follows and self._push_next(session, effects, now)

    def _push_next(self, session: Session, effects: list[Effect], now: float) -> bool:
        """Send the next relayed piece that ``session`` lacks; False when there is none."""
        swarm = session.swarm
        have, skip, relayed, spare = swarm.have, session.skip, session.queue, self._uplink.spare
        while session.position < len(relayed):
            piece = relayed[session.position]
            if piece in swarm.own and piece not in skip and swarm.in_stock.count_set and spare.is_used_up(now):
                spare.waiting[session] = None
                return False
            session.position += 1
            if piece in skip:
                continue
            if piece in have:
                swarm.pushes.append(now)
                self._send(session, piece, False, None, effects, now)
                return True
            if session.position <= session.promised:
                effects.append(Reply(session.route, NotHeld(session.number, piece)))
        return False

    def _send(
        self, session: Session, piece: int, relay: bool, ration: Ration | None, effects: list[Effect], now: float
    ) -> None:
        swarm = session.swarm
        session.skip.set(piece)
        session.sent.set(piece)
        session.told = None
        if relay:
            session.relays += 1
            session.assigned[piece] = now
        promised: list[int] = []
        queue = session.queue
        if session.follows and session.promised < len(queue):
            told = max(session.promised, session.position)
            session.promised = min(told + PIECES_TOLD_COUNT_MAX, len(queue))
            some = queue[told : session.promised]
            promised = [one for one in some if one not in session.skip and one in swarm.have]
        receipt = self._rng.getrandbits(32)
        self._uplink.send(session, OnWay(piece, receipt, swarm.piece_size(piece), now, ration))
        self._changed[swarm.digest] = None
        hand_on = session.push == "column" and piece in swarm.relays
        header = Piece(session.number, piece, relay, promised, receipt, hand_on)
        effects.append(SendPiece(session.route, swarm.digest, header, session))

    def _tell_room(self, swarm: Swarm, now: float) -> list[Effect]:
        """How many pieces this peer may have been assigned: few are to be left for a quick follower."""
        room = swarm.may_have_assigned(now)
        if room == swarm.room:
            return []
        swarm.room = room
        return [Room(swarm.digest, room)]

    # --- time --------------------------------------------------------------------------------------------

    def _check(self, now: float) -> list[Effect]:
        effects = self._check_sessions(now)
        self._turn_bytes = max((session.swarm.piece_length for session in self._sessions.values()), default=0)
        effects += [Reply(route, NoSession(number)) for route, number in self._uplink.to_try(now)]
        for swarm in self._swarms.values():
            if swarm.sessions or swarm.orphans:
                effects += self._tell_company(swarm, now)
                effects += self._check_spread(swarm, now)
        if self._is_idle(now):
            told = [session for session in self._sessions.values() if session.told != (session.swarm.revision, True)]
            effects += [self._tell(session, True) for session in told]
        return effects

    def _check_sessions(self, now: float) -> list[Effect]:
        """End those that are silent and, when too much is on its way to late ones, the latest of these."""
        effects: list[Effect] = []
        for session in list(self._sessions.values()):
            if now - session.heard_at > SESSION_SILENT_SECONDS:
                effects += self._start_over(session)
        for session in self._uplink.look(self._sessions.values(), now):
            effects += self._start_over(session)
        return effects

    def _check_spread(self, swarm: Swarm, now: float) -> list[Effect]:
        """Put back into stock what was assigned and does not spread."""
        effects: list[Effect] = []
        back = [piece for piece, since in swarm.orphans.items() if now - since > SPREAD_SECONDS]
        for piece in back:
            del swarm.orphans[piece]
        for session in swarm.sessions.values():
            old = [piece for piece, since in session.assigned.items() if now - since > SPREAD_SECONDS]
            if len(old) > UNSPREAD_COUNT_MAX and self._could_have_spread(session, len(old), now):
                session.hoards = True
                effects.append(self._tell(session))
                back += old
                for piece in old:
                    del session.assigned[piece]
        if back:
            self._restock(swarm, back)
        return effects

    def _could_have_spread(self, session: Session, count: int, now: float) -> bool:
        """Whether another receiver got ``count`` pieces from others than ``session`` lately: else the receivers may be
        slow."""
        of_session = session.spread.count(now)
        others = (one for one in session.swarm.sessions.values() if one is not session)
        return any(one.gained.count(now) - of_session >= count for one in others)

    def _start_over(self, session: Session) -> list[Effect]:
        """Forget the session and say so: were its next `Test` to open a new one, it would wait for old promises."""
        self._drop(session)
        return [Reply(session.route, NoSession(session.number))]

    def _drop(self, session: Session, now: float | None = None) -> None:
        swarm = session.swarm
        self._uplink.part_with(session)
        at = session.heard_at if now is None else now
        swarm.orphans.update((piece, at) for piece in session.assigned)
        del self._sessions[session.key]
        self._places.remove(session)
        del swarm.sessions[session.key]
        self._changed[swarm.digest] = None
        self._ready.pop(session, None)
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
        self._uplink.check_invariants(self._sessions.values())
        assert len(self._sessions) == len(self._places) <= SESSIONS_COUNT_MAX
        for swarm in self._swarms.values():
            assert all(self._sessions[key] is session for key, session in swarm.sessions.items())
            assert not swarm.in_stock.without(swarm.have).count_set
            assert swarm.relayed == list(swarm.relays)
        for session in self._sessions.values():
            assert session.credit >= 0
            assert session.position <= len(session.queue)
