"""Pieces that are asked for by number: of sources that have nothing else to send, or of any when nothing comes, and
which. PROTOCOL.md, section 6.

Pure. Owns who may be asked for more. Who owes a piece is in `pieces`, how long that takes in `patience`.
"""

from __future__ import annotations

from random import Random

from node.downloader.credit import Credit
from node.downloader.patience import Owed, Patience
from node.downloader.pieces import Pieces
from node.downloader.source import Send, Source, SourcePool
from protocol.messages import Get


class PieceRequests:
    """Those of one download; ``sequential``: the pieces are to come in order."""

    def __init__(
        self, pieces: Pieces, pool: SourcePool, credit: Credit, patience: Patience, rng: Random, sequential: bool
    ) -> None:
        self._pieces, self._pool, self._credit, self._patience, self._rng = pieces, pool, credit, patience, rng
        self._sequential = sequential
        self._asks_all = sequential
        """Whether sources that are busy are asked too: where there are more than one can be connected to, most of what
        is relayed is pushed by others."""
        self._is_starved = False
        """Whether they are asked because nothing comes: for one piece at a time, as it takes from their uplinks what
        they push."""
        self._able: dict[Source, None] = {}
        """Sources that may be asked for more."""

    def look_over(self, now: float) -> None:
        """Now and then: whoever may be asked by now is."""
        self._is_starved = self._patience.is_starved(now)
        self._asks_all = self._sequential or (self._pool.is_crowded and not self._pool.grid.is_used)
        self._able.update((source, None) for source in self._pool.ready() if self._may_be_asked(source))

    def go_on(self, source: Source) -> None:
        """``source`` has said something, or sent what it was asked for."""
        if self._may_be_asked(source):
            self._able[source] = None

    def end(self, source: Source) -> None:
        self._able.pop(source, None)

    def not_known(self, before: float) -> list[Source]:
        """Sources that were last tested at ``before`` or earlier and have nothing open, as far as is known."""
        if not self._asks_all:
            return []
        sources = [one for one in self._pool.ready() if one.polled_at <= before and not one.gets]
        return [one for one in sources if not self._pieces.open.both(one.bits).count_set]

    def ask(self, now: float) -> list[Send]:
        """Ask for open pieces or, idle sources, for some that another one would bring later."""
        if not self._able:
            return []
        asked: dict[Source, list[int]] = {}
        usual = self._patience.usual()
        owed: list[Owed] = []
        able, self._able = self._able, {}
        for source in sorted(able, key=_last_resort):
            window = 1 + self._credit.most(source)
            while self._may_be_asked(source) and len(source.gets) < window:
                piece = self._choose(source)
                if piece is None and source.idle and not source.snubs and not self._sequential:
                    owed = owed or list(self._patience.owed(usual, now))
                    piece = self._choose_owed(source, owed, usual)
                if piece is None:
                    break
                self._pieces.ask(piece, source, now)
                source.said_at = now
                asked.setdefault(source, []).append(piece)
        return [Send(source.session, Get(source.session, some)) for source, some in asked.items()]

    def _may_be_asked(self, source: Source) -> bool:
        if source.stock and not self._sequential:
            return source.alone
        return source.idle or self._asks_all or (self._is_starved and not self._pieces.asked)

    def _choose(self, source: Source) -> int | None:
        """A piece to ask ``source`` for that nobody is to send."""
        bits = source.bits
        for other in self._pool.ready() if source.snubs else ():
            bits = bits if other.snubs else bits.without(other.bits)
        return self._pieces.first(bits) if self._sequential else self._pieces.rarest(bits, self._pool)

    def _choose_owed(self, source: Source, owed: list[Owed], usual: float) -> int | None:
        """A piece that ``source`` has and that comes sooner from it than from who owes it. At random: else all
        receivers would ask for the same one. ``usual``: seconds that a source takes for a piece."""
        soon = (len(source.gets) + 1) * source.interval.or_else(usual)
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


def _last_resort(source: Source) -> float:
    """Who takes too long comes last, and of those the one that was asked last: else, where all do, it would be asked
    again and again."""
    return source.busy_since if source.snubs else 0.0
