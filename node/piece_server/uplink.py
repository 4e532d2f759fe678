"""What is on its way from a piece server to its receivers, and how much may be. PROTOCOL.md, section 6.

Pure. Owns what was sent and is not acknowledged, and which receivers are late. Leaves who is sent what to `uploads`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.pace import Average, RoundTrips
from node.piece_server.swarm import OnWay, Ration, Session
from node.rate_limit import TokenBucket
from protocol.limits import SESSION_PIECES_COUNT_MAX, SOURCES_PER_DOWNLOAD_COUNT_MAX, STALLED_BYTES_MAX
from protocol.messages import Piece

ON_WAY_BYTES_MAX = 4 * STALLED_BYTES_MAX
"""Of pieces on their way, besides one to each receiver."""
ASSIGNED_COUNT_MAX = SOURCES_PER_DOWNLOAD_COUNT_MAX
"""Assigned pieces on their way at a time. A receiver's downlink is shared by as many sources, so this many fill the
uplink; with more the first ones of a large swarm would all come late."""
ANSWERED_COUNT_MAX = 16
"""Pieces that were asked for by number and are on their way at a time. Those that wait can still be cancelled: near the
end all receivers ask whoever is idle, and get most of it elsewhere."""
SPARE_COUNT = 4
"""A source pushes pieces of its own stock only while fewer pieces than this, of any kind, are on their way: more would
delay receivers that ask to be assigned some."""
LATE_FACTOR, LATE_SECONDS_MIN, LATE_SECONDS_FIRST = 3.0, 0.1, 30.0
"""A receiver that takes so many times as long as is usual for a piece, and at least this long, has stalled, or nearly:
what is on its way there says nothing of the uplink. The last is for when it is not known yet what is usual."""
LEFT_SECONDS = 1.0
"""A connection whose session ended with something on its way is tried again after this time, then after twice as long,
and so on: the bytes count until it is gone, and if it only hangs, all tries arrive at once."""


@dataclass(slots=True)
class Left:
    """``size`` bytes were on their way when sessions ended, the last of them ``number``; to be tried at ``try_at``."""

    size: int
    number: int
    try_at: float = 0.0
    wait: float = LEFT_SECONDS


class Uplink:
    """That of one piece server."""

    def __init__(self, now: float) -> None:
        self.bucket = TokenBucket(0.0, now)
        self.round_trips = RoundTrips()
        self.assignments = Ration(ASSIGNED_COUNT_MAX, self.round_trips)
        self.answers = Ration(ANSWERED_COUNT_MAX, self.round_trips)
        self.spare = Ration(SPARE_COUNT, self.round_trips)
        """Of all pieces, unless their receivers are late: while it is not used up a source may push pieces of its own
        stock."""
        self._bytes = 0
        """On their way to sessions that are not late."""
        self._late_bytes = 0
        """Bytes that are on their way to sessions that are late..."""
        self._left_bytes = 0
        """...and that were to sessions that ended, over connections that are still there."""
        self._left: dict[bytes, Left] = {}
        """By route, what was on its way to sessions that ended before all was acknowledged."""
        self._usual = Average(0.05)
        """Seconds a piece is on its way."""

    @property
    def pieces(self) -> int:
        """On their way to receivers that are not late."""
        return self.spare.taken

    @property
    def has_waiting(self) -> bool:
        """Whether a session waits for its turn."""
        return bool(self.answers.waiting or self.assignments.waiting or self.spare.waiting)

    def may_send(self, session: Session) -> bool:
        """Where too much is on its way, or stalled, nobody has more than one piece on its way: else one receiver that
        gives credit and acknowledges nothing would stop all others."""
        if not session.credit or len(session.on_way) >= SESSION_PIECES_COUNT_MAX:
            return False
        too_much = self._bytes >= ON_WAY_BYTES_MAX or self._late_bytes + self._left_bytes > STALLED_BYTES_MAX
        return not (too_much and session.on_way)

    def send(self, session: Session, sent: OnWay) -> None:
        """A piece goes on its way."""
        session.credit -= 1
        session.on_way.append(sent)
        self._count(session, sent, 1)
        self.bucket.spend(sent.size, sent.at)

    def take_back(self, session: Session, header: Piece) -> None:
        """The piece of ``header`` was not sent."""
        it = header.piece, header.receipt
        sent = next((one for one in session.on_way if (one.piece, one.receipt) == it), None)
        if sent is None:
            return
        session.on_way.remove(sent)
        self._count(session, sent, -1)
        session.credit += 1
        session.late &= bool(session.on_way)
        session.relays -= header.relay

    def acknowledge(self, session: Session, count: int, now: float) -> None:
        """``count`` of the pieces that are on their way have arrived."""
        for _ in range(count):
            sent = session.on_way.popleft()
            self._count(session, sent, -1)
            self._measured(now - sent.at)
            self.spare.arrived.note(now)
            if sent.ration is not None:
                sent.ration.arrived.note(now)
        if session.late:
            self._set_late(session, False)

    def part_with(self, session: Session) -> None:
        """The session is over. What is on its way counts as long as its connection is there."""
        if session.on_way:
            if not session.late:
                self._set_late(session, True)
            size = sum(sent.size for sent in session.on_way)
            self._late_bytes -= size
            self._left_bytes += size
            before = self._left.get(session.route)
            self._left[session.route] = Left(size + (before.size if before else 0), session.number)
        for ration in (self.answers, self.assignments, self.spare):
            ration.waiting.pop(session, None)

    def is_left(self, route: bytes) -> bool:
        """Whether something may still be on its way over ``route`` to sessions that are over."""
        return route in self._left

    def lost(self, route: bytes) -> None:
        """The connection is gone."""
        if route in self._left:
            self._left_bytes -= self._left.pop(route).size

    # --- time --------------------------------------------------------------------------------------------

    def look(self, sessions: Iterable[Session], now: float) -> list[Session]:
        """See which of ``sessions`` are late. Returns those that are to end, as too much is on its way to late ones."""
        usual = self._usual.value
        allowed = LATE_SECONDS_FIRST if usual is None else max(LATE_SECONDS_MIN, LATE_FACTOR * usual)
        late = []
        for session in sessions:
            if not session.late and session.on_way and now - session.on_way[0].at > allowed:
                self._set_late(session, True)
            if session.late:
                late.append(session)
        late.sort(key=lambda session: session.on_way[0].at)
        excess, ended = self._late_bytes - STALLED_BYTES_MAX, []
        for session in late:
            if excess <= 0:
                break
            excess -= sum(sent.size for sent in session.on_way)
            ended.append(session)
        return ended

    def to_try(self, now: float) -> list[tuple[bytes, int]]:
        """Routes, and their last sessions, of which it is time to see whether the connection is still there."""
        due = {route: left for route, left in self._left.items() if now >= left.try_at}
        for left in due.values():
            left.try_at = now + left.wait
            left.wait *= 2
        return [(route, left.number) for route, left in due.items()]

    # --- the counts --------------------------------------------------------------------------------------

    def _measured(self, seconds: float) -> None:
        """A piece was acknowledged so long after it was sent."""
        usual = self._usual.value
        self._usual.add(seconds if usual is None else min(seconds, LATE_FACTOR * usual + LATE_SECONDS_MIN))

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
        self.spare.taken += by
        self._bytes += by * sent.size
        if sent.ration is not None:
            sent.ration.taken += by

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self, sessions: Iterable[Session]) -> None:
        """Raise AssertionError when the counts are not those of ``sessions``, which are all there are."""
        all_ = list(sessions)
        fast = [sent for session in all_ if not session.late for sent in session.on_way]
        assert self.spare.taken == len(fast)
        assert self._bytes == sum(sent.size for sent in fast)
        for ration in (self.answers, self.assignments):
            assert ration.taken == sum(sent.ration is ration for sent in fast)
        for ration in (self.answers, self.assignments, self.spare):
            assert all(session in all_ for session in ration.waiting)
        assert self._late_bytes == sum(sent.size for session in all_ if session.late for sent in session.on_way)
        assert self._left_bytes == sum(left.size for left in self._left.values())
        assert all(session.on_way or not session.late for session in all_)
