"""One `Download` with scripted sources: each call goes to the real core and is followed by a tick, as in the shell.

Sources are named by a letter or two; a session number is found by its name. Every call checks the invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Literal

from node.downloader.download import Download, Effect, SourceMessage
from node.downloader.source import Connect, Send, Source, SourcePool
from node.rate_limit import Budget
from protocol.limits import UNDER_WAY_BYTES_MAX
from protocol.messages import (
    Cancel,
    Follow,
    Get,
    Have,
    NoSession,
    NotHeld,
    Piece,
    PieceServerRequest,
    Received,
    Relay,
    SeederEntry,
    Status,
)
from protocol.messages import Test as AskTest
from tests.node.scene_pictures import bits, picture

DIGEST = "blake3:" + "ab" * 32
PIECE_BYTES = 100


def entry(name: str, port: int = 1, key: str = "", cell: int | None = None) -> SeederEntry:
    return SeederEntry(name, f"name-{name}", f"tcp://{name}:{port}", False, key, cell)


def sent(effects: Sequence[Effect]) -> list[PieceServerRequest]:
    """The messages among ``effects``."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def asked(effects: Sequence[Effect]) -> dict[int, list[int]]:
    """Session to the pieces it is asked for among ``effects``."""
    found: dict[int, list[int]] = {}
    for message in sent(effects):
        if isinstance(message, Get):
            found.setdefault(message.session, []).extend(message.pieces)
    return found


def cancelled(effects: Sequence[Effect]) -> dict[int, list[int]]:
    """Session to the pieces it need not send, as said among ``effects``."""
    return {m.session: m.pieces for m in sent(effects) if isinstance(m, Cancel)}


def relays(effects: Sequence[Effect]) -> dict[int, int]:
    """Session to how many pieces it is to assign in all, as said among ``effects``."""
    return {m.session: m.count for m in sent(effects) if isinstance(m, Relay)}


def credit(effects: Sequence[Effect]) -> dict[int, int]:
    """Session to how many more pieces may come, as said among ``effects``; sessions that may send no more left out."""
    given: dict[int, int] = {}
    for message in sent(effects):
        if isinstance(message, Follow | Received) and message.credit:
            given[message.session] = given.get(message.session, 0) + message.credit
    return given


def have(effects: Sequence[Effect]) -> dict[int, str]:
    """Session to a picture of what it is told this peer has."""
    return {m.session: m.bits.hex() for m in sent(effects) if isinstance(m, Have)}


class Scene:
    """A download of the pieces missing in ``have``; the last piece is ``short`` bytes short. Other downloads
    can share its ``budget``."""

    def __init__(
        self,
        have: str,
        *,
        rate: float = 0,
        budget: Budget | None = None,
        budget_bytes: int = UNDER_WAY_BYTES_MAX,
        piece_bytes: int = PIECE_BYTES,
        sequential: bool = False,
        seed: int = 1,
        short: int = 40,
        started: bool = True,
        checked: bool = True,
    ) -> None:
        self.now = 100.0
        self.checked = checked
        self.piece_bytes = piece_bytes
        self.length = max(0, len(have) * piece_bytes - short)
        self.budget = Budget(budget_bytes, rate, self.now) if budget is None else budget
        rng = Random(seed)
        self.pool = SourcePool(count(1), rng)
        self.download = Download(DIGEST, self.length, piece_bytes, bits(have), self.budget, self.pool, rng, sequential)
        self.sessions: dict[str, int] = {}
        if started:
            self.start()

    def _then(self, effects: list[Effect]) -> list[Effect]:
        self._note(effects)
        return effects + self.tick()

    def _note(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                self.sessions[effect.endpoint.split("/")[2].split(":")[0]] = effect.session

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        """Let ``seconds`` pass and call `Download.tick` once."""
        self.now += seconds
        effects = self.download.tick(self.now)
        self._note(effects)
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

    def found(self, *names: str, key: str = "") -> list[Effect]:
        return self._then(self.download.found([entry(name, key=key) for name in names], self.now))

    def peer_lost(self, name: str) -> list[Effect]:
        return self._then(self.download.peer_lost(name, self.now))

    def connected(self, name: str) -> list[Effect]:
        return self._then(self.download.connected(self.sessions[name], self.now))

    def lost(self, name: str) -> list[Effect]:
        return self._then(self.download.disconnected(self.sessions[name], "refused", self.now))

    def says(self, name: str, message: SourceMessage) -> list[Effect]:
        return self._then(self.download.handle(self.sessions[name], message, self.now))

    def status(
        self, name: str, having: str | None = None, *, stock: bool = False, alone: bool = False, idle: bool = False
    ) -> list[Effect]:
        """``having`` is a picture of its bitfield; None: everything."""
        state: Literal["complete", "partial"] = "complete" if having is None else "partial"
        data = b"" if having is None else bits(having).to_bytes()
        return self.says(name, Status(self.sessions[name], state, data, stock, alone, idle))

    def idle(self, name: str, having: str | None = None) -> list[Effect]:
        """It has nothing to send."""
        return self.status(name, having, idle=True)

    def no(self, name: str) -> list[Effect]:
        return self.says(name, Status(self.sessions[name], "no"))

    def not_held(self, name: str, piece: int) -> list[Effect]:
        return self.says(name, NotHeld(self.sessions[name], piece))

    def no_session(self, name: str) -> list[Effect]:
        return self.says(name, NoSession(self.sessions[name]))

    def ready(
        self, *names: str, having: str | None = None, stock: bool = False, alone: bool = False, idle: bool = False
    ) -> list[Effect]:
        """``names`` are found, connected and tell what they have; returns the effects of the last step."""
        effects = self.found(*names)
        for name in names:
            self.connected(name)
        for name in names:
            effects = self.status(name, having, stock=stock, alone=alone, idle=idle)
        return effects

    def piece(
        self, name: str, piece: int, *, promised: Sequence[int] = (), relay: bool = False, size: int | None = None
    ) -> list[Effect]:
        """The piece arrives; its `Write`, if any, goes on until `written`."""
        size = self.size(piece) if size is None else size
        return self.arrives(Piece(self.sessions[name], piece, relay, list(promised)), size)

    def arrives(self, header: Piece, size: int = PIECE_BYTES) -> list[Effect]:
        return self._then(self.download.piece(header.session, header, size, self.now))

    def written(self, piece: int, good: bool = True) -> list[Effect]:
        return self._then(self.download.written(piece, good, self.now))

    def gets(self, name: str, *pieces: int, seconds: float = 0.0, promised: Sequence[int] = ()) -> list[Effect]:
        """``pieces`` come, ``seconds`` apart, and each is written; returns the effects of the last."""
        effects: list[Effect] = []
        for piece in pieces:
            self.wait(seconds)
            effects = [*self.piece(name, piece, promised=promised if piece == pieces[0] else ()), *self.written(piece)]
        return effects

    def size(self, piece: int) -> int:
        return min(self.piece_bytes, self.length - piece * self.piece_bytes)

    def source(self, name: str) -> Source | None:
        """The live session with ``name``, if there is one."""
        return next((source for source in self.download.sources if source.entry.peer == name), None)

    def credit(self, name: str) -> int:
        """Pieces that may come from ``name``."""
        source = self.source(name)
        return 0 if source is None else source.credit

    def owed(self, name: str) -> list[int]:
        """What is to come from ``name``: asked for first, then promised."""
        source = self.source(name)
        assert source is not None
        return [*source.gets, *source.promised]

    def open(self) -> str:
        """A picture of the pieces that nobody is to send."""
        return picture(self.download.pieces.open)
