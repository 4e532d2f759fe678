"""Whose turn it is, and what is sent then. PROTOCOL.md, section 6.

Pure. Owns the order of the sessions. Leaves what is on its way to `uplink`, which pieces there are to `swarm`, and whom
to serve to `uploads`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from statistics import median_low

from node.piece_server.swarm import AHEAD_COUNT, OnWay, Ration, Session, SessionKey
from node.piece_server.uplink import SPARE_COUNT, Uplink
from protocol.limits import PIECES_TOLD_COUNT_MAX
from protocol.messages import NoSession, NotHeld, Piece, Status

IDLE_SECONDS = 0.1
"""A source that has had nothing to send for so long says so."""


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


Effects = list[Reply | SendPiece]


def tell(session: Session, idle: bool = False) -> Reply:
    """Say how it is with the content; ``idle``: there is nothing to send."""
    return Reply(session.route, session.swarm.tell(session, idle))


def not_held(session: Session, piece: int) -> Reply:
    return Reply(session.route, NotHeld(session.number, piece))


class Sending:
    """To the ``sessions`` of one piece server, which are all that are open. ``rng`` as in `Uploads`."""

    def __init__(self, sessions: Mapping[SessionKey, Session], uplink: Uplink, rng: Random) -> None:
        self._sessions, self._uplink, self._rng = sessions, uplink, rng
        self._ready: OrderedDict[Session, None] = OrderedDict()
        """Sessions with credit that there may be something to send to, in turn."""
        self._turn_bytes = 0
        """How much one is sent when it is its turn: a piece, of the longest there are."""
        self.idle_since: float | None = None

    def opened(self, session: Session) -> None:
        self._turn_bytes = max(self._turn_bytes, session.swarm.piece_length)

    def dropped(self, session: Session) -> None:
        self._ready.pop(session, None)

    def look_over(self) -> None:
        """Now and then: some may have been dropped."""
        self._turn_bytes = max((session.swarm.piece_length for session in self._sessions.values()), default=0)

    def wake(self, sessions: Iterable[Session]) -> None:
        """There may be something to send to ``sessions``."""
        self._ready.update((session, None) for session in sessions if session.credit)

    def wake_spare(self) -> None:
        """Nobody asks any more to be assigned pieces, for whom there is to be room."""
        waiting = self._uplink.spare.waiting
        self._ready.update(waiting)
        waiting.clear()

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def is_idle(self, now: float) -> bool:
        return self.idle_since is not None and now - self.idle_since >= IDLE_SECONDS

    def next_deadline(self, now: float) -> float | None:
        """When the rate allows something that there may be to send."""
        ready = self._uplink.bucket.ready_at(now) if self._has_turns else now
        return ready if ready > now else None

    def send(self, now: float) -> Effects:
        """Send what there is credit for: sessions take turns."""
        effects: Effects = []
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
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = now
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
                swarm.relayed_before += swarm.relay([piece], own=True)
                self.wake(followers)
                return True
        return False

    def _send_next(self, session: Session, effects: Effects, now: float) -> bool:
        """Send the next piece for ``session``; False when there is none."""
        swarm = session.swarm
        have, wanted = swarm.have, session.wanted
        if wanted and self._uplink.answers.is_used_up(now):
            self._uplink.answers.waiting[session] = None
        while wanted and not self._uplink.answers.is_used_up(now):
            piece = wanted.popleft()
            if piece in have:
                relay = swarm.is_assigned_by_number(piece) and not session.hoards
                if relay:
                    swarm.in_stock.clear(piece)
                self._send(session, piece, relay, self._uplink.answers, effects, now)
                return True
            effects.append(not_held(session, piece))
        if session.asked and self._uplink.assignments.is_used_up(now):
            self._uplink.assignments.waiting[session] = None
        elif session.asked and swarm.in_stock.count_set and swarm.in_time(session):
            found = swarm.take_from_stock(session)
            if found is not None:
                swarm.note_assigned(session, now)
                self._send(session, found, True, self._uplink.assignments, effects, now)
                return True
            effects.append(tell(session))
        return session.follows and self._push_next(session, effects, now)

    def _push_next(self, session: Session, effects: Effects, now: float) -> bool:
        """Send the next relayed piece that ``session`` lacks; False when there is none."""
        swarm = session.swarm
        have, skip, relayed, spare = swarm.have, session.skip, session.queue, self._uplink.spare
        while session.position < len(relayed):
            piece = relayed[session.position]
            if swarm.relays.get(piece) and piece not in skip and swarm.in_stock.count_set and spare.is_used_up(now):
                spare.waiting[session] = None
                return False
            session.position += 1
            if piece in skip:
                continue
            if piece in have:
                swarm.pushes.note(now)
                self._send(session, piece, False, None, effects, now)
                return True
            if session.position <= session.promised:
                effects.append(not_held(session, piece))
        return False

    def _send(
        self,
        session: Session,
        piece: int,
        relay: bool,
        ration: Ration | None,
        effects: Effects,
        now: float,
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
        hand_on = session.mate == "column" and piece in swarm.relays
        header = Piece(session.number, piece, relay, promised, receipt, hand_on)
        effects.append(SendPiece(session.route, swarm.digest, header, session))
