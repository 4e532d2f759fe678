"""One download: which piece comes from whom, until all are verified. PROTOCOL.md, section 6.

Pure. `Download` takes what happened and the time and returns effects; the shell opens connections, sends, verifies,
writes and calls back. Leaves the state of each piece to `piece_table`, the choice among missing ones to `picker`, who
the sources are to `source`, what they are told is wanted to `wants`, what they owe to `claims`, and files to the shell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from node.downloader.claims import Claims
from node.downloader.piece_table import PieceState, PieceTable
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
from node.downloader.wants import Wants
from node.rate_limit import Budget
from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError
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
    Refusal,
    Refuse,
    SeederEntry,
    Status,
    Test,
    Withdrawn,
)

CHECK_SECONDS = 0.25
"""How often silence and overdue pieces are looked for."""
NEED_SOURCES_SECONDS = 1.0
PREFERRED_COUNT = 4
"""So many sources give way at a time to such as were passed over while everybody owed something."""
MAKE_ROOM_COUNT = 8
"""So many useless sources give way at a time, when all places are taken by useless ones and others are known."""


@dataclass(frozen=True, slots=True)
class Write:
    """Verify what came with the `Piece` just handled as ``pieces`` and write it; then call `Download.written` for each
    of them."""

    pieces: tuple[int, ...]


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
        self._pool = SourcePool(have.size, sessions, rng)
        self._wants = Wants(self._pool, self._picker, have.size)
        self._claims = Claims(self._table, self._pool, self._wants)
        self._writing: dict[int, SeederEntry] = {}
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
    def pool(self) -> SourcePool:
        """The sources; do not change."""
        return self._pool

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

    def found(self, entries: Sequence[SeederEntry], now: float, listed: int | None = None) -> list[Effect]:
        """A lookup or the roster names sources; ``listed`` as `SourcePool.learn` has it."""
        newcomers = self._pool.learn(entries, listed)
        return [*self._connect(now), *self._prefer(newcomers, now)]

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        """The roster says that the peer left, expired or no longer has the content. That is a hint: a source that
        owes pieces may well be sending them, and is kept until it owes nothing or falls silent."""
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        return [] if source is None or source.claims else self._drop(source, now, Farewell.FOREVER)

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
            self._claims.release(source, message.offer)
            return []
        if isinstance(message, NoSession):
            self._claims.release_all(source)
            return [self._test(source, now)]
        if not isinstance(message, Error):
            return []
        trouble = Trouble("not_serving" if source.answered else "no_peer", message.detail)
        return [*self._drop(source, now, trouble), *self._connect(now)]

    def pieces(self, session: int, message: Piece, sizes: Sequence[int], now: float) -> list[Effect]:
        """Pieces of so many bytes each arrived."""
        arrived = sum(sizes)
        self.received_bytes += arrived
        source = self._pool.get(session)
        if source is None:
            return []
        source.heard_at = source.said_at = now
        self.received_from[source.entry.peer] = self.received_from.get(source.entry.peer, 0) + arrived
        answer: list[Effect] = [Send(session, Received(session, message.offer, [offer for offer, _ in message.more]))]
        useful: list[int] = []
        for (offer, piece), size in zip(message.all(), sizes, strict=True):
            is_useful = self._claims.arrived(source, offer, piece, size, now)
            if is_useful is None:
                answer = self._ban(source, f"sent piece {piece} of {size} bytes that was not asked for", now)
                break
            if is_useful:
                self._writing[piece] = source.entry
                useful.append(piece)
            else:
                self.duplicate_bytes += size
        return [*answer, Write(tuple(useful))] if useful else answer

    def written(self, piece: int, good: bool, now: float) -> list[Effect]:
        """A `Write` ended: ``good`` when the digest matched and the bytes are on disk."""
        entry = self._writing.pop(piece)
        if good:
            self._table.finish(piece)
            return [Gained(piece), *self._complete_if_done()]
        self._table.release(piece)
        self._wants.missing_again(piece)
        source = self._pool.of_peer(entry.peer)
        reason = f"sent a damaged piece {piece}; run 'verify' there to check its copy"
        if source is not None:  # told, it looks at its disk
            return [Send(source.session, Bye(source.session, [piece])), *self._ban(source, reason, now)]
        if self._pool.is_banned(entry.peer):
            return []
        self._pool.ban(entry.peer, reason)
        return [Banned(entry.peer, entry.name, reason)]

    def write_failed(self, piece: int) -> None:
        """A `Write` could not be done for a reason of our own (disk): the piece is missing again."""
        del self._writing[piece]
        self._table.release(piece)
        self._wants.missing_again(piece)

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
                effects.append(Send(source.session, Bye(source.session)))
            effects += self._drop(source, now, Farewell.FRIENDLY)
        return effects

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Do what is due, and tell sources what is wanted of them now."""
        if self._completed or self._paused:
            return []
        effects: list[Effect] = []
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            effects += self._give_up_silent(now)
            effects += self._drop_forgotten(now)
            effects += [self._test(source, now) for source in self._pool.to_test(now)]
            self._claims.give_up_overdue(now)
            effects += self._need_sources(now)
            effects += self._connect(now)
            effects += self._prefer(None, now)
        return effects + self._claims.tell_wants(now)

    def next_deadline(self, now: float) -> float | None:
        """When `tick` should be called next; None when nothing is left to do."""
        if self._completed or self._paused:
            return None
        due = min(self._check_at, self._wants.next_deadline())
        ready = self._budget.bucket.ready_at(now)
        return min(due, ready) if ready > now else due

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
        source.said_at = now
        return Send(source.session, Test(source.session, self._digest, source.entry.peer))

    def _drop(self, source: Source, now: float, why: Trouble | Farewell) -> list[Effect]:
        self._claims.release_all(source)
        self._wants.gone(source)
        self._picker.source_gone(source.bits, source.complete)
        self._pool.drop(source, now, why)
        return [Disconnect(source.session)]

    def _give_up_silent(self, now: float) -> list[Effect]:
        """Drop who says nothing, and who owes a piece for far too long."""
        effects: list[Effect] = []
        for source in [*self._pool.unresponsive(now), *self._claims.stuck(now)]:
            if self._pool.get(source.session) is source:
                self._pool.be_patient(source)
                effects += self._drop(source, now, NO_ANSWER)
        return effects

    def _drop_forgotten(self, now: float) -> list[Effect]:
        """Part with those that `peer_lost` left for what they owed, and that owe nothing any more."""
        effects: list[Effect] = []
        for source in self._pool.forgotten():
            if not source.claims:
                effects += self._drop(source, now, Farewell.FOREVER)
        return effects

    def _ban(self, source: Source, reason: str, now: float) -> list[Effect]:
        self._pool.ban(source.entry.peer, reason)
        return [*self._drop(source, now, Farewell.FRIENDLY), Banned(source.entry.peer, source.entry.name, reason)]

    def _status(self, source: Source, message: Status, now: float) -> list[Effect]:
        if message.state in UNABLE:
            # It makes room for others.
            return [*self._drop(source, now, UNABLE[message.state]), *self._connect(now)]
        try:
            bits = self._bits_of(message)
        except ProtocolError as error:
            return self._ban(source, str(error), now)
        changed = bits != source.bits
        was_ready, source.state = source.state is SourceState.READY, SourceState.READY
        if changed or not was_ready or not source.claims:
            self._wants.changed(source)
        self._pool.answered(source)
        if changed or source.complete != bits.full:
            self._now_has(source, bits)
        return []

    def _now_has(self, source: Source, bits: Bitfield) -> None:
        """The source's bitfield is ``bits``: only what has changed is counted anew."""
        before = source.bits
        if source.complete == bits.full:
            for piece in bits.without(before).indices():
                self._picker.source_got(piece)
            for piece in before.without(bits).indices():
                self._picker.source_lost(piece)
        else:
            self._picker.source_gone(before, source.complete)
            self._picker.source_has(bits, bits.full)
        source.bits, source.complete = bits, bits.full

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
            if self._table.missing(piece):
                self._wants.changed(source)
        return []

    def _not_held(self, source: Source, message: NotHeld, now: float) -> list[Effect]:
        if message.piece >= len(self._table):
            return self._ban(source, "took back a piece that does not exist", now)
        if message.piece in source.bits:
            bits = source.bits.copy()
            bits.clear(message.piece)
            self._now_has(source, bits)
        self._claims.release_piece(source, message.piece)
        return []

    # --- pieces ------------------------------------------------------------------------------------------

    def _offer(self, source: Source, message: Offer, now: float) -> list[Effect]:
        offers = message.all()
        if any(piece >= len(self._table) for _, piece in offers):
            return self._ban(source, "offered a piece that does not exist", now)
        if any(offer in source.claims or offer in source.late for offer, _ in offers):
            return self._ban(source, "gave two offers the same number", now)
        source.said_at = now
        source.offered(message.spare, message.at_once, len(offers))
        answers: dict[Refusal | None, list[int]] = {}
        for offer, piece in offers:
            self._wants.offered(source)
            answers.setdefault(self._refusal(source, offer, piece, now), []).append(offer)
        return [Send(source.session, _answer(source.session, reason, some)) for reason, some in answers.items()]

    def _refusal(self, source: Source, offer: int, piece: int, now: float) -> Refusal | None:
        """Accept the offer and return None, or say why not."""
        if source.state is not SourceState.READY:
            return "unknown"
        if not self._table.missing(piece):
            return "claimed"
        if source.slow and self._wants.others_could_send(piece, source):
            self._claims.hold(source, now)
            return "full"
        return None if self._claims.take(source, offer, piece, now) else "full"

    def _complete_if_done(self) -> list[Effect]:
        if self._completed or not self._table.have.full:
            return []
        self._completed = True
        return [Completed()]

    def _need_sources(self, now: float) -> list[Effect]:
        """Ask for sources when none can send what is missing, and make room for those that are known."""
        if now - self._needed_at < NEED_SOURCES_SECONDS or not len(self._picker):
            return []
        ready = list(self._pool.ready())
        if any(self._picker.any_of(source.bits) for source in ready):
            return []
        self._needed_at = now
        effects: list[Effect] = [NeedSources()]
        if self._pool.leaves_out(now):
            idle = [source for source in ready if not source.claims and not source.late]
            for source in idle[:MAKE_ROOM_COUNT]:
                effects += self._drop(source, now, Farewell.USELESS)
        return effects

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        self._table.check_invariants()
        self._claims.check_invariants()
        assert self._table.in_state(PieceState.WRITING) == sorted(self._writing)
        sources = list(self._pool)
        assert all(source.complete == source.bits.full for source in sources if source.complete)
        counts = Counter(piece for source in sources for piece in source.bits.indices())
        assert all(self._picker.availability(piece) == counts[piece] for piece in range(len(self._table)))


def _answer(session: int, reason: Refusal | None, offers: list[int]) -> Accept | Refuse:
    """To ``offers``, all of which are accepted (None) or refused for the same reason."""
    if reason is None:
        return Accept(session, offers[0], offers[1:])
    return Refuse(session, offers[0], reason, offers[1:])
