"""One `Download` with scripted sources: each call goes to the real core and is followed by a tick, as in the shell.

Sources are named by a letter or two; a session number is found by its name. Every call checks the invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random

from node.downloader.download import Download, Effect, SourceMessage
from node.downloader.source import Connect, Send, Source
from node.rate_limit import Budget
from protocol.limits import UNDER_WAY_BYTES_MAX
from protocol.messages import (
    Accept,
    Have,
    NoSession,
    NotHeld,
    Offer,
    Piece,
    PieceServerRequest,
    Refuse,
    SeederEntry,
    Status,
    Want,
    Withdrawn,
)
from protocol.messages import Test as AskTest
from tests.node.scene_pictures import bits, picture

DIGEST = "blake3:" + "ab" * 32
PIECE_BYTES = 100


def entry(name: str, port: int = 1) -> SeederEntry:
    return SeederEntry(name, f"name-{name}", f"tcp://{name}:{port}", False)


def sent(effects: Sequence[Effect]) -> list[PieceServerRequest]:
    """The messages among ``effects``."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def wants(effects: Sequence[Effect]) -> dict[int, list[int]]:
    """Session to the pieces of its last Want among ``effects``."""
    return {m.session: m.pieces for m in sent(effects) if isinstance(m, Want)}


class Scene:
    """A download of the pieces missing in ``have``; the last piece is 40 bytes short."""

    def __init__(
        self,
        have: str,
        *,
        rate: float = 0,
        budget_bytes: int = UNDER_WAY_BYTES_MAX,
        piece_bytes: int = PIECE_BYTES,
        sequential: bool = False,
        seed: int = 1,
        started: bool = True,
        checked: bool = True,
    ) -> None:
        self.now = 100.0
        self.checked = checked
        self.length = max(0, len(have) * piece_bytes - 40)
        self.budget = Budget(budget_bytes, rate, self.now)
        self.download = Download(
            DIGEST, self.length, piece_bytes, bits(have), self.budget, count(1), Random(seed), sequential
        )
        self.spare = False
        """What all offers say: whether the source has nothing else to send..."""
        self.at_once = 0
        """...and how many pieces it sends at a time."""
        self.offers = count(1)
        self.sessions: dict[str, int] = {}
        if started:
            self.start()

    def _then(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Connect):
                self.sessions[effect.endpoint.split("/")[2].split(":")[0]] = effect.session
        return effects + self.tick()

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        """Let ``seconds`` pass and call `Download.tick` once."""
        self.now += seconds
        effects = self.download.tick(self.now)
        for effect in effects:
            if isinstance(effect, Connect):
                self.sessions[effect.endpoint.split("/")[2].split(":")[0]] = effect.session
        if self.checked:
            self.download.check_invariants()
        return effects

    def wait(self, seconds: float, answering: Sequence[str] = "") -> list[Effect]:
        """Let ``seconds`` pass, ticking at every deadline as the shell does. Sources whose name is in ``answering``
        answer Tests with what they had before."""
        until = self.now + seconds
        effects: list[Effect] = []
        while (due := self.download.next_deadline(self.now)) is not None and due <= until:
            news = self.tick(max(0.0, due - self.now))
            effects += news
            tested = [message.session for message in sent(news) if isinstance(message, AskTest)]
            for name in answering:
                source = self.source(name)
                if source is not None and source.session in tested:
                    effects += self.status(name, picture(source.bits))
        self.now = until
        return effects

    def start(self) -> list[Effect]:
        return self._then(self.download.start(self.now))

    def found(self, *names: str) -> list[Effect]:
        return self._then(self.download.found([entry(name) for name in names], self.now))

    def peer_lost(self, name: str) -> list[Effect]:
        return self._then(self.download.peer_lost(name, self.now))

    def connected(self, name: str) -> list[Effect]:
        return self._then(self.download.connected(self.sessions[name], self.now))

    def lost(self, name: str) -> list[Effect]:
        return self._then(self.download.disconnected(self.sessions[name], "refused", self.now))

    def says(self, name: str, message: SourceMessage) -> list[Effect]:
        return self._then(self.download.handle(self.sessions[name], message, self.now))

    def status(self, name: str, having: str | None = None) -> list[Effect]:
        """``having`` is a picture of its bitfield; None: everything."""
        session = self.sessions[name]
        if having is None:
            return self.says(name, Status(session, "complete", b"", 0))
        return self.says(name, Status(session, "partial", bits(having).to_bytes(), 0))

    def later(self, name: str) -> list[Effect]:
        return self.says(name, Status(self.sessions[name], "later", b"", 0))

    def no(self, name: str) -> list[Effect]:
        return self.says(name, Status(self.sessions[name], "no", b"", 0))

    def have(self, name: str, *pieces: int) -> list[Effect]:
        return self.says(name, Have(self.sessions[name], list(pieces)))

    def not_held(self, name: str, piece: int) -> list[Effect]:
        return self.says(name, NotHeld(self.sessions[name], piece))

    def no_session(self, name: str) -> list[Effect]:
        return self.says(name, NoSession(self.sessions[name]))

    def withdrawn(self, name: str, offer: int) -> list[Effect]:
        return self.says(name, Withdrawn(self.sessions[name], offer))

    def ready(self, *names: str, having: str | None = None) -> list[Effect]:
        """``names`` are found, connected and tell what they have; returns the effects of the last step."""
        effects = self.found(*names)
        for name in names:
            self.connected(name)
        for name in names:
            effects = self.status(name, having)
        return effects

    def offer(self, name: str, piece: int, number: int | None = None) -> list[Effect]:
        offer = next(self.offers) if number is None else number
        return self.says(name, Offer(self.sessions[name], offer, 1, piece, self.spare, self.at_once))

    def accepts(self, name: str, piece: int) -> int:
        """``name`` offers ``piece``, which must be accepted; returns the number of the offer."""
        number = next(self.offers)
        assert Accept(self.sessions[name], number) in sent(self.offer(name, piece, number))
        return number

    def refuses(self, name: str, piece: int) -> str:
        """``name`` offers ``piece``, which must be refused; returns the reason."""
        (refusal,) = [m for m in sent(self.offer(name, piece)) if isinstance(m, Refuse | Accept)]
        assert isinstance(refusal, Refuse)
        return refusal.reason

    def piece(self, name: str, offer: int, piece: int, size: int | None = None) -> list[Effect]:
        """The piece arrives; its `Write`, if any, goes on until `written`."""
        return self.pieces(name, [(offer, piece)], [self.size(piece) if size is None else size])

    def pieces(self, name: str, promised: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[Effect]:
        """The pieces of some offers arrive in one message."""
        header = Piece(self.sessions[name], *promised[0], list(promised[1:]))
        return self._then(self.download.pieces(header.session, header, sizes, self.now))

    def written(self, piece: int, good: bool = True) -> list[Effect]:
        return self._then(self.download.written(piece, good, self.now))

    def gets(self, name: str, piece: int, seconds: float = 0.0) -> list[Effect]:
        """Offer, accept, ``seconds`` later the piece, and its write: all in one; returns the effects of the last."""
        offer = self.accepts(name, piece)
        self.wait(seconds)
        self.piece(name, offer, piece)
        return self.written(piece)

    def size(self, piece: int) -> int:
        return min(PIECE_BYTES, self.length - piece * PIECE_BYTES)

    def source(self, name: str) -> Source | None:
        """The live session with ``name``, if there is one."""
        return next((source for source in self.download.sources if source.entry.peer == name), None)
