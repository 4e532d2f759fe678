"""What a piece server sends to whom: sessions, what is assigned, pushed and asked for. PROTOCOL.md, section 6.

Pure: `Uploads.handle` takes a message and the time and returns effects; the shell sends, reads the disk and calls
back. Owns the sessions of all swarms. Leaves whose turn it is to `sending`, what is on its way to `uplink`, manifests
and the bytes of pieces to the shell.

Content has a *stock*: pieces that nobody relays yet. A piece of it goes to a receiver that would relay one more, as in
initial seeding (BEP 16), and that receiver's peer pushes it to all its followers: what this peer *relays* it sends to
each follower in the order it came. What a receiver asks for by number it gets before what is pushed. Sessions take
turns, one piece each or, where pieces differ in length, as many bytes as the longest has. Of what is pushed the
receivers' credit says how much is on its way: each connection then gets an equal part of the uplink and of the downlink
at its other end, and a receiver that is slow or has stalled takes hardly anything from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from node.local_messages import Room
from node.piece_server.admission import Places
from node.piece_server.sending import Reply, Sending, SendPiece, not_held, tell
from node.piece_server.swarm import Session, SessionKey, Swarm
from node.piece_server.uplink import Uplink
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
    Piece,
    Received,
    Relay,
    Status,
    Test,
)

UploadRequest = Test | Follow | Received | Relay | Get | Cancel | Have | Bye
CHECK_SECONDS = 0.25
"""How often sessions are looked over, and a source that is idle tells what it has got since."""
EVICTION_SECONDS = 5.0
"""Where there are too many, one that has got nothing for so long may give way to one whose address holds no more."""
OVER_COUNT_MAX = 64
"""How many receivers may still complain of what they were sent in sessions that are over."""


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
        self._swarms: dict[str, Swarm] = {}
        self._sessions: dict[SessionKey, Session] = {}
        self._sending = Sending(self._sessions, self._uplink, rng)
        self._rng = rng
        self._places: Places[Session] = Places()
        """Of the same sessions, by address and connection."""
        self._told_over: dict[SessionKey, None] = {}
        """Who was told since the last check that it has no session: many messages to it may come at once."""
        self._over: dict[SessionKey, tuple[str, Bitfield]] = {}
        """What receivers had been sent, of what, in sessions that are over. A complaint may be on its way then, or be
        the end of the next session."""
        self._changed: dict[str, None] = {}
        """Swarms whose stock or room may not be as was told."""
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
        self._changed[digest] = None
        fresh = have if swarm is None else have.without(swarm.have)
        fresh = fresh if spread is None else fresh.without(spread)
        if swarm is None:
            swarm = self._swarms[digest] = Swarm(digest, have, length, piece_length)
            swarm.put_in_stock(fresh.indices(), self._rng)
            swarm.had_stock = swarm.in_stock.count_set > 0
            swarm.relay(relayed)
            return False
        before, swarm.have = swarm.have, have
        for piece in before.without(have).indices():
            swarm.lose(piece)
        self._restock(swarm, fresh.indices())
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
            self._sending.wake(session for session in swarm.sessions.values() if session.follows)
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

    def _end_all(self, sessions: Iterable[Session], state: Literal["no", "later"]) -> list[Effect]:
        ended = list(sessions)
        for session in ended:
            self._drop(session)
        return [Reply(one.route, Status(one.number, state)) for one in ended]

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
        key = route, message.session
        session = self._sessions.get(key)
        if session is None:
            if isinstance(message, Bye):
                return self._complaints(route, message)
            if key in self._told_over:
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
            self._drop(session, now)
            return self._complaints(route, message)
        return []

    def _complaints(self, route: bytes, message: Bye) -> list[Effect]:
        digest, sent = self._over.pop((route, message.session), ("", Bitfield(0)))
        return [Recheck(digest, piece) for piece in message.bad if digest in self._swarms and piece in sent]

    def piece_failed(self, session: Session, header: Piece, gone: bool) -> list[Effect]:
        """The piece of a `SendPiece` in the open ``session`` could not be read. One that is ``gone`` is taken off the
        bitfield and the receiver told; a disk that does not answer just now sends the receiver away for a while."""
        self._uplink.take_back(session, header)
        if not gone:
            self._drop(session)
            return [Reply(session.route, Status(session.number, "later"))]
        session.assigned.pop(header.piece, None)
        self._sending.wake([session])
        self.lost(session.swarm.digest, header.piece)
        return [not_held(session, header.piece)]

    def lost(self, digest: str, piece: int) -> None:
        """``piece`` of a download is not what was verified any more: it is sent to nobody."""
        swarm = self._swarms.get(digest)
        if swarm is not None:
            self._changed[digest] = None
            swarm.lose(piece)

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
        effects += self._send(now)
        changed, self._changed = self._changed, {}
        for digest in changed:
            swarm = self._swarms.get(digest)
            if swarm is not None:
                effects += self._tell_stock(swarm)
                room = swarm.may_have_assigned(now)
                if room != swarm.room:
                    swarm.room = room
                    effects.append(Room(digest, room))
        if self._sending.has_ready:
            effects += self._send(now)  # they waited while there was stock
        return effects

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None while there is no session."""
        if not self._sessions:
            return None
        return min(self._check_at, self._sending.next_deadline(now) or self._check_at)

    def _send(self, now: float) -> list[Effect]:
        effects = self._sending.send(now)
        self._changed.update((effect.digest, None) for effect in effects if isinstance(effect, SendPiece))
        return [*effects]

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
        is_idle = session is not None and self._sending.is_idle(now)
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
            self._sending.opened(session)
            self._told_over.pop(key, None)
            effects += self._tell_company(swarm, now)
        session.heard_at = now
        return [*effects, tell(session, is_idle)]

    def _tell_company(self, swarm: Swarm, now: float) -> list[Effect]:
        """Tell a receiver that was alone that it is not; now and then, since anybody may come and go."""
        told = [one for one in swarm.sessions.values() if one.told_alone]
        if len(swarm.sessions) == 1 or not told or now < swarm.company_told_at + CHECK_SECONDS:
            return []
        swarm.company_told_at = now
        return [tell(one) for one in told]

    def _tell_stock(self, swarm: Swarm) -> list[Effect]:
        """Tell those for whom there is stock again, and who waits to be assigned some when there is none."""
        sessions = swarm.sessions.values()
        has_stock = swarm.in_stock.count_set > 0
        if has_stock != swarm.had_stock or swarm.restocked:
            swarm.had_stock = has_stock
            swarm.restocked = False
            swarm.revision += 1
            if has_stock:
                return [tell(one) for one in sessions if not one.stocked and swarm.has_stock_for(one)]
            self._sending.wake_spare()
        return [] if has_stock else [tell(one) for one in sessions if one.asked]

    def _restock(self, swarm: Swarm, pieces: Iterable[int]) -> None:
        """Nobody relays ``pieces``: who waits to be assigned some may get them."""
        self._changed[swarm.digest] = None
        swarm.put_in_stock(pieces, self._rng)
        swarm.restocked = True
        self._sending.wake(one for one in swarm.sessions.values() if one.asked)

    def _follow(self, session: Session, message: Follow, now: float) -> list[Effect]:
        swarm = session.swarm
        try:
            skip = Bitfield.from_bytes(message.bits, swarm.have.size)
        except ProtocolError:
            return self._start_over(session)
        session.skip = skip
        session.had_elsewhere = skip.count_set
        swarm.note_spread(skip)
        if not session.begun:
            self._uplink.round_trips.measured(now - session.served_at)
        session.begun = True
        session.follows, session.mate = message.push, message.mate
        session.credit = message.credit
        session.position = session.promised = session.relays = session.would_relay = 0
        self._sending.wake([session])
        return []

    def _received(self, session: Session, message: Received, now: float) -> list[Effect]:
        count = message.count
        if count:
            if count > len(session.on_way) or session.on_way[count - 1].receipt != message.receipt:
                return self._start_over(session)  # it would have us keep ever more in memory that it never reads
            session.served_at, session.takes = now, True
            self._uplink.acknowledge(session, count, now)
        session.credit += message.credit
        self._sending.wake([session])
        return []

    def _relay(self, session: Session, message: Relay) -> list[Effect]:
        swarm = session.swarm
        for piece in message.assigned:
            if piece in swarm.in_stock:
                swarm.in_stock.clear(piece)
        if session.hoards or not swarm.in_stock.count_set:
            return [tell(session)]  # it would wait, and ask no other source meanwhile
        session.would_relay = min(message.count, session.relays + PIECES_TOLD_COUNT_MAX)
        self._sending.wake([session])
        return []

    def _get(self, session: Session, message: Get) -> list[Effect]:
        have = session.swarm.have
        missing = [piece for piece in message.pieces if piece not in have]
        room = PIECES_TOLD_COUNT_MAX - len(session.wanted)
        on_way = {sent.piece for sent in session.on_way}  # it took them back, too late, and asks again
        session.wanted.extend([piece for piece in message.pieces if piece in have and piece not in on_way][:room])
        self._sending.wake([session])
        return [not_held(session, piece) for piece in missing]

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
        swarm.has_by_now(session, bits, now)
        return []

    # --- time --------------------------------------------------------------------------------------------

    def _check(self, now: float) -> list[Effect]:
        effects = self._check_sessions(now)
        self._sending.look_over()
        effects += [Reply(route, NoSession(number)) for route, number in self._uplink.to_try(now)]
        for swarm in self._swarms.values():
            if swarm.sessions or swarm.orphans:
                effects += self._tell_company(swarm, now)
                back, hoarders = swarm.not_spread(now)
                if back:
                    self._restock(swarm, back)
                effects += [tell(session) for session in hoarders]
        if self._sending.is_idle(now):
            effects += [tell(one, True) for one in self._sessions.values() if one.told != (one.swarm.revision, True)]
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

    def _start_over(self, session: Session) -> list[Effect]:
        """Forget the session and say so: were its next `Test` to open a new one, it would wait for old promises."""
        self._drop(session)
        return [Reply(session.route, NoSession(session.number))]

    def _drop(self, session: Session, now: float | None = None) -> None:
        swarm = session.swarm
        digest, before = self._over.pop(session.key, ("", session.sent))
        same = digest == swarm.digest and before.size == session.sent.size
        sent = session.sent.either(before) if same else session.sent
        if sent.count_set:
            self._over[session.key] = swarm.digest, sent
        if len(self._over) > OVER_COUNT_MAX:
            del self._over[next(iter(self._over))]
        self._uplink.part_with(session)
        at = session.heard_at if now is None else now
        swarm.orphans.update((piece, at) for piece in session.assigned)
        del self._sessions[session.key]
        self._places.remove(session)
        del swarm.sessions[session.key]
        self._changed[swarm.digest] = None
        self._sending.dropped(session)
        if len(swarm.sessions) == 1:
            swarm.revision += 1
        elif not swarm.sessions:
            swarm.orphans.clear()
            self._restock(swarm, swarm.taken())

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
