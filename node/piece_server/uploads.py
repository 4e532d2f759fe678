"""What a piece server sends to whom: sessions, offers, slots. PROTOCOL.md, section 6.

Pure: `Uploads.handle` takes a message and the time and returns effects; the shell sends, reads the disk and calls
back. Owns the sessions of all swarms and the uplink they share. Leaves manifests and the bytes of pieces to the
shell.

The source chooses. Of what a receiver wants it offers the piece it has sent least often, then the one the receiver
likes best; receivers take turns. At most ``slots`` pieces, or batches of quick ones, are being sent at a time, some
more of complete content that many want, and twice as many or more where messages take long beside a piece (`slots`).
Beyond those that are free only as much is offered ahead as the handshake needs (`pace`). A piece counts as being sent
until its receiver says `Received`. A slow receiver takes a part of a slot. One that stalls gives its slot back, and
what is queued for it counts against a budget of its own.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest, nsmallest
from random import Random

from node.piece_server.accepted import Accepted
from node.piece_server.effects import Effect, Recheck, Reply, SendPieces
from node.piece_server.latency import BATCH_BYTES_MAX, Latency
from node.piece_server.pace import Pace
from node.piece_server.session import Promise, Session, SessionKey, Swarm
from node.piece_server.slots import Slots
from node.piece_server.turns import Turns
from node.rate_limit import TokenBucket
from protocol.bitfield import Bitfield
from protocol.limits import (
    HAVE_COUNT_MAX,
    OFFER_EXPIRY_SECONDS,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSION_SILENT_SECONDS,
    SESSIONS_COUNT_MAX,
    STALLED_BYTES_MAX,
)
from protocol.messages import (
    Accept,
    Bye,
    Have,
    NoSession,
    NotHeld,
    Offer,
    Received,
    Refusal,
    Refuse,
    Status,
    Test,
    Want,
    Withdrawn,
    offers_of,
)

UploadRequest = Test | Want | Accept | Refuse | Received | Bye

STALLED_SECONDS_MAX = 60.0
"""A session that stays stalled this long is started over: a lost acknowledgement must not wedge it for ever."""
CHECK_SECONDS = 0.5
"""How often sessions are looked over for expired offers, stalls, silence and slowness. What merely takes long leaves
part of a slot free, which is noticed then too."""


class Uploads:
    """All sessions of one piece server. ``slots`` pieces are sent at a time, and some more as `Slots` says; ``rate`` in
    bytes/s, 0 unlimited. ``rng`` is for `Turns`."""

    def __init__(self, slots: int, rate: float, now: float, rng: Random) -> None:
        self.serving = True
        self._bucket = TokenBucket(rate, now)
        self._swarms: dict[str, Swarm] = {}
        self._sessions: dict[SessionKey, Session] = {}
        self._turns = Turns(rng)
        self._offers = 0
        self._ahead = 0
        self._accepted = Accepted()
        self._stalled_bytes = 0
        self._pace = Pace()
        self._latency = Latency()
        self._slots = Slots(slots, self._pace, self._latency)
        self._news_at: float | None = None
        self._check_at = now

    # --- what is served ----------------------------------------------------------------------------------

    def serve(self, digest: str, have: Bitfield, length: int, piece_length: int) -> None:
        """Serve the pieces ``have`` of content ``digest``; known content gets the new bitfield, its sessions stay."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            self._swarms[digest] = Swarm(digest, have, length, piece_length, [0] * have.size)
            return
        if swarm.have is have:
            return
        news = list(have.without(swarm.have).indices())
        lost = list(swarm.have.without(have).indices())
        swarm.have = have
        self._note_lost(swarm, lost)
        for session in swarm.sessions.values():
            session.news.extend(piece for piece in news if piece not in session.delivered)
        if self._news_at is None:
            self._news_at = self._check_at

    def held(self, digest: str, pieces: list[int], now: float) -> list[Effect]:
        """``pieces`` of a partial download are verified and on disk now: tell its sessions, at once when due."""
        swarm = self._swarms.get(digest)
        if swarm is None:
            return []
        for piece in pieces:
            swarm.have.set(piece)
        for session in swarm.sessions.values():
            session.news.extend(piece for piece in pieces if piece not in session.delivered)
        if self._news_at is None:
            self._news_at = now + self._pace.news_seconds()
        return self.tick(now)

    def withdraw(self, digest: str) -> list[Effect]:
        """Stop serving ``digest``; its sessions are told."""
        swarm = self._swarms.pop(digest, None)
        if swarm is None:
            return []
        sessions = list(swarm.sessions.values())
        for session in sessions:
            self._drop(session)
        return [Reply(session.route, Status(session.number, "no", b"", 0)) for session in sessions]

    def set_serving(self, serving: bool) -> list[Effect]:
        """Pause or resume everything: while paused every `Test` is answered with ``later``."""
        self.serving = serving
        if serving:
            return []
        sessions = list(self._sessions.values())
        for session in sessions:
            self._drop(session)
        return [Reply(session.route, Status(session.number, "later", b"", 0)) for session in sessions]

    # --- figures for reports -----------------------------------------------------------------------------

    def sent_bytes(self) -> dict[str, int]:
        return {swarm.digest: swarm.sent_bytes for swarm in self._swarms.values()}

    def sessions_of(self, digest: str) -> int:
        swarm = self._swarms.get(digest)
        return len(swarm.sessions) if swarm else 0

    @property
    def queued_pieces(self) -> int:
        return len(self._slots) + len(self._accepted)

    # --- events ------------------------------------------------------------------------------------------

    def handle(self, route: bytes, message: UploadRequest, now: float) -> list[Effect]:
        """One message of a receiver."""
        if isinstance(message, Test):
            return self._test(route, message, now)
        session = self._sessions.get((route, message.session))
        if session is None:
            return [] if isinstance(message, Bye) else [Reply(route, NoSession(message.session))]
        session.heard_at = now
        effects: list[Effect] = []
        if isinstance(message, Want):
            self._want(session, message)
        elif isinstance(message, Accept):
            effects = self._accept(session, message, now)
        elif isinstance(message, Refuse):
            for offer in offers_of(message):
                self._refuse(session, offer, message.reason)
        elif isinstance(message, Received):
            self._received(session, offers_of(message), now)
        else:
            effects = [Recheck(session.swarm.digest, piece) for piece in message.bad if session.was_sent(piece)]
            self._drop(session)
        return [*effects, *self._fill(now)]

    def piece_failed(self, route: bytes, session: int, offer: int, gone: bool, now: float) -> list[Effect]:
        """A piece of a `SendPieces` could not be read. One that is ``gone`` is taken off the bitfield and the receiver
        told; a disk that does not answer just now sends the receiver away for a while."""
        found = self._sessions.get((route, session))
        if found is None or offer not in found.promises:
            return []
        piece = found.promises[offer].piece
        self._take_back(found, offer)
        if not gone:
            self._drop(found)
            return [Reply(route, Status(session, "later", b"", self.queued_pieces)), *self._fill(now)]
        self.lost(found.swarm.digest, piece)
        return [Reply(route, NotHeld(session, piece)), *self._fill(now)]

    def lost(self, digest: str, piece: int) -> None:
        """``piece`` of a download is not what was verified any more: it is offered to nobody."""
        swarm = self._swarms.get(digest)
        if swarm is not None:
            swarm.have.clear(piece)
            self._note_lost(swarm, [piece])

    def unreachable(self, route: bytes, session: int, now: float) -> list[Effect]:
        """libzmq could not take a message for ``route``: its connection is gone or full. Forget the session."""
        found = self._sessions.get((route, session))
        if found is None:
            return []
        self._drop(found)
        return self._fill(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due: expire offers and sessions, notice stalls, tell news, send what the rate limit held back."""
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            for swarm in self._swarms.values():
                self._pace.compare(swarm)
            self._latency.compare(self._sessions.values())
            checked = [self._check_session(session, now) for session in list(self._sessions.values())]
            effects = [effect for some in checked for effect in some]
        return [*effects, *self._tell_news(now), *self._fill(now)]

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None while there is no session."""
        if not self._sessions:
            return None
        due = self._check_at
        if self._news_at is not None:
            due = min(due, self._news_at)
        if self._may_send_next(now):
            due = min(due, self._bucket.ready_at(now))
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
            return [Reply(route, Status(message.session, "later", b"", self.queued_pieces))]
        if swarm is None:
            return [Reply(route, Status(message.session, "no", b"", self.queued_pieces))]
        if session is None:
            if self._sessions_over(route) >= ROUTE_SESSIONS_COUNT_MAX or not self._make_room():
                return [Reply(route, Status(message.session, "later", b"", self.queued_pieces))]
            session = Session(route, message.session, swarm, now)
            self._sessions[key] = swarm.sessions[key] = session
        session.heard_at = now
        session.news.clear()
        state = Status(message.session, "complete", b"", self.queued_pieces)
        if not swarm.have.full:
            state = Status(message.session, "partial", swarm.have.to_bytes(), self.queued_pieces)
        return [Reply(route, state), *self._fill(now)]

    def _make_room(self) -> bool:
        """Whether there is room for one more session, if need be in place of one that has never wanted anything."""
        if len(self._sessions) < SESSIONS_COUNT_MAX:
            return True
        idle = next((s for s in self._sessions.values() if not s.revision and not s.promises), None)
        if idle is not None:
            self._drop(idle)
        return idle is not None

    def _sessions_over(self, route: bytes) -> int:
        return sum(1 for other, _ in self._sessions if other == route)

    def _want(self, session: Session, message: Want) -> None:
        if message.revision <= session.revision:
            return
        is_first = not session.revision
        session.revision, session.batches = message.revision, message.batches
        promised, have = session.promised, session.swarm.have
        session.wanted = {
            piece: place for place, piece in enumerate(message.pieces) if piece in have and piece not in promised
        }
        self._turns.asked(session, is_first)

    def _accept(self, session: Session, message: Accept, now: float) -> list[Effect]:
        effects: list[Effect] = []
        accepted: list[int] = []
        for offer in offers_of(message):
            promise = session.promises.get(offer)
            if promise is None:
                effects.append(self._withdrawn(session, offer))
            elif not promise.accepted:
                if not accepted:
                    self._answered(session, promise, now)
                promise.accepted = True
                promise.offered_at = now
                accepted.append(offer)
        self._accepted.add(session, accepted, max(1, BATCH_BYTES_MAX // session.swarm.piece_length))
        return effects

    def _answered(self, session: Session, promise: Promise, now: float) -> None:
        """It accepts what it was promised."""
        seconds = now - promise.offered_at
        self._pace.answered(session, seconds)
        if not promise.behind:
            self._latency.answered(session, seconds)

    def _refuse(self, session: Session, offer: int, reason: Refusal) -> None:
        promise = session.promises.get(offer)
        if promise is None or promise.accepted:
            return
        self._take_back(session, offer)
        if reason == "full":
            session.wanted.clear()
            self._turns.has_no_room(session)

    def _received(self, session: Session, offers: list[int], now: float) -> None:
        arrived = 0
        for offer in offers:
            promise = session.promises.get(offer)
            if promise is None or promise.sent_at is None:
                continue
            seconds = now - promise.sent_at
            self._pace.received(session, seconds)
            session.delivered.add(promise.piece)
            self._end_promise(session, offer)
            arrived += 1
        if not arrived:
            return
        self._latency.received(session, seconds, arrived, now, self.queued_pieces > 0)
        if session.stalled and not session.is_sent_something:
            session.stalled = False
            self._turns.update(session)

    # --- the uplink --------------------------------------------------------------------------------------

    def _fill(self, now: float) -> list[Effect]:
        """Start what the free slots allow: first send what was accepted, then offer ahead."""
        effects: list[Effect] = []
        while self._may_send_next(now) and self._bucket.ready_at(now) <= now:
            effects += self._send_next(now)
        slots = self._slots.count
        ahead = self._pace.ahead(slots)
        while self._ahead < slots and self._slots.any_free(self._ahead - ahead, now):
            receiver = self._turns.next(slots, may_wait=ahead > 0)
            if receiver is None:
                break
            count = min(self._batch(receiver), len(receiver.wanted))
            promised = self._ahead + count
            if promised > self._slots.at_once(receiver.swarm):
                break
            if not self._slots.is_free(receiver, promised - 1 - ahead, now):
                break
            effects.append(self._offer(receiver, count, now))
        return effects

    def _may_send_next(self, now: float) -> bool:
        """Whether there is a slot for what was accepted next; a batch takes more than there are rather than to wait
        for so many as there may never be again."""
        return bool(self._accepted) and self._slots.is_free(self._accepted.next[0], 0, now)

    def _send_next(self, now: float) -> list[Effect]:
        """Send what was accepted next, as far as it is here."""
        session, offers = self._accepted.next
        swarm, promises = session.swarm, session.promises
        effects: list[Effect] = []
        for offer in [offer for offer in offers if promises[offer].piece not in swarm.have]:
            effects.append(Reply(session.route, NotHeld(session.number, promises[offer].piece)))
            self._take_back(session, offer)
        if not offers:
            return effects
        self._accepted.take_next()
        self._ahead -= len(offers)
        for offer in offers:
            promise = promises[offer]
            promise.sent_at = now
            self._slots.take(session, offer)
            self._bucket.spend(promise.size, now)
            swarm.sent_bytes += promise.size
        sent = tuple((offer, promises[offer].piece) for offer in offers)
        return [*effects, SendPieces(session.route, session.number, swarm.digest, sent)]

    def _batch(self, session: Session) -> int:
        """How many pieces go to it together: one while it is not known to be quick, whose others are."""
        if not session.batches or session.piece_seconds is None or self._pace.is_slow(session):
            return 1
        return self._latency.batch_of(session.swarm)

    def _offer(self, session: Session, count: int, now: float) -> Effect:
        """Offer ``count`` pieces that it wants."""
        sent, wanted = session.swarm.sent, session.wanted
        choose = nlargest if self._pace.is_slow(session) else nsmallest
        pieces = choose(count, wanted, key=sent.__getitem__)  # of equals the first, which the receiver prefers
        first = self._offers + 1
        behind = session.is_sent_something
        for piece in pieces:
            del wanted[piece]
            sent[piece] += 1
            self._offers += 1
            session.promises[self._offers] = Promise(piece, session.swarm.piece_size(piece), now, behind)
        self._turns.offered(session)
        self._ahead += count
        spare = not self._slots or not self._slots.is_free(session, self._ahead - 1, now)
        at_once = self._slots.more_at_once(session.swarm)
        offer = Offer(session.number, first, session.revision, pieces[0], spare, at_once, pieces[1:])
        return Reply(session.route, offer)

    def _note_lost(self, swarm: Swarm, pieces: list[int]) -> None:
        """``pieces`` are not here any more: they are offered to nobody; `_fill` sees to what is promised."""
        for session in swarm.sessions.values():
            for piece in pieces:
                session.wanted.pop(piece, None)
            self._turns.update(session)

    def _end_promise(self, session: Session, offer: int) -> None:
        """Take a promise off the books and give back what it held: a slot, a place ahead, or stalled bytes."""
        promise = session.promises.pop(offer)
        if promise.sent_at is None:
            self._ahead -= 1
            if promise.accepted:
                self._accepted.remove(session, offer)
        elif session.stalled:
            self._stalled_bytes -= promise.size
        else:
            self._slots.give_back(offer)

    def _drop(self, session: Session) -> None:
        for offer in list(session.promises):
            self._take_back(session, offer)
        del self._sessions[session.key]
        del session.swarm.sessions[session.key]
        self._turns.remove(session)

    # --- time --------------------------------------------------------------------------------------------

    def _check_session(self, session: Session, now: float) -> list[Effect]:
        silent = now - session.heard_at > SESSION_SILENT_SECONDS
        if silent or (session.stalled and now - session.stalled_at > STALLED_SECONDS_MAX):
            return self._start_over(session)
        expired = session.unanswered(now - OFFER_EXPIRY_SECONDS)
        for offer in expired:
            self._take_back(session, offer)
        if expired:
            session.wanted.clear()
            self._turns.update(session)
        effects = [self._withdrawn(session, offer) for offer in expired]
        if not session.stalled and now - session.sending_since(now) > self._pace.patience(session):
            effects += self._stall(session, now)
        return effects

    def _start_over(self, session: Session) -> list[Effect]:
        """Forget the session and say so: were its next `Test` to open a new one, it would wait for old promises."""
        self._drop(session)
        return [Reply(session.route, NoSession(session.number))]

    def _stall(self, session: Session, now: float) -> list[Effect]:
        """Give its slots to others: what it was promised is withdrawn, what was sent counts as stalled."""
        unsent = [offer for offer, promise in session.promises.items() if promise.sent_at is None]
        for offer in unsent:
            self._take_back(session, offer)
        self._pace.stalled()
        session.stalled = True
        session.stalled_at = now
        self._turns.update(session)
        for offer in session.promises:
            self._slots.give_back(offer)
        self._stalled_bytes += sum(promise.size for promise in session.promises.values())
        if self._stalled_bytes > STALLED_BYTES_MAX:
            return self._start_over(session)
        return [self._withdrawn(session, offer) for offer in unsent]

    def _take_back(self, session: Session, offer: int) -> None:
        """A promise that was not kept, or of which it is not known, does not count as sent."""
        session.swarm.sent[session.promises[offer].piece] -= 1
        self._end_promise(session, offer)

    def _withdrawn(self, session: Session, offer: int) -> Effect:
        return Reply(session.route, Withdrawn(session.number, offer))

    def _tell_news(self, now: float) -> list[Effect]:
        if self._news_at is None or now < self._news_at:
            return []
        self._news_at = None
        effects: list[Effect] = []
        for session in self._sessions.values():
            for start in range(0, len(session.news), HAVE_COUNT_MAX):
                batch = session.news[start : start + HAVE_COUNT_MAX]
                effects.append(Reply(session.route, Have(session.number, batch)))
            session.news.clear()
        return effects

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        promises = [(s, p) for s in self._sessions.values() for p in s.promises.values()]
        assert self._ahead == sum(1 for _, p in promises if p.sent_at is None)
        assert self._stalled_bytes == sum(p.size for s, p in promises if p.sent_at is not None and s.stalled)
        offers = [(o, p) for s in self._sessions.values() for o, p in s.promises.items()]
        self._accepted.check_invariants([o for o, p in offers if p.accepted and p.sent_at is None])
        assert 0 <= self._ahead <= self._slots.count_max
        assert self._stalled_bytes <= STALLED_BYTES_MAX
        assert len(self._sessions) <= SESSIONS_COUNT_MAX
        over = Counter(route for route, _ in self._sessions)
        assert max(over.values(), default=0) <= ROUTE_SESSIONS_COUNT_MAX
        flowing = [session for session in self._sessions.values() if not session.stalled]
        self._slots.check_invariants([o for s in flowing for o, p in s.promises.items() if p.sent_at is not None])
        self._turns.check_invariants(self._sessions)
        for swarm in self._swarms.values():
            assert all(count >= 0 for count in swarm.sent)
            assert all(self._sessions[key] is session for key, session in swarm.sessions.items())
        for session in self._sessions.values():
            assert not set(session.wanted) & session.promised
            assert all(piece in session.swarm.have for piece in session.wanted)
