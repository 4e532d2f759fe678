"""One download: what is asked of whom, until every piece is verified. PROTOCOL.md, section 6.

Pure. `Download` takes what happened and the time and returns effects; the shell opens connections, sends, verifies,
writes and calls back. Leaves the state of each piece to `pieces`, who the sources are to `source`, and files to the
shell.

Every source pushes what it relays, as far as its credit goes. Besides, a download has pieces of a source's stock
assigned to it, as many as its own piece server has room for (`room`), and asks idle sources for pieces by number: open
ones, or some that another source has promised and would bring later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from random import Random
from statistics import median
from typing import NamedTuple

from node.downloader.bottleneck import Cause, Waits
from node.downloader.pieces import Pieces
from node.downloader.source import (
    NO_ANSWER,
    UNABLE,
    Banned,
    Connect,
    Disconnect,
    Farewell,
    Send,
    Source,
    SourcePool,
    SourceState,
    Trouble,
)
from node.rate_limit import ROUND_TRIP_SECONDS_MAX, TRIPS_COUNT, Budget, Share
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
from protocol.limits import PIECES_TOLD_COUNT_MAX
from protocol.messages import (
    Bye,
    Cancel,
    Error,
    Follow,
    Get,
    Have,
    ManifestPage,
    NoSession,
    NotHeld,
    Piece,
    Push,
    Received,
    Relay,
    SeederEntry,
    Status,
    Test,
)

STARVED_SECONDS = 2.0
"""A receiver that has been pushed nothing for so long depends on what it is assigned."""
CHECK_SECONDS = 0.25
"""How often silence and overdue pieces are looked for."""
NEED_SOURCES_SECONDS = 1.0
PREFERRED_COUNT = 4
"""So many sources at a time make way for candidates that were passed over while every source owed something."""
MAKE_ROOM_COUNT = 8
"""So many useless sources give way at a time, when all places are taken by useless ones and others are known."""
CREDIT_COUNT, CREDIT_BYTES = 16, 16 * 2**20
"""Pieces that may be on their way, and their bytes, shared among the sources; one from each at least. One is enough
where there are many; few must fill the link while messages are on their way."""
QUICK_SECONDS = 0.05
"""As many pieces as came within so long may be on their way, if that is more: where all are quick it is not the links
that take the time, but processes that wait for their turn."""
ROOM_COUNT = 1
"""Pieces to ask to be assigned until this peer's piece server has said how many."""
HAVE_SECONDS = 2.0
"""How often sources that assign pieces are told what has come."""
OVERDUE_FACTOR, OVERDUE_SECONDS_MIN, OVERDUE_SECONDS_FIRST = 4.0, 2.0, 10.0
"""A source that takes so many times as long for a piece as it or others usually do, at least this long, and as long as
this link needs for all that there is credit for, is snubbing us (BEP 3): others may send what it owes. The last is for
when no piece has arrived yet."""
STUCK_SECONDS = 60.0
"""A source that owes a piece this long is closed and opened anew, even when there is no other."""


@dataclass(frozen=True, slots=True)
class Write:
    """Verify what came with the `Piece` just handled and write it; then call `Download.written`."""

    piece: int


@dataclass(frozen=True, slots=True)
class Gained:
    """The piece is verified and on disk. ``relay``: this peer is to push it to its followers; ``hand_on``: to those
    in its row."""

    piece: int
    relay: bool
    hand_on: bool = False


@dataclass(frozen=True, slots=True)
class NeedSources:
    """No source can send what is missing."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Every piece is verified and on disk."""


Effect = Connect | Disconnect | Send | Write | Gained | Banned | NeedSources | Completed
SourceMessage = Status | NotHeld | NoSession | ManifestPage | Error


class _Owed(NamedTuple):
    """``source`` is to send ``piece`` in so many ``seconds``."""

    seconds: float
    piece: int
    source: Source

    @property
    def is_owed(self) -> bool:
        """Still."""
        return self.piece in self.source.gets or self.piece in self.source.promised


class Download:
    """The download of ``digest``: ``length`` bytes in pieces of ``piece_length``, of which ``have`` is there already.

    ``budget`` is shared by all downloads of the process; ``pool`` may have the source that gave the manifest. After
    every call the shell calls `tick` once (a batch of calls is fine) and again at `next_deadline`.
    """

    def __init__(
        self,
        digest: str,
        length: int,
        piece_length: int,
        have: Bitfield,
        budget: Budget,
        pool: SourcePool,
        rng: Random,
        sequential: bool = False,
    ) -> None:
        self._digest = digest
        self._pieces = Pieces(length, piece_length, have, rng)
        self._budget, self._share = budget, Share(budget)
        self._pool = pool
        pool.fetch_pieces(have.size, piece_length)
        self._sequential = sequential
        self._asks_all = sequential
        """Whether pieces are asked for by number of sources that are busy too: where there are more than one can be
        connected to, most of what is relayed is pushed by others."""
        self._rng = rng
        self._writing: dict[int, tuple[SeederEntry, bool, bool]] = {}
        """Who sent a piece, whether it is to be relayed, and whether to be handed on."""
        self._aside: dict[int, None] = {}
        """Pieces that nobody is asked for, since they are read from other content of this machine."""
        self._relays = 0
        """Pieces assigned to this peer since `restart_relaying`."""
        self._room = ROOM_COUNT
        self._ready = 0
        """Sources that have answered."""
        self._stocked: dict[Source, None] = {}
        """Sources that would assign pieces, and are asked to."""
        self._unsaid: dict[Source, None] = {}
        """Sources to which there is something to say."""
        self._able: dict[Source, None] = {}
        """Sources that may be asked for pieces by number."""
        self.spread = Bitfield(have.size)
        """Pieces that others relay, as far as is known; do not change."""
        self._completed = False
        self._paused = False
        self._check_at = self._needed_at = self._have_at = float("-inf")
        self._arrived = 0
        """Pieces that have come, of whatever use..."""
        self._arrived_at = 0.0
        """...when the last one did, and seconds from one to the next: moving average."""
        self._pace: float | None = None
        self._assigned_lately: deque[bool] = deque(maxlen=CREDIT_COUNT)
        """Whether the last pieces that came were assigned to this peer, or pushed by others..."""
        self._pushed_at = 0.0
        """...and when one last was pushed."""
        self._recent: deque[float] = deque()
        """When the last pieces came."""
        self._round_trip = ROUND_TRIP_SECONDS_MAX
        """Seconds that the source which answered the soonest took for it: a message may wait behind pieces."""
        self.received_bytes = 0
        self.reused_bytes = 0
        self.received_from: dict[str, int] = {}
        """Bytes by peer id, of sources that are gone too."""
        self.waits = Waits()
        """What has held it back; do not change."""

    # --- for reports -------------------------------------------------------------------------------------

    @property
    def have(self) -> Bitfield:
        """The verified pieces on disk; do not change."""
        return self._pieces.have

    @property
    def done_bytes(self) -> int:
        return self._pieces.done_bytes

    @property
    def pool(self) -> SourcePool:
        """The sources; do not change."""
        return self._pool

    @property
    def sources(self) -> list[Source]:
        return list(self._pool)

    def nobody_has(self) -> list[int]:
        """Missing pieces that no connected source has."""
        left = self._pieces.open
        for source in self._pool.ready():
            left = left.without(source.bits)
        return list(left.indices())

    def set_aside(self, pieces: Iterable[int]) -> None:
        """Have nobody send the missing ``pieces``, which are read from this machine's disk; `written` or `write_failed`
        says what became of each. Call before `start`."""
        for piece in pieces:
            self._aside[piece] = None
            self._pieces.set_aside(piece)

    # --- what happened -----------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Call once before anything else: content that is complete already completes here."""
        effects = self._complete_if_done()
        if not self._completed:
            for source in self._pool:
                source.since = now
                effects.append(self._test(source, now))
        return [*effects, *self.tick(now)]

    def found(self, entries: Sequence[SeederEntry], now: float, listed: int | None = None) -> list[Effect]:
        """A lookup or the roster names sources; ``listed`` as `SourcePool.learn` has it."""
        newcomers = self._pool.learn(entries, listed)
        return [*self._connect(now), *self._prefer(newcomers, now)]

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        """The roster says that the peer left, expired or no longer has the content. That is a hint: a source that
        owes pieces may well be sending them, and is kept until it owes nothing or falls silent."""
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        return [] if source is None or source.owes else self._drop(source, now, Farewell.FOREVER)

    def connected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        if source is None or source.state is not SourceState.CONNECTING:
            return []
        source.state = SourceState.TESTING
        source.since = now
        return [self._test(source, now)]

    def disconnected(self, session: int, reason: str, now: float) -> list[Effect]:
        """The connection is lost, or could not be made; pieces that were coming over it are missing again."""
        source = self._pool.get(session)
        if source is None:
            return []
        return [*self._drop(source, now, Trouble("unreachable", reason)), *self._connect(now)]

    def misbehaved(self, session: int, reason: str, now: float) -> list[Effect]:
        """What is at the source's address is no peer or, where a peer has answered already, one that breaks the
        protocol."""
        source = self._pool.get(session)
        if source is None:
            return []
        if source.answered:
            return self._ban(source, reason, now)
        return [*self._drop(source, now, Trouble("no_peer", reason)), *self._connect(now)]

    def handle(self, session: int, message: SourceMessage, now: float) -> list[Effect]:
        """A message of a source, other than a piece."""
        source = self._pool.get(session)
        if source is None:
            return []
        source.heard_at, source.heard_count = now, self._arrived
        news = isinstance(message, NotHeld) and source.answers_for(message.piece)
        if isinstance(message, Status | NoSession) and source.tests:  # it answers a `Test`
            source.tests -= 1
            news = True
        if not news and source.floods(now):
            return self._ban(source, "floods us with messages", now)
        if isinstance(message, Status):
            return self._status(source, message, now)
        if isinstance(message, NotHeld):
            return self._not_held(source, message, now)
        if isinstance(message, NoSession):
            if not source.answered:
                return []  # it answers what was said before the Test
            self._end_session(source)
            source.since = now
            return [self._test(source, now)]
        if not isinstance(message, Error):
            return []
        trouble = Trouble("not_serving" if source.answered else "no_peer", message.detail)
        return [*self._drop(source, now, trouble), *self._connect(now)]

    def piece(self, session: int, message: Piece, size: int, now: float) -> list[Effect]:
        """A piece of ``size`` bytes arrived."""
        self.received_bytes += size
        source = self._pool.get(session)
        if source is None:
            return []
        source.heard_at, source.heard_count = now, self._arrived
        self._note_arrival(now)
        self.received_from[source.entry.peer] = self.received_from.get(source.entry.peer, 0) + size
        pieces, piece = self._pieces, message.piece
        if not source.credit:
            return self._ban(source, f"sent piece {piece} without credit", now)
        if piece >= len(pieces) or size != pieces.size(piece) or max(message.promised, default=0) >= len(pieces):
            return self._ban(source, f"sent or promised pieces that do not exist, with piece {piece}", now)
        source.credit -= 1
        source.arrived += 1
        source.receipt = message.receipt
        source.delivered(now, max(QUICK_SECONDS, TRIPS_COUNT * self._round_trip))
        if message.relay:
            source.relays += 1
            source.asked = max(0, source.asked - 1)
        if piece in source.gets:
            self._able[source] = None
        elif not message.relay:
            source.idle = False
        source.bits.set(piece)
        self._unsaid[source] = None
        effects: list[Effect] = []
        if source in self._stocked:
            self._tell_others([piece, *message.promised], source)
        if piece in pieces.missing:
            pieces.arrive(piece, source)
            self._writing[piece] = source.entry, message.relay, message.hand_on
            effects.append(Write(piece))
            self._relays += message.relay
            self._assigned_lately.append(message.relay)
            if not message.relay:
                self._pushed_at = now
        else:
            self._share.release(pieces.piece_length)
        self._promised(message.promised, source, now)
        return effects

    def _promised(self, promised: list[int], source: Source, now: float) -> None:
        """``source`` has ``promised`` on their way. One that we cancelled there since does not come."""
        for piece in promised:
            source.bits.set(piece)
            if piece in source.taken_back:
                continue
            if piece in self._pieces.open:
                self._pieces.promise(piece, source, now)
            elif piece not in source.promised and piece not in source.gets:
                self._pieces.cancel(piece, source)

    def _note_arrival(self, now: float) -> None:
        if self._arrived:
            seconds = now - self._arrived_at
            self._pace = seconds if self._pace is None else self._pace + 0.25 * (seconds - self._pace)
        self._arrived_at = now
        self._recent.append(now)
        self._arrived += 1

    def written(self, piece: int, good: bool, now: float) -> list[Effect]:
        """A `Write` ended: ``good`` when the digest matched and the bytes are on disk. Or that of a piece that was set
        aside."""
        if piece in self._aside:
            return self._reused(piece, good)
        entry, relay, hand_on = self._writing.pop(piece)
        self._share.release(self._pieces.piece_length)
        if good:
            self._pieces.finish(piece)
            if not relay:
                self.spread.set(piece)
            return [Gained(piece, relay, hand_on), *self._complete_if_done()]
        self._lose(piece, relay)
        if self._pool.is_banned(entry.peer):
            return []
        reason = f"sent a damaged piece {piece}; run 'verify' there to check its copy"
        self._pool.ban(entry, reason)
        effects: list[Effect] = []
        source = self._pool.of_peer(entry.peer)
        if source is not None:  # told, it looks at its disk
            effects.append(Send(source.session, Bye(source.session, [piece])))
            effects += self._drop(source, now, Farewell.FRIENDLY)
        return [*effects, Banned(entry.peer, entry.name, reason)]

    def write_failed(self, piece: int) -> None:
        """A `Write` could not be done for a reason of our own (disk), or what was set aside cannot be read: the piece
        is missing again."""
        if piece in self._aside:
            self._reused(piece, good=False)
            return
        _, relay, _ = self._writing.pop(piece)
        self._share.release(self._pieces.piece_length)
        self._lose(piece, relay)

    def _reused(self, piece: int, good: bool) -> list[Effect]:
        del self._aside[piece]
        if not good:
            self._pieces.lose(piece)
            return []
        self._pieces.finish(piece)
        self.spread.set(piece)  # others have the old content too, as far as one can tell
        self.reused_bytes += self._pieces.size(piece)
        return [Gained(piece, relay=False), *self._complete_if_done()]

    def set_room(self, count: int) -> None:
        """This peer's piece server has room for ``count`` pieces to relay, in all since `restart_relaying`."""
        self._room = count

    def restart_relaying(self) -> None:
        """This peer's piece server is told anew what there is, and relays what it is told of from now on."""
        self._relays = sum(relay for _, relay, _ in self._writing.values())
        self._room = self._relays + ROOM_COUNT

    def pause(self, now: float) -> list[Effect]:
        """Disconnect from everyone and ask for nothing until `resume`; writes under way still end."""
        self._paused = True
        return self.close(now)

    def resume(self, now: float) -> list[Effect]:
        self._paused = False
        return self._connect(now)

    def close(self, now: float) -> list[Effect]:
        """Say goodbye to every source. It is no fault of theirs: a resumed download goes back to them at once."""
        effects: list[Effect] = []
        for source in self._pool:
            if source.state is not SourceState.CONNECTING:
                if self._completed and source.assigns:
                    effects.append(Send(source.session, Have(source.session, self.have.to_bytes())))
                effects.append(Send(source.session, Bye(source.session)))
            effects += self._drop(source, now, Farewell.FRIENDLY)
        return effects

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and tell sources what there is to say."""
        if self._completed or self._paused:
            self.waits.note(None, now)
            return []
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            effects += self._give_up_silent(now)
            effects += self._drop_forgotten(now)
            effects += [self._test(source, now) for source in self._pool.to_test(now)]
            self._give_up_overdue(now)
            self._asks_all = self._sequential or (self._pool.is_crowded and not self._pool.is_grid)
            self._able.update((source, None) for source in self._pool.ready() if self._may_be_asked(source))
            effects += self._poll(now)
            effects += self._say_have(now)
            effects += self._need_sources(now)
            effects += self._drop_mute(now)
            effects += self._connect(now)
            effects += self._prefer(None, now)
        asked = self._ask_idle(now) if self._able else {}
        if self._unsaid:
            effects += self._say(now)
        if self._pieces.cancelled:
            effects += self._cancel()
        for source, some in asked.items():
            source.said_at = now
            effects.append(Send(source.session, Get(source.session, some)))
        if self._stocked:
            effects += self._ask_stock(now)
        self.waits.note(self._held_back_by(now), now)
        return effects

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None when nothing is left to do."""
        if self._completed or self._paused:
            return None
        ready = self._budget.bucket.ready_at(now)
        return min(self._check_at, ready) if self._unsaid and ready > now else self._check_at

    def _held_back_by(self, now: float) -> Cause:
        """What keeps pieces from coming sooner at this moment."""
        length, writing = self._pieces.piece_length, len(self._writing)
        full = not self._budget.has_room(length) and 2 * writing * length >= self._share.under_way
        if writing and (full or not self._pieces.missing.count_set):
            return "disk"
        late = self._budget.bucket.ready_at(now) > now
        return "rate_limit" if late and any(not source.credit for source in self._unsaid) else "sources"

    # --- what is asked for -------------------------------------------------------------------------------

    def _credit_for(self, source: Source) -> int:
        """How many pieces may be on their way from ``source``: an equal part of all or, from one that is far away, as
        many as its link takes."""
        recent = self._recent
        while recent and recent[0] < self._arrived_at - QUICK_SECONDS:
            recent.popleft()
        most = CREDIT_BYTES // self._pieces.piece_length
        part = min(max(CREDIT_COUNT, len(recent)), most) // max(1, self._ready)
        return max(1, part, self._usually_on_way(source))

    def _usually_on_way(self, source: Source) -> int:
        """How many pieces come from ``source`` in `TRIPS_COUNT` round trips: with fewer on their way its link would be
        idle at times. 0 where a message takes no time to speak of."""
        seconds = TRIPS_COUNT * self._round_trip
        return int(len(source.recent) * seconds / max(QUICK_SECONDS, seconds))

    def _say(self, now: float) -> list[Effect]:
        """Acknowledge what has come and give credit back."""
        effects: list[Effect] = []
        for source in list(self._unsaid):
            target = self._credit_for(source)
            session, given = source.session, self._grant(source, target, now)
            if source.arrived or given:
                effects.append(Send(session, Received(session, source.arrived, given, source.receipt)))
                source.arrived = 0
                source.said_at = now
            if source.credit >= target:
                del self._unsaid[source]
        return effects

    def _cancel(self) -> list[Effect]:
        """Take back what is not needed."""
        effects: list[Effect] = []
        for source, pieces in self._pieces.cancelled.items():
            for start in range(0, len(pieces), PIECES_TOLD_COUNT_MAX):
                some = pieces[start : start + PIECES_TOLD_COUNT_MAX]
                effects.append(Send(source.session, Cancel(source.session, some)))
        self._pieces.cancelled.clear()
        return effects

    def _grant(self, source: Source, target: int, now: float) -> int:
        """Give the source credit for more pieces, up to ``target``, as the budget allows; how many. One piece of each
        source is always admitted while the disk keeps up, or a budget that is used up by idle ones would block the
        others."""
        given = 0
        length = self._pieces.piece_length
        keeps_up = len(self._writing) * length < self._budget.bytes_max
        while source.credit < target and self._share.admits(length, now, whatever=keeps_up and not source.credit):
            self._share.claim(length, now)
            source.credit += 1
            given += 1
        return given

    def _may_be_asked(self, source: Source) -> bool:
        if source.stock and not self._sequential:
            return source.alone
        return source.idle or self._asks_all

    def _poll(self, now: float) -> list[Effect]:
        """Ask sources what they have by now that have nothing open, as far as is known."""
        if not self._asks_all:
            return []
        sources = [one for one in self._pool.ready() if one.polled_at <= now - CHECK_SECONDS and not one.gets]
        return [self._test(one, now) for one in sources if not self._pieces.open.both(one.bits).count_set]

    def _ask_idle(self, now: float) -> dict[Source, list[int]]:
        """Choose pieces to ask for by number."""
        asked: dict[Source, list[int]] = {}
        usual = self._usual_interval()
        owed: list[_Owed] = []
        able, self._able = self._able, {}
        for source in able:
            window = 1 + self._credit_for(source)
            while self._may_be_asked(source) and len(source.gets) < window:
                piece = self._choose(source)
                if piece is None and source.idle and not source.snubs and not self._sequential:
                    owed = owed or list(self._owed(usual, now))
                    piece = self._choose_owed(source, owed, usual)
                if piece is None:
                    break
                self._pieces.ask(piece, source, now)
                asked.setdefault(source, []).append(piece)
        return asked

    def _choose(self, source: Source) -> int | None:
        """A piece to ask ``source`` for that nobody is to send."""
        bits = source.bits
        for other in self._pool.ready() if source.snubs else ():
            bits = bits if other.snubs else bits.without(other.bits)
        return self._pieces.first(bits) if self._sequential else self._pieces.rarest(bits, self._pool)

    def _choose_owed(self, source: Source, owed: list[_Owed], usual: float) -> int | None:
        """A piece that ``source`` has and that comes sooner from it than from who owes it. At random: else all
        receivers would ask for the same one. ``usual``: seconds that a source takes for a piece."""
        soon = (len(source.gets) + 1) * (usual if source.interval is None else source.interval)
        late = [
            one.piece
            for one in owed
            if one.seconds > soon
            and one.piece in source.bits
            and one.piece not in source.taken_back  # it may be on its way all the same
            and one.source is not source
            and one.is_owed
        ]
        return self._rng.choice(late) if late else None

    def _owed(self, usual: float, now: float) -> Iterator[_Owed]:
        """All that sources owe, and when it should come; the first piece of each, which may be on its way, as if in
        half the time."""
        for source in self._pool:
            interval = usual if source.interval is None else source.interval
            seconds = interval - (now - source.busy_since)
            for place, piece in enumerate([*source.gets, *source.promised]):
                yield _Owed(seconds + place * interval if place else seconds / 2, piece, source)

    def _starves(self, now: float) -> bool:
        """Whether others have pushed less lately than was assigned to this peer, or nothing."""
        lately = self._assigned_lately
        return 2 * sum(lately) >= len(lately) or now >= self._pushed_at + STARVED_SECONDS

    @property
    def _is_owed(self) -> bool:
        return any(source.owes and not source.snubs for source in self._pool)

    def _usual_interval(self) -> float:
        known = [source.interval for source in self._pool if source.interval is not None]
        return median(known) if known else 0.0

    def _ask_stock(self, now: float) -> list[Effect]:
        """Have more pieces assigned, as many as this peer has room for and as will have been pushed on when they come
        from far away."""
        able = [source for source in self._stocked if not source.alone and not self._sequential]
        if not able:
            return []
        room = self._room - self._relays + sum(self._usually_on_way(source) for source in able)
        asked = sum(source.asked for source in self._stocked)
        if not asked and not self._is_owed and self._starves(now):
            room = max(1, room)  # it need not wait for followers that are slower than itself
        count = min(room, self._pieces.open.count_set) - asked
        more: dict[Source, None] = {}
        for _ in range(count):
            source = min(able, key=lambda one: one.asked)
            if not source.asked:
                source.owed_from(now)
            source.asked += 1
            more[source] = None
        effects: list[Effect] = []
        for source in more:
            source.said_at = now
            known = [*source.assigned_elsewhere][-PIECES_TOLD_COUNT_MAX:]
            source.assigned_elsewhere.clear()
            effects.append(Send(source.session, Relay(source.session, source.relays + source.asked, known)))
        return effects

    def _tell_others(self, pieces: list[int], source: Source) -> None:
        """Other sources that assign pieces will be told that somebody relays these ``pieces`` of ``source``."""
        for other in self._stocked:
            if other is not source:
                other.assigned_elsewhere.update(dict.fromkeys(pieces))

    def _lose(self, piece: int, relay: bool) -> None:
        self._pieces.lose(piece)
        self._relays -= relay

    def _give_up_overdue(self, now: float) -> None:
        """Let others send what sources owe that take far too long, and ask others to assign what these were asked to
        until they say again that they have a stock."""
        usual = self._usual_interval()
        all_that_may_come = sum(source.credit for source in self._pool) * (self._pace or 0.0)
        least = max(OVERDUE_SECONDS_MIN, min(STUCK_SECONDS, all_that_may_come))
        ready = list(self._pool.ready())
        for source in ready:
            if not source.owes and not source.asked:
                continue
            slowest = max(usual, source.interval or 0.0)
            allowed = max(least, OVERDUE_FACTOR * slowest if slowest else OVERDUE_SECONDS_FIRST)
            if now - source.busy_since < allowed:
                continue
            source.asked = 0
            self._stocked.pop(source, None)
            if not source.owes:
                continue
            source.snubs = True
            others = (one.bits for one in ready if one is not source)
            elsewhere = reduce(Bitfield.either, others, Bitfield(len(self._pieces)))
            for piece in [*source.promised, *source.gets]:
                if piece in elsewhere:
                    self._pieces.expect_no_more(piece, None if piece in source.gets else source)

    def _say_have(self, now: float) -> list[Effect]:
        """Tell sources that assign pieces what has come."""
        if now < self._have_at:
            return []
        self._have_at = now + HAVE_SECONDS
        bits = self.have.to_bytes()
        assigning = [source for source in self._pool.ready() if source.assigns and not source.alone]
        return [Send(source.session, Have(source.session, bits)) for source in assigning]

    # --- sources -----------------------------------------------------------------------------------------

    def _connect(self, now: float) -> list[Effect]:
        if self._paused or self._completed:
            return []
        return [Connect(source.session, source.entry.endpoint) for source in self._pool.connect(now)]

    def _prefer(self, newcomers: Sequence[str] | None, now: float) -> list[Effect]:
        """Where there is no room for all, ``newcomers`` (None: a few of all) take the places of whom they outrank."""
        effects: list[Effect] = []
        if self._paused or self._completed:
            return effects
        for _ in range(PREFERRED_COUNT if newcomers is None else len(newcomers)):
            found = self._pool.outranked(now, newcomers)
            if found is None:
                break
            source, peer = found
            effects.append(Send(source.session, Bye(source.session)))
            effects += self._drop(source, now, Farewell.FRIENDLY)
            opened = self._pool.open(peer, now)
            effects.append(Connect(opened.session, opened.entry.endpoint))
        return effects

    def _test(self, source: Source, now: float) -> Effect:
        source.said_at = source.polled_at = now
        source.tests += 1
        return Send(source.session, Test(source.session, self._digest, source.entry.peer, source.answered))

    def _drop(self, source: Source, now: float, why: Trouble | Farewell) -> list[Effect]:
        self._end_session(source)
        self._pool.drop(source, now, why)
        return [Disconnect(source.session)]

    def _end_session(self, source: Source) -> None:
        """Nothing more comes of what was said in it."""
        self._ready -= source.answered
        source.state = SourceState.TESTING
        self._pieces.release(source)
        self._share.release(source.credit * self._pieces.piece_length)
        source.credit = source.arrived = source.asked = source.relays = 0
        source.assigned_elsewhere.clear()
        source.idle = source.stock = False
        for some in (self._unsaid, self._able, self._stocked):
            some.pop(source, None)

    def _give_up_silent(self, now: float) -> list[Effect]:
        """Drop who says nothing, and who owes a piece for far too long."""
        effects: list[Effect] = []
        stuck = [
            source
            for source in self._pool.ready()
            if source.gets
            and now - source.busy_since > max(STUCK_SECONDS, 10 * (source.interval or 0.0)) * source.patience
        ]
        for source in [*self._pool.unresponsive(now, self._arrived, self._arrived_at), *stuck]:
            if self._pool.get(source.session) is source:
                self._pool.be_patient(source)
                effects += self._drop(source, now, NO_ANSWER)
        return effects

    def _drop_forgotten(self, now: float) -> list[Effect]:
        """Part with those that `peer_lost` left for what they owed, and that owe nothing any more."""
        effects: list[Effect] = []
        for source in self._pool.forgotten():
            if not source.owes:
                effects += self._drop(source, now, Farewell.FOREVER)
        return effects

    def _ban(self, source: Source, reason: str, now: float) -> list[Effect]:
        self._pool.ban(source.entry, reason)
        return [*self._drop(source, now, Farewell.FRIENDLY), Banned(source.entry.peer, source.entry.name, reason)]

    def _status(self, source: Source, message: Status, now: float) -> list[Effect]:
        if message.state in UNABLE:
            # It makes room for others.
            return [*self._drop(source, now, UNABLE[message.state]), *self._connect(now)]
        try:
            bits = self._bits_of(message)
        except ProtocolError as error:
            return self._ban(source, str(error), now)
        source.bits = bits
        source.stock, source.alone, source.idle = message.stock, message.alone, message.idle
        if message.stock:
            source.assigns = True
            self._stocked[source] = None
        else:
            source.asked = 0
            self._stocked.pop(source, None)
        if self._may_be_asked(source):
            self._able[source] = None
        if source.state is SourceState.READY:
            return []
        source.state = SourceState.READY
        self._ready += 1
        self._pool.answered(source)
        source.busy_since = now
        self._round_trip = min(self._round_trip, now - source.polled_at)
        credit = self._grant(source, self._credit_for(source), now)
        self._unsaid[source] = None
        needless = Bitfield.full_of(len(self._pieces)).without(self._pieces.open)
        push: Push = "nothing" if self._sequential else self._pool.pushes(source)
        return [Send(source.session, Follow(source.session, needless.to_bytes(), credit, push))]

    def _bits_of(self, message: Status) -> Bitfield:
        if message.state == "complete":
            return Bitfield.full_of(len(self._pieces))
        return Bitfield.from_bytes(message.bits, len(self._pieces))

    def _not_held(self, source: Source, message: NotHeld, now: float) -> list[Effect]:
        piece = message.piece
        if piece >= len(self._pieces):
            return self._ban(source, "took back a piece that does not exist", now)
        source.bits.clear(piece)
        source.taken_back[piece] = False
        if piece in source.promised or piece in source.gets:
            self._pieces.expect_no_more(piece, source)
        return []

    def _complete_if_done(self) -> list[Effect]:
        if self._completed or not self.have.full:
            return []
        self._completed = True
        return [Completed()]

    def _need_sources(self, now: float) -> list[Effect]:
        """Ask for sources when none can send what is missing, and make room for those that are known."""
        if now - self._needed_at < NEED_SOURCES_SECONDS or not self._pieces.open.count_set:
            return []
        ready = list(self._pool.ready())
        if any((source.owes and not source.snubs) or self._pieces.open.both(source.bits).count_set for source in ready):
            return []
        self._needed_at = now
        effects: list[Effect] = [NeedSources()]
        if self._pool.leaves_out(now):
            for source in ready[: min(MAKE_ROOM_COUNT, len(ready) // 2)]:  # the others say what nobody has
                effects += self._drop(source, now, Farewell.USELESS)
        return effects

    def _drop_mute(self, now: float) -> list[Effect]:
        """Who has sent nothing for long gives way where others wait for a place, whatever it has promised: names cost
        nothing, and those of one liar may take all places."""
        effects: list[Effect] = []
        allowed = max(STUCK_SECONDS, 10 * self._usual_interval())
        mute = [source for source in self._pool.ready() if not source.gets and now - source.busy_since > allowed]
        if not mute or not self._pool.leaves_out(now):
            return effects
        for source in mute[:MAKE_ROOM_COUNT]:
            effects.append(Send(source.session, Bye(source.session)))
            effects += self._drop(source, now, Farewell.USELESS)
        return effects

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        self._pieces.check_invariants(self._pool)
        assert self._ready == sum(1 for _ in self._pool.ready())
        assert all(source.credit >= 0 and source.asked >= 0 for source in self._pool)
        may_come = sum(source.credit for source in self._pool)
        assert self._share.under_way == (may_come + len(self._writing)) * self._pieces.piece_length
        writing = sorted([*self._writing, *self._aside])
        assert writing == [
            piece for piece in range(len(self._pieces)) if piece not in self.have and piece not in self._pieces.missing
        ]
