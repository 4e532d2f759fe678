"""One `Uploads` with scripted receivers, named by a letter: each call goes to the real core and returns what it does.

A receiver's route is its name, its session is 1. Every call is followed by a tick, as in the shell, and checks the
invariants. What the core does comes as words:

    a<2          piece 2 goes to a
    a<2 relay    ...which is to relay it
    a<2 hand on  ...which is to hand it on along its row
    a<2 +3+5     ...and is promised pieces 3 and 5
    a: partial stock alone idle, a: not held 2, a: no session      what a is told
    recheck 2    piece 2 is to be read again
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from node.local_messages import Room
from node.piece_server.sending import SendPiece
from node.piece_server.uploads import CHECK_SECONDS, Effect, Recheck, UploadRequest, Uploads
from protocol.grid import Mate
from protocol.messages import Bye, Cancel, Follow, Get, Have, NoSession, NotHeld, Piece, Received, Relay
from protocol.messages import Test as AskTest
from tests.node.scene_pictures import bits

DIGEST = "blake3:" + "ab" * 32
OTHER = "blake3:" + "cd" * 32
PIECE_BYTES = 100
PATIENT_SECONDS = 0.5
"""Longer than a piece may be on its way where pieces arrive at once."""


class InOrder(Random):
    """Draws pieces of a stock in the order of their numbers, and receipts that are all the same."""

    receipt = 0

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        del start, stop, step
        return 0

    def getrandbits(self, _bits: int, /) -> int:
        return self.receipt


def word(effect: Effect) -> str:
    if isinstance(effect, SendPiece):
        header = effect.header
        promised = " " + "".join(f"+{piece}" for piece in header.promised) if header.promised else ""
        role = " relay" * header.relay + " hand on" * header.hand_on
        return f"{effect.route.decode()}<{header.piece}{role}{promised}"
    if isinstance(effect, Recheck):
        return f"recheck {effect.piece}"
    assert not isinstance(effect, Room)
    message = effect.message
    if isinstance(message, NoSession):
        said = "no session"
    elif isinstance(message, NotHeld):
        said = f"not held {message.piece}"
    else:
        said = " ".join([message.state, *(flag for flag in ("stock", "alone", "idle") if getattr(message, flag))])
    return f"{effect.route.decode()}: {said}"


def sent(words: Sequence[str]) -> str:
    """Who is sent which piece, of ``words``: ``a0 b1``."""
    return " ".join(one.split()[0].replace("<", "") for one in words if "<" in one)


class Scene:
    """Serves the pieces in ``have`` of one content, of which others relay those in ``spread``; the last piece is 40
    bytes short."""

    def __init__(self, have: str, spread: str = "", rate: float = 0.0, piece_length: int = PIECE_BYTES) -> None:
        self.now = 100.0
        self.piece_length = piece_length
        self.rng = InOrder(0)
        self.uploads = Uploads(self.now, self.rng)
        self.uploads.set_rate(rate, self.now)
        self.hosts: dict[str, str] = {}
        """Receivers that share an address; others have their own."""
        self.rooms: list[int] = []
        """What the downloader is told of room for pieces to relay."""
        self.effects: list[Effect] = []
        """What came of the last call."""
        self.serve(have, spread)

    def serve(self, have: str, spread: str = "", digest: str = DIGEST) -> list[str]:
        self.have = bits(have)
        spread_bits = bits(spread) if spread else None
        self.uploads.serve(
            digest, self.have, max(0, len(have) * self.piece_length - 40), self.piece_length, spread_bits
        )
        return self.then([])

    def then(self, effects: list[Effect]) -> list[str]:
        effects += self.uploads.tick(self.now)
        self.uploads.check_invariants()
        self.rooms += [effect.count for effect in effects if isinstance(effect, Room)]
        self.effects = [effect for effect in effects if not isinstance(effect, Room)]
        return [word(effect) for effect in self.effects]

    # --- what receivers say ------------------------------------------------------------------------------

    def says(self, name: str, message: UploadRequest) -> list[str]:
        return self.then(self.uploads.handle(name.encode(), message, self.now, self.hosts.get(name, name)))

    def test(self, name: str, digest: str = DIGEST, session: int = 1) -> list[str]:
        return self.says(name, AskTest(session, digest))

    def opened(self, *names: str) -> None:
        for name in names:
            self.test(name)

    def follows(self, name: str, credit: int, skip: str = "", push: bool = True, mate: Mate | None = None) -> list[str]:
        """Has the pieces ``skip`` or gets them elsewhere. Its session is opened first, if need be."""
        if self.key(name) not in self.uploads._sessions:
            self.test(name)
        needless = bits(skip.ljust(self.have.size)).to_bytes()
        return self.says(name, Follow(1, needless, credit, push, mate))

    def gets_only(self, name: str, credit: int) -> list[str]:
        return self.follows(name, credit, push=False)

    def received(self, name: str, count: int = 1, credit: int | None = None) -> list[str]:
        """Gives as much credit back, if nothing else is said."""
        return self.says(name, Received(1, count, count if credit is None else credit))

    def relays(self, name: str, count: int, *assigned: int) -> list[str]:
        """Would relay ``count`` more, and others have assigned it the pieces ``assigned``."""
        session = self.uploads._sessions.get(self.key(name))
        before = session.relays + session.asked if session is not None else 0
        return self.says(name, Relay(1, before + count, list(assigned)))

    def gets(self, name: str, *pieces: int) -> list[str]:
        return self.says(name, Get(1, list(pieces)))

    def cancels(self, name: str, *pieces: int) -> list[str]:
        return self.says(name, Cancel(1, list(pieces)))

    def has(self, name: str, have: str) -> list[str]:
        return self.says(name, Have(1, bits(have).to_bytes()))

    def bye(self, name: str, *bad: int) -> list[str]:
        return self.says(name, Bye(1, list(bad)))

    # --- what else happens -------------------------------------------------------------------------------

    def held(self, *pieces: int, relayed: Sequence[int] | None = None, handed_on: Sequence[int] = ()) -> list[str]:
        """The download has ``pieces`` now; it is to relay all of them, if nothing else is said."""
        relays = list(pieces if relayed is None else relayed)
        return self.then(self.uploads.held(DIGEST, list(pieces), relays, self.now, handed_on))

    def fails(self, name: str, piece: int, gone: bool, relay: bool = False) -> list[str]:
        session = self.uploads._sessions.get(self.key(name))
        if session is None:  # the shell asks first
            return []
        return self.then(self.uploads.piece_failed(session, Piece(1, piece, relay, receipt=self.rng.receipt), gone))

    def unreachable(self, name: str) -> list[str]:
        self.uploads.unreachable(name.encode(), 1)
        return self.then([])

    def tick(self, seconds: float = 0.0) -> list[str]:
        self.now += seconds
        return self.then([])

    def wait(self, seconds: float, *alive: str) -> list[str]:
        """Let ``seconds`` pass, with a tick whenever one is due; who is ``alive`` says so each second."""
        until = self.now + seconds
        words: list[str] = []
        said_at = self.now
        while (due := self.uploads.next_deadline(self.now)) is not None and due <= until:
            words += self.tick(max(CHECK_SECONDS / 100, due - self.now))
            if self.now - said_at >= 1.0:
                said_at = self.now
                for name in alive:
                    words += self.cancels(name)
        self.now = max(self.now, until)
        return words

    # --- as it is ----------------------------------------------------------------------------------------

    def key(self, name: str) -> tuple[bytes, int]:
        return name.encode(), 1

    @property
    def sessions(self) -> str:
        """Who has a session."""
        return "".join(route.decode() for route, _ in self.uploads._sessions)
