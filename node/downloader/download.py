"""One download: which piece comes from whom, until all are verified. PROTOCOL.md, section 6.

Pure. `Download` takes what happened and the time and returns effects; the shell opens connections, sends, verifies,
writes and calls back. Owns what was promised by whom. Leaves the state of each piece to `piece_table`, the
choice among missing ones to `picker`, who the sources are to `source`, and files to the shell.

A claim that takes much longer than others do is given up: the piece is missing again, and whichever copy arrives
first is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from node.downloader.piece_table import PieceState, PieceTable
from node.downloader.source import Banned, Claim, Connect, Disconnect, Send, Source, SourcePool, SourceState
from node.rate_limit import Budget
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
from protocol.limits import WANT_COUNT_MAX
from protocol.messages import (
    Accept,
    Bye,
    Error,
    Have,
    ManifestPage,
    NoSession,
    NotHeld,
    Offer,
    Piece,
    Received,
    Refuse,
    SeederEntry,
    Status,
    Test,
    Want,
    Withdrawn,
)

CHECK_SECONDS = 0.25
"""How often silence and overdue pieces are looked for."""
NEED_SOURCES_SECONDS = 1.0
MAKE_ROOM_COUNT = 8
"""So many useless sources give way at a time, when all places are taken by useless ones and others are known."""


@dataclass(frozen=True, slots=True)
class Write:
    """Verify the data that came with the `Piece` just handled and write it; then call `Download.written`."""

    session: int
    piece: int


@dataclass(frozen=True, slots=True)
class Gained:
    """The piece is verified and on disk."""

    piece: int


@dataclass(frozen=True, slots=True)
class NeedSources:
    """No source can send what is missing."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Every piece is verified and on disk."""


Effect = Connect | Disconnect | Send | Write | Gained | Banned | NeedSources | Completed
SourceMessage = Status | Offer | Withdrawn | NotHeld | Have | NoSession | ManifestPage | Error


class Download:
    """The download of ``digest``: ``length`` bytes in pieces of ``piece_length``, of which ``have`` is there already.

    ``budget`` and ``sessions`` are shared by all downloads of the process. After every call the shell calls `tick`
    once (a batch of calls is fine) and again at `next_deadline`.
    """

    def __init__(
        self,
        digest: str,
        length: int,
        piece_length: int,
        have: Bitfield,
        budget: Budget,
        sessions: Iterator[int],
        rng: Random,
        sequential: bool = False,
    ) -> None:
        self._digest = digest
        self._table = PieceTable(length, piece_length, have, budget, rng, sequential)
        self._picker = self._table.picker
        self._budget = budget
        self._pool = SourcePool(have.size, sessions)
        self._writing: dict[int, SeederEntry] = {}
        self._claims = 0
        self._completed = False
        self._paused = False
        self._check_at = float("-inf")
        self._needed_at = float("-inf")
        self.received_bytes = 0
        self.duplicate_bytes = 0
        self.received_from: dict[str, int] = {}
        """Bytes by peer id, of sources that are gone too."""

    # --- for reports -------------------------------------------------------------------------------------

    @property
    def have(self) -> Bitfield:
        """The verified pieces on disk; do not change."""
        return self._table.have

    @property
    def done_bytes(self) -> int:
        return self._table.done_bytes

    @property
    def sources(self) -> list[Source]:
        return list(self._pool)

    @property
    def banned(self) -> dict[str, str]:
        return self._pool.banned

    def nobody_has(self) -> list[int]:
        """Missing pieces that no connected source has."""
        return self._picker.nobody_has()

    # --- what happened -----------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Call once before anything else: content that is complete already completes here."""
        return [*self._complete_if_done(), *self.tick(now)]

    def found(self, entries: Sequence[SeederEntry], now: float) -> list[Effect]:
        """A lookup or the roster names sources."""
        self._pool.learn(entries)
        return self._connect(now)

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        """The roster says that the peer left, expired or no longer has the content."""
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        return [] if source is None else self._drop(source, now, retry=False)

    def connected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        if source is None or source.state is not SourceState.CONNECTING:
            return []
        source.state = SourceState.TESTING
        source.since = now
        return [self._test(source, now)]

    def disconnected(self, session: int, now: float) -> list[Effect]:
        """The connection is lost; pieces that were coming over it are missing again."""
        source = self._pool.get(session)
        return [] if source is None else [*self._drop(source, now), *self._connect(now)]

    def misbehaved(self, session: int, reason: str, now: float) -> list[Effect]:
        """The source sent something that is no message of the protocol."""
        source = self._pool.get(session)
        return [] if source is None else self._ban(source, reason, now)

    def handle(self, session: int, message: SourceMessage, now: float) -> list[Effect]:
        """A message of a source, other than a piece."""
        source = self._pool.get(session)
        if source is None:
            return []
        source.heard_at = now
        if isinstance(message, Offer):
            return self._offer(source, message, now)
        if isinstance(message, Have):
            return self._news(source, message, now)
        if isinstance(message, Status):
            return self._status(source, message, now)
        if isinstance(message, NotHeld):
            return self._not_held(source, message, now)
        if isinstance(message, Withdrawn):
            return self._withdrawn(source, message)
        if isinstance(message, NoSession):
            self._release_claims(source)
            return [self._test(source, now)]
        return self._drop(source, now) if isinstance(message, Error) else []

    def piece(self, session: int, message: Piece, size: int, now: float) -> list[Effect]:
        """A piece of ``size`` bytes arrived."""
        self.received_bytes += size
        source = self._pool.get(session)
        if source is None:
            return []
        source.heard_at = now
        self.received_from[source.entry.peer] = self.received_from.get(source.entry.peer, 0) + size
        claim = source.claims.pop(message.offer, None)
        late = claim is None
        if claim is not None:
            self._claims -= 1
            source.measured(now - claim.at)
        else:
            claim = source.late.pop(message.offer, None)
        if claim is None or claim.piece != message.piece or claim.size != size:
            if claim is not None and not late:
                self._release(claim.piece)
            return self._ban(source, f"sent piece {message.piece} of {size} bytes that was not asked for", now)
        source.said_at = now
        received = Send(source.session, Received(source.session, message.offer))
        if late and not self._take_late(claim, now):
            self.duplicate_bytes += size
            return [received]
        self._table.arrive(claim.piece)
        self._writing[claim.piece] = source.entry
        return [received, Write(source.session, claim.piece)]

    def written(self, piece: int, good: bool, now: float) -> list[Effect]:
        """A `Write` ended: ``good`` when the digest matched and the bytes are on disk."""
        entry = self._writing.pop(piece)
        if good:
            self._table.finish(piece)
            return [Gained(piece), *self._complete_if_done()]
        self._release(piece)
        source = self._pool.of_peer(entry.peer)
        reason = f"piece {piece} does not have its digest"
        if source is not None:
            return self._ban(source, reason, now)
        self._pool.ban(entry.peer, reason)
        return [Banned(entry.peer, entry.name, reason)]

    def write_failed(self, piece: int) -> None:
        """A `Write` could not be done for a reason of our own (disk): the piece is missing again."""
        del self._writing[piece]
        self._release(piece)

    def pause(self, now: float) -> list[Effect]:
        """Disconnect from everyone and ask for nothing until `resume`; writes under way still end."""
        self._paused = True
        return self.close(now)

    def resume(self, now: float) -> list[Effect]:
        self._paused = False
        return self._connect(now)

    def close(self, now: float) -> list[Effect]:
        """Say goodbye to every source."""
        effects: list[Effect] = []
        for source in self._pool:
            if source.state is not SourceState.CONNECTING:
                effects.append(Send(source.session, Bye(source.session)))
            effects += self._drop(source, now)
        return effects

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and tell sources what is wanted of them now."""
        if self._completed or self._paused:
            return []
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            for source in self._pool.unresponsive(now):
                effects += self._drop(source, now)
            effects += [self._test(source, now) for source in self._pool.to_test(now)]
            self._give_up_overdue(now)
            effects += self._drop_stuck(now)
            effects += self._connect(now)
            effects += self._need_sources(now)
        return effects + self._tell_wants(now)

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None when nothing is left to do."""
        if self._completed or self._paused:
            return None
        due = self._check_at
        for source in self._pool:
            if source.dirty and self._may_ask(source, now):
                due = min(due, source.want_at + WANT_INTERVAL_SECONDS)
        ready = self._budget.bucket.ready_at(now)
        return min(due, ready) if ready > now else due

    # --- sources -----------------------------------------------------------------------------------------

    def _connect(self, now: float) -> list[Effect]:
        if self._paused or self._completed:
            return []
        return [Connect(source.session, source.entry.endpoint) for source in self._pool.connect(now)]

    def _test(self, source: Source, now: float) -> Effect:
        source.said_at = now
        return Send(source.session, Test(source.session, self._digest))

    def _drop(self, source: Source, now: float, retry: bool = True) -> list[Effect]:
        self._release_claims(source)
        self._picker.source_gone(source.bits, source.complete)
        self._pool.drop(source, now, retry)
        return [Disconnect(source.session)]

    def _ban(self, source: Source, reason: str, now: float) -> list[Effect]:
        self._pool.ban(source.entry.peer, reason)
        return [*self._drop(source, now), Banned(source.entry.peer, source.entry.name, reason)]

    def _status(self, source: Source, message: Status, now: float) -> list[Effect]:
        if message.state == "no":
            return self._drop(source, now)
        if message.state == "later":
            self._release_claims(source)
            source.state = SourceState.LATER
            return []
        try:
            bits = self._bits_of(message)
        except ProtocolError as error:
            return self._ban(source, str(error), now)
        fresh = source.state is not SourceState.READY
        source.state = SourceState.READY
        self._pool.answered(source)
        if fresh or bits.to_bytes() != source.bits.to_bytes():
            self._picker.source_gone(source.bits, source.complete)
            source.bits, source.complete = bits, bits.full
            self._picker.source_has(bits, bits.full)
            source.dirty = True
        elif not source.claims:
            source.dirty = True
        return []

    def _bits_of(self, message: Status) -> Bitfield:
        if message.state == "complete":
            return Bitfield.full_of(len(self._table))
        return Bitfield.from_bytes(message.bits, len(self._table))

    def _news(self, source: Source, message: Have, now: float) -> list[Effect]:
        if any(piece >= len(self._table) for piece in message.pieces):
            return self._ban(source, "announced a piece that does not exist", now)
        for piece in message.pieces:
            if piece in source.bits:
                continue
            source.bits.set(piece)
            self._picker.source_got(piece)
            source.dirty = source.dirty or self._table.missing(piece)
        return []

    def _withdrawn(self, source: Source, message: Withdrawn) -> list[Effect]:
        source.late.pop(message.offer, None)
        claim = source.claims.pop(message.offer, None)
        if claim is not None:
            self._claims -= 1
            self._release(claim.piece)
        return []

    def _not_held(self, source: Source, message: NotHeld, now: float) -> list[Effect]:
        if message.piece >= len(self._table):
            return self._ban(source, "took back a piece that does not exist", now)
        for offer, claim in list(source.claims.items()):
            if claim.piece == message.piece:
                del source.claims[offer]
                self._claims -= 1
                self._release(claim.piece)
        if message.piece in source.bits:
            self._picker.source_gone(source.bits, source.complete)
            source.bits.clear(message.piece)
            source.complete = False
            self._picker.source_has(source.bits, False)
        return []

    # --- pieces ------------------------------------------------------------------------------------------

    def _offer(self, source: Source, message: Offer, now: float) -> list[Effect]:
        if message.piece >= len(self._table):
            return self._ban(source, "offered a piece that does not exist", now)
        source.said_at = now
        if self._paused or not self._table.missing(message.piece):
            return [Send(source.session, Refuse(source.session, message.offer, "claimed"))]
        if self._claims >= CLAIMS_COUNT_MAX or not self._table.admits(message.piece, now):
            source.held = True
            return [Send(source.session, Refuse(source.session, message.offer, "full"))]
        self._table.claim(message.piece, now)
        self._claims += 1
        source.claims[message.offer] = Claim(message.piece, self._table.size(message.piece), now)
        return [Send(source.session, Accept(source.session, message.offer))]

    def _take_late(self, claim: Claim, now: float) -> bool:
        """A claim that was given up arrived after all. True when its data is still of use."""
        state = self._table[claim.piece]
        if state is PieceState.MISSING:
            self._table.claim(claim.piece, now)
            return True
        if state is not PieceState.CLAIMED:
            return False
        for other in self._pool:
            for offer, same in list(other.claims.items()):
                if same.piece == claim.piece:
                    other.late[offer] = other.claims.pop(offer)
                    self._claims -= 1
        return True

    def _release_claims(self, source: Source) -> None:
        for claim in source.claims.values():
            self._claims -= 1
            self._release(claim.piece)
        source.claims.clear()
        source.late.clear()

    def _release(self, piece: int) -> None:
        """``piece`` is missing again: whoever has it is asked for it."""
        self._table.release(piece)
        for source in self._pool:
            source.dirty = source.dirty or piece in source.bits

    def _give_up_overdue(self, now: float) -> None:
        """Give pieces of slow sources to others that have them."""
        ready = self._pool.ready()
        allowed = self._claim_seconds(ready)
        for source in ready:
            for offer, claim in list(source.claims.items()):
                if now - claim.at < allowed or not self._others_have(claim.piece, source, ready, now):
                    continue
                source.late[offer] = source.claims.pop(offer)
                source.slow_until = now + SLOW_SECONDS
                self._claims -= 1
                self._release(claim.piece)

    def _drop_stuck(self, now: float) -> list[Effect]:
        """Start over with a source that owes a piece for far too long and that nobody can stand in for."""
        effects: list[Effect] = []
        for source in self._pool.ready():
            oldest = min((claim.at for claim in source.claims.values()), default=now)
            if now - oldest > max(STUCK_SECONDS, STUCK_FACTOR * (source.piece_seconds or 0)):
                effects += self._drop(source, now)
        return effects

    def _others_have(self, piece: int, source: Source, ready: list[Source], now: float) -> bool:
        return any(o is not source and piece in o.bits and o.slow_until <= now for o in ready)

    def _claim_seconds(self, ready: list[Source]) -> float:
        times = [source.piece_seconds for source in ready if source.piece_seconds is not None]
        if not times:
            return OVERDUE_SECONDS_FIRST
        if len(self._picker):
            return max(OVERDUE_SECONDS_MIN, OVERDUE_FACTOR * median(times))
        return max(ENDGAME_SECONDS_MIN, ENDGAME_FACTOR * median(times))

    def _complete_if_done(self) -> list[Effect]:
        if self._completed or not self._table.have.full:
            return []
        self._completed = True
        return [Completed()]

    # --- what we want ------------------------------------------------------------------------------------

    def _may_ask(self, source: Source, now: float) -> bool:
        """Ready, and not set aside as slow while others can serve."""
        if source.state is not SourceState.READY:
            return False
        return source.slow_until <= now or not any(other.slow_until <= now for other in self._pool.ready())

    def _tell_wants(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        room = CLAIMS_COUNT_MAX - self._claims if self._budget.admits(self._table.piece_length, now) else 0
        for source in self._pool:
            again = source.held and room > 0
            due = source.dirty and (not source.claims or now >= source.want_at + WANT_INTERVAL_SECONDS)
            if not (again or due) or not self._may_ask(source, now):
                continue
            room -= again
            pieces = self._picker.order(source.bits, WANT_COUNT_MAX)
            if pieces or source.wanted:
                effects.append(self._want(source, pieces, now))
            source.dirty = source.held = False
        return effects

    def _want(self, source: Source, pieces: list[int], now: float) -> Effect:
        source.revision += 1
        source.want_at = source.said_at = now
        source.wanted = bool(pieces)
        return Send(source.session, Want(source.session, source.revision, pieces))

    def _need_sources(self, now: float) -> list[Effect]:
        if now - self._needed_at < NEED_SOURCES_SECONDS or not len(self._picker):
            return []
        if any(self._picker.any_of(source.bits) for source in self._pool.ready()):
            return []
        self._needed_at = now
        return [NeedSources()]

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        self._table.check_invariants()
        claimed = [claim.piece for source in self._pool for claim in source.claims.values()]
        assert len(claimed) == len(set(claimed)) == self._claims
        for piece in range(len(self._table)):
            state = self._table[piece]
            assert (piece in claimed) == (state is PieceState.CLAIMED)
            assert (piece in self._writing) == (state is PieceState.WRITING)
            assert self._picker.availability(piece) == sum(piece in source.bits for source in self._pool)
