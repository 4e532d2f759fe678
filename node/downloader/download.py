"""One download: what is asked of whom, until every piece is verified. PROTOCOL.md, section 6.

Pure. `Download` takes what happened and the time and returns effects; the shell opens connections, sends, verifies,
writes and calls back. Owns the conversation with each source. Leaves the state of each piece to `pieces`, whom to dial
and to part with to `sessions`, and files to the shell.

Every source pushes what it relays, as far as its credit goes (`credit`). Besides, a download has pieces of a source's
stock assigned to it, as many as its own piece server has room for (`assignments`), and asks idle sources for pieces by
number: open ones, or some that another source has promised and would bring later (`piece_requests`). Who takes too long
for that is known to `patience`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from random import Random

from node.downloader.assignments import Assignments
from node.downloader.bottleneck import Waits
from node.downloader.credit import Credit
from node.downloader.patience import Patience
from node.downloader.piece_requests import PieceRequests
from node.downloader.pieces import Arrived, Pieces
from node.downloader.recording import Recording
from node.downloader.sessions import Sessions
from node.downloader.source import (
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
from node.rate_limit import Budget
from node.trace import TraceWay
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
from protocol.limits import PIECES_TOLD_COUNT_MAX
from protocol.messages import (
    Cancel,
    Error,
    Follow,
    Have,
    ManifestPage,
    NoSession,
    NotHeld,
    Piece,
    SeederEntry,
    Status,
)

CHECK_SECONDS = 0.25
"""How often silence and overdue pieces are looked for."""


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


class Download:
    """The download of ``digest``: ``length`` bytes in pieces of ``piece_length``, of which ``have`` is there already.

    ``budget`` is shared by all downloads of the process; ``pool`` may have the source that gave the manifest;
    ``recording`` is told when pieces came and what held it back. After
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
        recording: Recording | None = None,
    ) -> None:
        self.pieces = Pieces(length, piece_length, have, rng)
        """Do not change."""
        self._pool = pool
        pool.fetch_pieces(have.size, piece_length)
        self._sequential = sequential
        self._patience = Patience(pool)
        self._credit = Credit(budget, piece_length)
        self._assignments = Assignments(pool, self._credit)
        self._requests = PieceRequests(self.pieces, pool, self._credit, self._patience, rng, sequential)
        self._sessions = Sessions(digest, pool, self._patience, self._end_session)
        self._completed = False
        self._paused = False
        self._check_at = float("-inf")
        self.received_bytes = 0
        self.received_from: dict[str, int] = {}
        """Bytes by peer id, of sources that are gone too."""
        self._recording = Recording() if recording is None else recording
        self.waits = Waits(record=self._recording.waits)
        """What has held it back; do not change."""

    # --- for reports -------------------------------------------------------------------------------------

    @property
    def have(self) -> Bitfield:
        """The verified pieces on disk; do not change."""
        return self.pieces.have

    @property
    def pool(self) -> SourcePool:
        """The sources; do not change."""
        return self._pool

    @property
    def sources(self) -> list[Source]:
        return list(self._pool)

    def nobody_has(self) -> list[int]:
        """Missing pieces that no connected source has."""
        left = self.pieces.open
        for source in self._pool.ready():
            left = left.without(source.bits)
        return list(left.indices())

    # --- what happened -----------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Call once before anything else: content that is complete already completes here."""
        self._patience.begin(now)
        effects = self._complete_if_done()
        if not self._completed:
            for source in self._pool:
                source.since = now
                if source.state is not SourceState.CONNECTING:  # the manifest came over it
                    self._recording.event(source.entry.peer, source.entry.name, "connected", now)
            effects += self._sessions.test(self._pool, now)
        return [*effects, *self.tick(now)]

    def found(self, entries: Sequence[SeederEntry], now: float, listed: int | None = None) -> list[Effect]:
        """A lookup or the roster names sources; ``listed`` as `SourcePool.learn` has it."""
        return [*self._sessions.found(entries, now, listed)]

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        """The roster says that the peer left, expired or no longer has the content. That is a hint: a source that
        owes pieces may well be sending them, and is kept until it owes nothing or falls silent. One with a key may
        have been shut out of the network, and is hung up on."""
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        if source is None or (source.owes and not source.entry.key):
            return []
        return [*self._sessions.drop(source, now, Farewell.FOREVER)]

    def connected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        if source is None or source.state is not SourceState.CONNECTING:
            return []
        source.state = SourceState.TESTING
        source.since = now
        self._recording.event(source.entry.peer, source.entry.name, "connected", now)
        return [*self._sessions.test([source], now)]

    def disconnected(self, session: int, reason: str, now: float) -> list[Effect]:
        """The connection is lost, or could not be made; pieces that were coming over it are missing again."""
        source = self._pool.get(session)
        if source is None:
            return []
        self._recording.event(source.entry.peer, source.entry.name, f"lost: {reason}", now)
        return [*self._sessions.replace(source, now, Trouble("unreachable", reason))]

    def misbehaved(self, session: int, reason: str, now: float) -> list[Effect]:
        """What is at the source's address is no peer or, where a peer has answered already, one that breaks the
        protocol."""
        source = self._pool.get(session)
        if source is None:
            return []
        if source.answered:
            return self._ban(source, reason, now)
        return [*self._sessions.replace(source, now, Trouble("no_peer", reason))]

    def handle(self, session: int, message: SourceMessage, now: float) -> list[Effect]:
        """A message of a source, other than a piece."""
        source = self._pool.get(session)
        if source is None:
            return []
        self._patience.heard(source, now)
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
            return [*self._sessions.test([source], now)]
        if not isinstance(message, Error):
            return []
        trouble = Trouble("not_serving" if source.answered else "no_peer", message.detail)
        return [*self._sessions.replace(source, now, trouble)]

    def piece(self, session: int, message: Piece, size: int, now: float) -> list[Effect]:
        """A piece of ``size`` bytes arrived."""
        self.received_bytes += size
        source = self._pool.get(session)
        if source is None:
            return []
        since = source.since_when(message.piece)
        self._patience.arrived(source, now)
        self.received_from[source.entry.peer] = self.received_from.get(source.entry.peer, 0) + size
        pieces, piece = self.pieces, message.piece
        if not source.credit:
            return self._ban(source, f"sent piece {piece} without credit", now)
        if piece >= len(pieces) or size != pieces.size(piece) or max(message.promised, default=0) >= len(pieces):
            return self._ban(source, f"sent or promised pieces that do not exist, with piece {piece}", now)
        self._credit.arrived(source, message.receipt, now)
        self._assignments.arrived(source, message, piece in pieces.missing, now)
        way = TraceWay.ASSIGNED if message.relay else TraceWay.PUSHED
        if piece in source.gets:
            way = TraceWay.ASKED
            self._requests.go_on(source)
        else:
            source.idle = source.idle and message.relay
            if piece in pieces.missing:
                self._patience.gained(now)
        source.bits.set(piece)
        effects: list[Effect] = []
        if piece in pieces.missing:
            self._recording.arrived(piece, source.entry, way, since, now)
            pieces.arrive(piece, source, message.relay, message.hand_on)
            effects.append(Write(piece))
        else:
            self._credit.written()
        self._promised(message.promised, source, now)
        return effects

    def _promised(self, promised: list[int], source: Source, now: float) -> None:
        """``source`` has ``promised`` on their way. One that we cancelled there since does not come."""
        for piece in promised:
            source.bits.set(piece)
            if piece in source.taken_back:
                continue
            if piece in self.pieces.open:
                self.pieces.promise(piece, source, now)
            elif piece not in source.promised and piece not in source.gets:
                self.pieces.cancel(piece, source)

    def written(self, piece: int, good: bool, now: float) -> list[Effect]:
        """A `Write` ended: ``good`` when the digest matched and the bytes are on disk. Or that of a piece that was set
        aside."""
        written = self._no_more_written(piece, good)
        if good:
            return [Gained(piece, written.relay, written.hand_on), *self._complete_if_done()]
        sender = written.sender
        if sender is None or self._pool.is_banned(sender.peer):
            return []
        return [*self._sessions.sent_false_piece(sender, piece, now)]

    def write_failed(self, piece: int) -> None:
        """A `Write` could not be done for a reason of our own (disk), or what was set aside cannot be read: the piece
        is missing again."""
        self._no_more_written(piece, good=False)

    def _no_more_written(self, piece: int, good: bool) -> Arrived:
        written = self.pieces.written(piece, good)
        if written.sender is not None:
            self._credit.written()
        if not good:
            self._assignments.relays -= written.relay
        return written

    def set_room(self, count: int) -> None:
        """This peer's piece server has room for ``count`` pieces to relay, in all since `restart_relaying`."""
        self._assignments.room = count

    def restart_relaying(self) -> None:
        """This peer's piece server is told anew what there is, and relays what it is told of from now on."""
        self._assignments.restart(sum(one.relay for one in self.pieces.writing.values()))

    def pause(self, now: float) -> list[Effect]:
        """Disconnect from everyone and ask for nothing until `resume`; writes under way still end."""
        self._paused = self._sessions.closed = True
        return self.close(now)

    def resume(self, now: float) -> list[Effect]:
        self._patience.begin(now)
        self._paused = False
        self._sessions.closed = self._completed
        return [*self._sessions.connect(now)]

    def close(self, now: float) -> list[Effect]:
        """Say goodbye to every source. It is no fault of theirs: a resumed download goes back to them at once."""
        effects: list[Effect] = []
        for source in self._pool:
            if source.state is SourceState.CONNECTING:
                effects += self._sessions.drop(source, now, Farewell.FRIENDLY)
                continue
            if self._completed and source.assigns:
                effects.append(Send(source.session, Have(source.session, self.have.to_bytes())))
            effects += self._sessions.part_with(source, now, Farewell.FRIENDLY)
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
            effects += self._sessions.part_with_silent(now)
            effects += self._sessions.test(self._pool.to_test(now), now)
            self._give_up_overdue(now)
            self._requests.look_over(now)
            effects += self._sessions.test(self._requests.not_known(now - CHECK_SECONDS), now)
            effects += self._assignments.say_have(self.have, now)
            needs_others = self._sessions.needs_others(self.pieces.open, now)
            effects += [NeedSources()] if needs_others else []
            effects += self._sessions.make_room(needs_others, now)
        asked = self._requests.ask(now)
        effects += self._credit.say(now)
        effects += self._cancel()
        effects += asked
        if not self._sequential:
            effects += self._assignments.ask(self.pieces.open.count_set, now)
        self.waits.note(self._credit.held_back_by(not self.pieces.missing.count_set, now), now)
        return effects

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None when nothing is left to do."""
        if self._completed or self._paused:
            return None
        return min(self._check_at, self._credit.next_deadline(now) or self._check_at)

    # --- what is taken back ------------------------------------------------------------------------------

    def _cancel(self) -> list[Effect]:
        """Take back what is not needed."""
        effects: list[Effect] = []
        for source, pieces in self.pieces.cancelled.items():
            for start in range(0, len(pieces), PIECES_TOLD_COUNT_MAX):
                some = pieces[start : start + PIECES_TOLD_COUNT_MAX]
                effects.append(Send(source.session, Cancel(source.session, some)))
        self.pieces.cancelled.clear()
        return effects

    def _give_up_overdue(self, now: float) -> None:
        """Let others send what sources owe that take far too long, and ask others to assign what these were asked to
        until they say again that they have a stock."""
        for source in self._patience.overdue(now):
            self._assignments.give_up(source)
            if not source.owes:
                continue
            source.snubs = True
            others = (one.bits for one in self._pool.ready() if one is not source)
            elsewhere = reduce(Bitfield.either, others, Bitfield(len(self.pieces)))
            for piece in [*source.promised, *source.gets]:
                if piece in elsewhere:
                    self.pieces.expect_no_more(piece, None if piece in source.gets else source)

    # --- sources -----------------------------------------------------------------------------------------

    def _end_session(self, source: Source) -> None:
        """Nothing more comes of what was said in it."""
        self._credit.end(source)
        self._assignments.give_up(source)
        self._requests.end(source)
        self.pieces.release(source)
        source.state = SourceState.TESTING
        source.relays = 0
        source.assigned_elsewhere.clear()
        source.idle = source.stock = False

    def _ban(self, source: Source, reason: str, now: float) -> list[Effect]:
        return [*self._sessions.ban(source, reason, now)]

    def _status(self, source: Source, message: Status, now: float) -> list[Effect]:
        if message.state in UNABLE:
            # It makes room for others.
            return [*self._sessions.replace(source, now, UNABLE[message.state])]
        try:
            bits = self._bits_of(message)
        except ProtocolError as error:
            return self._ban(source, str(error), now)
        source.bits = bits
        source.stock, source.alone, source.idle = message.stock, message.alone, message.idle
        self._assignments.stock(source)
        self._requests.go_on(source)
        if source.state is SourceState.READY:
            return []
        source.state = SourceState.READY
        self._pool.answered(source)
        source.busy_since = source.waited_since = now
        credit = self._credit.begin(source, now)
        needless = Bitfield.full_of(len(self.pieces)).without(self.pieces.open)
        pushes, mate = self._pool.grid.follows(source.entry.cell)
        follow = Follow(source.session, needless.to_bytes(), credit, pushes and not self._sequential, mate)
        return [Send(source.session, follow)]

    def _bits_of(self, message: Status) -> Bitfield:
        if message.state == "complete":
            return Bitfield.full_of(len(self.pieces))
        return Bitfield.from_bytes(message.bits, len(self.pieces))

    def _not_held(self, source: Source, message: NotHeld, now: float) -> list[Effect]:
        piece = message.piece
        if piece >= len(self.pieces):
            return self._ban(source, "took back a piece that does not exist", now)
        source.bits.clear(piece)
        source.taken_back[piece] = False
        if piece in source.promised or piece in source.gets:
            self.pieces.expect_no_more(piece, source)
        return []

    def _complete_if_done(self) -> list[Effect]:
        if self._completed or not self.have.full:
            return []
        self._completed = self._sessions.closed = True
        return [Completed()]

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        self.pieces.check_invariants(self._pool)
        self._credit.check_invariants(self.sources, sum(one.sender is not None for one in self.pieces.writing.values()))
        assert all(source.asked >= 0 for source in self._pool)
