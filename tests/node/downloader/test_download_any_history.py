"""A download against sources that do anything at all: the books stay right, time goes on, and it can still complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.downloader.download import Completed, Download, Effect, Write
from node.downloader.source import Banned, Connect, Disconnect, Send, SourcePool
from node.rate_limit import Budget
from protocol.bitfield import Bitfield
from protocol.messages import (
    Cancel,
    Error,
    Follow,
    Get,
    NoSession,
    NotHeld,
    Piece,
    Received,
    Relay,
    SeederEntry,
    Status,
)
from tests.node.downloader.scene import DIGEST, PIECE_BYTES

PIECES = 12
LENGTH = PIECES * PIECE_BYTES - 40
PEERS = [f"p{number}" for number in range(6)]
indices = st.integers(0, PIECES - 1)
some = st.lists(indices, max_size=PIECES, unique=True)
which = st.integers(0, 1_000)
"""Chooses one of those there are."""


def of(pieces: Sequence[int]) -> Bitfield:
    bits = Bitfield(PIECES)
    for piece in pieces:
        bits.set(piece)
    return bits


class AnyHistory(RuleBasedStateMachine):
    """Every rule is something that the network, a source, the disk or the piece server does. A source has the credit
    that it was told of, and may use it for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0
        self.sessions: dict[int, str] = {}
        self.credit: dict[int, int] = {}
        self.unacknowledged: dict[int, int] = {}
        self.asked: dict[int, list[int]] = {}
        self.writing: list[int] = []
        self.aside: list[int] = []
        self.banned: set[str] = set()
        self.completed = 0

    @initialize(
        have=some, bytes_max=st.sampled_from([150, 400, 10_000]), rate=st.sampled_from([0.0, 2_000.0]), data=st.data()
    )
    def start(self, have: list[int], bytes_max: int, rate: float, data: st.DataObject) -> None:
        rng = Random(data.draw(st.integers(0, 99)))
        self.budget = Budget(bytes_max, rate, self.now)
        sequential = data.draw(st.booleans())
        pool = SourcePool(count(1), rng)
        self.download = Download(DIGEST, LENGTH, PIECE_BYTES, of(have), self.budget, pool, rng, sequential)
        self.aside = [piece for piece in data.draw(some) if piece not in have]
        self.download.pieces.set_aside(self.aside)
        self.perform(self.download.start(self.now))

    def perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                source = self.download.pool.get(effect.session)
                assert source is not None
                name = source.entry.peer
                assert name not in self.banned, "never again"
                assert name not in self.sessions.values(), "one session a peer"
                self.sessions[effect.session] = name
                self.credit[effect.session] = self.unacknowledged[effect.session] = 0
            elif isinstance(effect, Disconnect):
                del self.sessions[effect.session]
            elif isinstance(effect, Write):
                assert effect.piece not in [*self.writing, *self.aside]
                assert effect.piece not in self.download.have
                self.writing.append(effect.piece)
            elif isinstance(effect, Banned):
                self.banned.add(effect.peer)
            elif isinstance(effect, Completed):
                self.completed += 1
            elif isinstance(effect, Send):
                self.told(effect)

    def told(self, effect: Send) -> None:
        session, message = effect.session, effect.message
        assert session in self.sessions, "nobody is told anything before Connect or after Disconnect"
        if isinstance(message, Follow):
            self.credit[session] = message.credit
            self.unacknowledged[session] = 0
            self.asked[session] = []
        elif isinstance(message, Received):
            self.credit[session] += message.credit
            self.unacknowledged[session] -= message.count
            assert self.unacknowledged[session] >= 0, "what has not come is not acknowledged"
        elif isinstance(message, Get):
            assert len(message.pieces) == len(set(message.pieces))
            assert not [piece for piece in message.pieces if piece in [*self.writing, *self.aside]]
            assert not [piece for piece in message.pieces if piece in self.download.have]
            self.asked[session] = [*self.asked[session], *message.pieces]
        elif isinstance(message, Cancel):
            self.asked[session] = [piece for piece in self.asked[session] if piece not in message.pieces]
        elif isinstance(message, Relay):
            assert message.count > 0

    def then(self, effects: Sequence[Effect]) -> None:
        self.perform(effects)
        self.perform(self.download.tick(self.now))
        due = self.download.next_deadline(self.now)
        assert due is None or due >= self.now, "after a tick nothing is due in the past"

    def session(self, number: int) -> int:
        return list(self.sessions)[number % len(self.sessions)]

    @invariant()
    def books_are_right(self) -> None:
        if hasattr(self, "download"):
            self.download.check_invariants()
            sources = self.download.sources
            assert len({source.entry.endpoint for source in sources}) == len(sources), "one source an address"
            assert self.budget.under_way <= self.budget.bytes_max + 2 * max(1, len(sources)) * PIECE_BYTES
            assert {one.session: one.credit for one in sources if one.answered} == {
                one.session: self.credit[one.session] for one in sources if one.answered
            }, "a source has the credit it was told of"

    # --- the network ------------------------------------------------------------------------------------

    @rule(peer=st.sampled_from(PEERS), at=st.sampled_from(PEERS), port=st.integers(1, 2))
    def found(self, peer: str, at: str, port: int) -> None:
        """Two may be at one address, and one may move."""
        self.then(self.download.found([SeederEntry(peer, "", f"tcp://{at}:{port}", False)], self.now))

    @rule(peer=st.sampled_from(PEERS))
    def peer_lost(self, peer: str) -> None:
        self.then(self.download.peer_lost(peer, self.now))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 3.0, 15.0]))
    def time(self, seconds: float) -> None:
        self.now += seconds
        self.then([])

    @precondition(lambda self: self.sessions)
    @rule(number=which)
    def connected(self, number: int) -> None:
        self.then(self.download.connected(self.session(number), self.now))

    @precondition(lambda self: self.sessions)
    @rule(number=which)
    def disconnected(self, number: int) -> None:
        self.then(self.download.disconnected(self.session(number), "refused", self.now))

    # --- sources ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.sessions)
    @rule(number=which, bits=some, stock=st.booleans(), alone=st.booleans(), idle=st.booleans())
    def status(self, number: int, bits: list[int], stock: bool, alone: bool, idle: bool) -> None:
        session = self.session(number)
        state = Status(session, "partial", of(bits).to_bytes(), stock, alone, idle)
        self.then(self.download.handle(session, state, self.now))

    @precondition(lambda self: any(self.credit[one] for one in self.sessions))
    @rule(number=which, piece=indices, asked=st.booleans(), relay=st.booleans(), promised=some)
    def piece(self, number: int, piece: int, asked: bool, relay: bool, promised: list[int]) -> None:
        able = [session for session in self.sessions if self.credit[session]]
        session = able[number % len(able)]
        if asked and self.asked[session]:
            piece = self.asked[session].pop(0)
        self.credit[session] -= 1
        self.unacknowledged[session] += 1
        size = min(PIECE_BYTES, LENGTH - piece * PIECE_BYTES)
        self.then(self.download.piece(session, Piece(session, piece, relay, promised), size, self.now))

    @precondition(lambda self: self.sessions)
    @rule(number=which, piece=st.integers(0, PIECES))
    def not_held(self, number: int, piece: int) -> None:
        session = self.session(number)
        self.then(self.download.handle(session, NotHeld(session, piece), self.now))

    @precondition(lambda self: self.sessions)
    @rule(number=which, what=st.sampled_from(["later", "no", "forgotten", "error", "nonsense", "flood"]))
    def unable(self, number: int, what: str) -> None:
        session, download = self.session(number), self.download
        if what == "forgotten":
            self.credit[session] = 0
            self.then(download.handle(session, NoSession(session), self.now))
        elif what == "error":
            self.then(download.handle(session, Error(0, "x", "y"), self.now))
        elif what == "nonsense":
            self.then(download.misbehaved(session, "sends nonsense", self.now))
        elif what == "flood":
            for _ in range(250):
                self.perform(download.handle(session, Status(session, "complete"), self.now))
            self.then([])
        else:
            state = Status(session, "later" if what == "later" else "no")
            self.then(download.handle(session, state, self.now))

    @precondition(lambda self: self.sessions)
    @rule(number=which, size=st.sampled_from([0, 59, PIECE_BYTES + 1]), piece=st.integers(0, PIECES + 1))
    def wrong_piece(self, number: int, size: int, piece: int) -> None:
        session = self.session(number)
        self.then(self.download.piece(session, Piece(session, piece), size, self.now))
        assert session not in self.sessions

    # --- the disk and the piece server ------------------------------------------------------------------

    @precondition(lambda self: self.writing)
    @rule(number=which, result=st.sampled_from(["good", "good", "good", "damaged", "failed"]))
    def wrote(self, number: int, result: str) -> None:
        piece = self.writing.pop(number % len(self.writing))
        if result == "failed":
            self.download.write_failed(piece)
            self.then([])
        else:
            self.then(self.download.written(piece, result == "good", self.now))

    @precondition(lambda self: self.aside)
    @rule(number=which, result=st.sampled_from(["good", "good", "wrong", "missing"]))
    def read(self, number: int, result: str) -> None:
        """What was to be read from other content of this machine."""
        piece = self.aside.pop(number % len(self.aside))
        if result == "missing":
            self.download.write_failed(piece)
            self.then([])
        else:
            self.then(self.download.written(piece, result == "good", self.now))

    @rule(room=st.integers(0, 5), restart=st.booleans())
    def room(self, room: int, restart: bool) -> None:
        if restart:
            self.download.restart_relaying()
        self.download.set_room(room)
        self.then([])

    @rule()
    def pause_and_resume(self) -> None:
        self.perform(self.download.pause(self.now))
        assert self.budget.under_way == len(self.writing) * PIECE_BYTES
        self.then(self.download.resume(self.now))

    # --- and at last ------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """A source that does everything right comes: from then on all goes well."""
        if not hasattr(self, "download"):
            return
        for peer in PEERS:
            self.perform(self.download.peer_lost(peer, self.now))
        self.then(self.download.found([SeederEntry("good", "", "tcp://good:1", True)], self.now))
        for _ in range(1_000):
            while self.aside or self.writing:
                self.then(self.download.written((self.aside or self.writing).pop(), True, self.now))
            if self.completed:
                break
            good = next((session for session, name in self.sessions.items() if name == "good"), None)
            if good is not None:
                self.good_source(good)
            self.now += 0.1
            self.then([])
        assert self.completed == 1
        self.perform(self.download.close(self.now))
        assert self.budget.under_way == 0

    def good_source(self, session: int) -> None:
        steps: list[Callable[[], Sequence[Effect]]] = [
            lambda: self.download.connected(session, self.now),
            lambda: self.download.handle(session, Status(session, "complete", stock=True, alone=True), self.now),
        ]
        for step in steps:
            self.then(step())
        while session in self.sessions and self.credit[session] and self.asked.get(session):
            self.credit[session] -= 1
            self.unacknowledged[session] += 1
            piece = self.asked[session].pop(0)
            size = min(PIECE_BYTES, LENGTH - piece * PIECE_BYTES)
            self.then(self.download.piece(session, Piece(session, piece), size, self.now))


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestAnyHistory = AnyHistory.TestCase
