"""One `Uploads` with scripted receivers, named by a letter: each call goes to the real core.

A receiver's route is its name, its session is 1. Every call checks the invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from node.piece_server.effects import Effect, Reply, SendPieces

from node.piece_server.uploads import UploadRequest, Uploads
from protocol.bitfield import Bitfield
from protocol.messages import Accept, Bye, Offer, Received, Refuse, Want
from protocol.messages import Test as AskTest
from tests.node.scene_pictures import bits

DIGEST = "blake3:" + "ab" * 32
OTHER = "blake3:" + "cd" * 32
PIECE_BYTES = 100


def offered(effects: Sequence[Effect]) -> dict[int, int]:
    """Offer number to piece, of the offers among ``effects``."""
    return dict(each for offer in made(effects) for each in offer.all())


def made(effects: Sequence[Effect]) -> list[Offer]:
    """The offers among ``effects``."""
    return [e.message for e in effects if isinstance(e, Reply) and isinstance(e.message, Offer)]


def offers_to(effects: Sequence[Effect]) -> list[tuple[str, int]]:
    """(receiver, piece) of the offers among ``effects``."""
    return [
        (e.route.decode(), piece)
        for e in effects
        if isinstance(e, Reply) and isinstance(e.message, Offer)
        for _, piece in e.message.all()
    ]


def sends(effects: Sequence[Effect]) -> list[tuple[str, int]]:
    """(receiver, piece) of what is sent among ``effects``."""
    return [(e.route.decode(), piece) for e in effects if isinstance(e, SendPieces) for _, piece in e.promised]


class Drawn(Random):
    """Draws ``number`` every time. Uploads that draw 1 let receivers take turns in the order in which they ask."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self._number = number

    def random(self) -> float:
        return self._number


class Scene:
    """Serves the pieces in ``have`` of one content; the last piece is 40 bytes short."""

    def __init__(
        self, have: str, slots: int = 2, rate: float = 0.0, drawn: float = 1.0, piece_length: int = PIECE_BYTES
    ) -> None:
        self.now = 100.0
        self.uploads = Uploads(slots, rate, self.now, Drawn(drawn))
        self.have: Bitfield = bits(have)
        self.length = len(have) * piece_length - 40
        self.uploads.serve(DIGEST, self.have, self.length, piece_length)
        self.batches = False
        """Whether receivers take several offers in one message."""
        self.revisions: dict[str, int] = {}
        self.offers: dict[tuple[str, int], int] = {}

    def _then(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Reply) and isinstance(effect.message, Offer):
                for offer, piece in effect.message.all():
                    self.offers[effect.route.decode(), piece] = offer
        self.uploads.check_invariants()
        return effects

    def says(self, name: str, message: UploadRequest) -> list[Effect]:
        return self._then(self.uploads.handle(name.encode(), message, self.now))

    def test(self, name: str, digest: str = DIGEST, session: int = 1) -> list[Effect]:
        return self.says(name, AskTest(session, digest))

    def opened(self, *names: str) -> None:
        for name in names:
            self.test(name)

    def wants(self, name: str, *pieces: int, session: int = 1) -> list[Effect]:
        self.revisions[name] = self.revisions.get(name, 0) + 1
        return self.says(name, Want(session, self.revisions[name], list(pieces), self.batches))

    def gets(self, name: str, piece: int, seconds: float = 1.0) -> list[Effect]:
        """It wants ``piece``, and receives it after so long."""
        self.wants(name, piece)
        self.accepts(name, piece)
        self.now += seconds
        return self.received(name, piece)

    def accepts(self, name: str, piece: int) -> list[Effect]:
        return self.says(name, Accept(1, self.offers[name, piece]))

    def refuses(self, name: str, piece: int, reason: str = "claimed") -> list[Effect]:
        assert reason in ("claimed", "full", "unknown")
        return self.says(name, Refuse(1, self.offers[name, piece], reason))  # type: ignore[arg-type]

    def received(self, name: str, piece: int) -> list[Effect]:
        return self.says(name, Received(1, self.offers[name, piece]))

    def bye(self, name: str) -> list[Effect]:
        return self.says(name, Bye(1))

    def held(self, *pieces: int) -> list[Effect]:
        return self._then(self.uploads.held(DIGEST, list(pieces), self.now))

    def unreadable(self, name: str, piece: int) -> list[Effect]:
        return self._then(self.uploads.piece_failed(name.encode(), 1, self.offers[name, piece], True, self.now))

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        self.now += seconds
        return self._then(self.uploads.tick(self.now))

    def wait(self, seconds: float, *alive: str) -> list[Effect]:
        """Let ``seconds`` pass, ticking at every deadline as the shell does; who is ``alive`` sends a Test each
        second, the answers to which are left out."""
        until = self.now + seconds
        effects: list[Effect] = []
        spoken_at = self.now
        while (due := self.uploads.next_deadline(self.now)) is not None and due <= until:
            effects += self.tick(max(0.0, due - self.now))
            if alive and self.now - spoken_at >= 1.0:
                spoken_at = self.now
                for name in alive:
                    effects += self.test(name)[1:]
        self.now = until
        return effects
