"""A download against sources that do anything at all: the books stay right, time goes on, and it can still complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import pytest

from node.downloader.download import Completed, Download, Effect, SourceMessage, Write
from node.downloader.source import Banned, Connect, Disconnect, Send
from node.rate_limit import Budget
from protocol.bitfield import Bitfield
from protocol.messages import (
    Accept,
    Error,
    Have,
    NoSession,
    NotHeld,
    Offer,
    Piece,
    Received,
    Status,
    Want,
    Withdrawn,
    offers_of,
)
from tests.node.downloader.scene import DIGEST, PIECE_BYTES, entry

PIECES = 12
PEERS = [f"p{number}" for number in range(6)]
LENGTH = PIECES * PIECE_BYTES - 40


class Walk:
    """Random steps, drawn from one seed. What sources were told is kept: what they send is often an answer to it."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 50.0
        self.budget = Budget(rng.choice([150, 400, 10_000]), rng.choice([0.0, 0.0, 2_000.0]), self.now)
        have = Bitfield(PIECES)
        for piece in rng.sample(range(PIECES), rng.randrange(4)):
            have.set(piece)
        self.download = Download(
            DIGEST, LENGTH, PIECE_BYTES, have, self.budget, count(1), Random(seed), rng.choice([False, True])
        )
        self.sessions: dict[int, str] = {}
        self.offers = count(1)
        self.offered: list[tuple[int, int, int]] = []
        self.accepted: list[tuple[int, int, int]] = []
        self.writing: list[int] = []
        self.banned: set[str] = set()
        self.completed = 0
        self.perform(self.download.start(self.now))

    def perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                name = effect.endpoint.split("/")[2].split(":")[0]
                assert name not in self.banned, "never again"
                assert name not in self.sessions.values(), "one session a peer"
                self.sessions[effect.session] = name
            elif isinstance(effect, Disconnect):
                del self.sessions[effect.session]
            elif isinstance(effect, Write):
                self.writing.extend(effect.pieces)
            elif isinstance(effect, Banned):
                self.banned.add(effect.peer)
            elif isinstance(effect, Completed):
                self.completed += 1
            elif isinstance(effect, Send):
                self.told(effect)
        self.download.check_invariants()
        assert self.budget.under_way <= max(self.budget.bytes_max, PIECE_BYTES) + 3 * PIECE_BYTES

    def told(self, effect: Send) -> None:
        message = effect.message
        assert effect.session in self.sessions, "nobody is told anything before Connect or after Disconnect"
        if isinstance(message, Accept):
            accepted = offers_of(message)
            self.accepted += [offer for offer in self.offered if offer[0] == effect.session and offer[1] in accepted]
        elif isinstance(message, Want):
            assert len(message.pieces) == len(set(message.pieces))
            assert not [piece for piece in message.pieces if piece in self.download.have]
        elif isinstance(message, Received):
            received = [(effect.session, offer) for offer in offers_of(message)]
            self.accepted = [offer for offer in self.accepted if offer[:2] not in received]

    # --- steps -------------------------------------------------------------------------------------------

    def step(self) -> None:
        steps: list[Callable[[], Sequence[Effect]]] = [self.found, self.time, self.time, self.wrote, self.wrote]
        if self.sessions:
            steps += [self.connected, self.status, self.status, self.offer, self.offer, self.offer, self.have]
            steps += [self.piece] * 5
            if self.rng.random() < 0.15:
                steps = [self.rare]
        self.perform(self.rng.choice(steps)())
        self.perform(self.download.tick(self.now))
        due = self.download.next_deadline(self.now)
        assert due is None or due >= self.now, "after a tick nothing is due in the past"

    def session(self) -> int:
        return self.rng.choice(list(self.sessions))

    def found(self) -> Sequence[Effect]:
        return self.download.found([entry(self.rng.choice(PEERS), self.rng.randint(1, 2))], self.now)

    def time(self) -> Sequence[Effect]:
        self.now += self.rng.choice([0.0, 0.01, 0.3, 3.0])
        return []

    def connected(self) -> Sequence[Effect]:
        return self.download.connected(self.session(), self.now)

    def status(self) -> Sequence[Effect]:
        bits = Bitfield(PIECES)
        for piece in self.rng.sample(range(PIECES), self.rng.randint(0, PIECES)):
            bits.set(piece)
        state, data = ("partial", bits.to_bytes()) if self.rng.random() < 0.7 else ("complete", b"")
        return self.download.handle(self.session(), Status(self.session(), state, data, 0), self.now)  # type: ignore[arg-type]

    def offer(self) -> Sequence[Effect]:
        session = self.session()
        pieces = [self.rng.randrange(PIECES) for _ in range(self.rng.choice((1, 1, 3)))]
        offers = [(session, next(self.offers), piece) for piece in pieces]
        self.offered += offers
        at_once = self.rng.choice((0, 12))
        return self.download.handle(
            session, Offer(session, offers[0][1], 1, pieces[0], False, at_once, pieces[1:]), self.now
        )

    def have(self) -> Sequence[Effect]:
        session = self.session()
        pieces = [self.rng.randrange(PIECES) for _ in range(3)]
        return self.download.handle(session, Have(session, pieces), self.now)

    def piece(self) -> Sequence[Effect]:
        owed = [offer for offer in self.accepted if offer[0] in self.sessions]
        if not owed:
            return []
        session = self.rng.choice(owed)[0]
        owed = [offer for offer in owed if offer[0] == session]
        together = [offer[1:] for offer in self.rng.sample(owed, self.rng.randint(1, len(owed)))]
        sizes = [min(PIECE_BYTES, LENGTH - piece * PIECE_BYTES) for _, piece in together]
        return self.download.pieces(session, Piece(session, *together[0], together[1:]), sizes, self.now)

    def wrote(self) -> Sequence[Effect]:
        if not self.writing:
            return []
        piece = self.writing.pop(self.rng.randrange(len(self.writing)))
        if self.rng.random() < 0.05:
            self.download.write_failed(piece)
            return []
        return self.download.written(piece, self.rng.random() < 0.9, self.now)

    def rare(self) -> Sequence[Effect]:
        session, rng, download = self.session(), self.rng, self.download
        number = rng.choice([offer[1] for offer in self.offered] or [1])
        messages: list[SourceMessage] = [
            Status(session, "later", b"", 0),
            Status(session, "no", b"", 0),
            Withdrawn(session, number),
            NotHeld(session, rng.randrange(PIECES)),
            NoSession(session),
            Error(0, "x", "y"),
        ]
        steps: list[Callable[[], Sequence[Effect]]] = [
            *[lambda message=message: download.handle(session, message, self.now) for message in messages],
            lambda: download.disconnected(session, "refused", self.now),
            lambda: download.peer_lost(self.sessions[session], self.now),
            lambda: [*download.pause(self.now), *download.resume(self.now)],
            lambda: download.pieces(session, Piece(session, 10_000, 0), [PIECE_BYTES], self.now),
        ]
        return rng.choice(steps)()

    # --- and at last ------------------------------------------------------------------------------------

    def finish(self) -> None:
        """A source that does everything right comes: from then on all goes well."""
        while self.writing:
            self.perform(self.download.written(self.writing.pop(), True, self.now))
        for peer in PEERS:
            self.perform(self.download.peer_lost(peer, self.now))
        self.perform(self.download.found([entry("good")], self.now))
        for _ in range(2_000):
            if self.completed:
                return
            (good,) = [session for session, name in self.sessions.items() if name == "good"] or (0,)
            messages: list[SourceMessage] = [Status(good, "complete", b"", 0), *self.good_offers(good)]
            for message in messages:
                self.perform(self.download.connected(good, self.now))
                self.perform(self.download.handle(good, message, self.now))
            self.perform(self.piece())
            self.perform(self.download.tick(self.now))
            while self.writing:
                self.perform(self.download.written(self.writing.pop(), True, self.now))
            self.now += 0.1
        raise AssertionError("it did not complete")

    def good_offers(self, session: int) -> list[Offer]:
        missing = list(self.download.have.missing())[:1]
        offers = [(session, next(self.offers), piece) for piece in missing]
        self.offered += offers
        return [Offer(session, offer, 1, piece) for _, offer, piece in offers]


@pytest.mark.parametrize("seed", range(25))
def test_any_history(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(250):
        walk.step()
    walk.finish()
    assert walk.completed == 1
    assert walk.budget.under_way == 0
