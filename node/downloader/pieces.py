"""The state of every piece of a download, and which to ask a source for.

Pure. A piece is missing, being written, or had. A missing one may be *promised* by the source that is to push it, or
*asked* of a source by number; each by one source at most, which has it in `Source.promised` or `Source.gets`.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from node.downloader.source import Source
from protocol.bitfield import Bitfield
from protocol.messages import SeederEntry

SAMPLE_COUNT = 8
"""Pieces of which the rarest is taken. Among so many drawn at random it is nearly as rare as among all (the power of
two choices, Mitzenmacher 2001), and nobody has to count what everybody has."""


class Arrived(NamedTuple):
    """A piece that is being written: its ``sender``, None where it comes from this machine, and whether this peer is to
    ``relay`` it, or to ``hand_on`` to its row what the sender relays."""

    sender: SeederEntry | None = None
    relay: bool = False
    hand_on: bool = False


class Pieces:
    """Pieces of content of ``length`` bytes, of which ``have`` is there already; ``have`` grows as they are written."""

    def __init__(self, length: int, piece_length: int, have: Bitfield, rng: Random) -> None:
        self._length, self._rng = length, rng
        self.piece_length = piece_length
        self.have = have
        self.missing = Bitfield.full_of(have.size).without(have)
        """Neither had nor being written."""
        self.open = self.missing.copy()
        """Those of them that are neither promised nor asked for."""
        self.promised: dict[int, Source] = {}
        self.asked: dict[int, Source] = {}
        self.writing: dict[int, Arrived] = {}
        self.spread = Bitfield(have.size)
        """Pieces that others relay, as far as is known."""
        self.reused_bytes = 0
        self.cancelled: dict[Source, list[int]] = {}
        """Pieces that sources need not send and have not been told so."""
        self.done_bytes = sum(self.size(piece) for piece in have.indices())

    def __len__(self) -> int:
        return self.have.size

    def size(self, piece: int) -> int:
        """Bytes of ``piece``: only the last may be short."""
        return min(self.piece_length, self._length - piece * self.piece_length)

    # --- who is to send it -------------------------------------------------------------------------------

    def promise(self, piece: int, source: Source, now: float) -> None:
        """``source`` is to push the open ``piece``."""
        source.owed_from(now)
        self.open.clear(piece)
        self.promised[piece] = source
        source.promised[piece] = None

    def ask(self, piece: int, source: Source, now: float) -> None:
        """``source`` is asked for the missing ``piece``; whoever promised it need not push it."""
        self.expect_no_more(piece)
        source.taken_back.pop(piece, None)
        source.owed_from(now)
        self.open.clear(piece)
        self.asked[piece] = source
        source.gets[piece] = now

    def expect_no_more(self, piece: int, sender: Source | None = None) -> None:
        """Nobody owes ``piece`` any more; whoever does, but for ``sender``, is to be told."""
        for owing in (self.promised.pop(piece, None), self.asked.pop(piece, None)):
            if owing is not None:
                owing.promised.pop(piece, None)
                owing.gets.pop(piece, None)
                if owing is not sender:
                    self.cancel(piece, owing)
                if piece in self.missing:
                    self.open.set(piece)

    def cancel(self, piece: int, source: Source) -> None:
        """``source`` need not send ``piece``."""
        source.taken_back[piece] = True
        self.cancelled.setdefault(source, []).append(piece)

    def release(self, source: Source) -> None:
        """``source`` sends nothing more."""
        self.cancelled.pop(source, None)
        source.taken_back.clear()
        for piece in source.promised:
            del self.promised[piece]
            self.open.set(piece)
        for piece in source.gets:
            del self.asked[piece]
            self.open.set(piece)
        source.promised.clear()
        source.gets.clear()

    def set_aside(self, pieces: Iterable[int]) -> None:
        """The missing ``pieces``, which nobody owes, are read from this machine's disk; `written` comes for each."""
        for piece in pieces:
            self.missing.clear(piece)
            self.open.clear(piece)
            self.writing[piece] = Arrived()

    # --- what becomes of it ------------------------------------------------------------------------------

    def arrive(self, piece: int, sender: Source, relay: bool = False, hand_on: bool = False) -> None:
        """The data of the missing ``piece`` is here and goes to be verified and written; see `Arrived`."""
        self.writing[piece] = Arrived(sender.entry, relay, hand_on)
        self.missing.clear(piece)
        if piece in self.open:
            self.open.clear(piece)
        else:
            self.expect_no_more(piece, sender)

    def written(self, piece: int, good: bool) -> Arrived:
        """What was being written is on disk or, if not ``good``, missing again. Returns what `writing` had."""
        arrived = self.writing.pop(piece)
        if not good:
            self.missing.set(piece)
            self.open.set(piece)
            return arrived
        self.have.set(piece)
        self.done_bytes += self.size(piece)
        if arrived.sender is None:
            self.reused_bytes += self.size(piece)
        if not arrived.relay:  # others have old content of this machine too, as far as one can tell
            self.spread.set(piece)
        return arrived

    # --- what to ask for ---------------------------------------------------------------------------------

    def first(self, bits: Bitfield) -> int | None:
        """The first open piece among ``bits``."""
        return next(self.open.both(bits).indices(), None)

    def rarest(self, bits: Bitfield, sources: Iterable[Source]) -> int | None:
        """An open piece among ``bits``, of a few the one that the fewest of ``sources`` have."""
        able = self.open if bits.full else self.open.both(bits)
        if not able.count_set:
            return None
        drawn = self._draw(able)
        if len(drawn) == 1:
            return drawn[0]
        partial = [source.bits for source in sources if not source.bits.full]
        return min(drawn, key=lambda piece: sum(piece in held for held in partial)) if partial else drawn[0]

    def _draw(self, bits: Bitfield) -> list[int]:
        """A few of ``bits``, which are not none, at random."""
        size, rng = bits.size, self._rng
        if bits.count_set * 8 >= size:
            tries = (int(rng.random() * size) for _ in range(8 * SAMPLE_COUNT))
            drawn = [piece for piece in tries if piece in bits][:SAMPLE_COUNT]
            if drawn:
                return drawn
        return rng.sample(list(bits.indices()), min(SAMPLE_COUNT, bits.count_set))

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self, sources: Iterable[Source]) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        assert not self.missing.both(self.have).count_set
        assert not self.open.without(self.missing).count_set
        owed = sorted([*self.promised, *self.asked])
        assert owed == list(self.missing.without(self.open).indices())
        theirs = [piece for source in sources for piece in (*source.promised, *source.gets)]
        assert sorted(theirs) == owed
        neither = Bitfield.full_of(len(self)).without(self.have).without(self.missing)
        assert sorted(self.writing) == list(neither.indices())
        assert self.done_bytes == sum(map(self.size, self.have.indices()))
