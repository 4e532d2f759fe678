"""Which missing pieces to ask a source for, and in what order.

Pure. Owns how many sources have each missing piece. A piece is in the picker while it is missing and nobody was
asked to send it; `Download` takes it out when it is claimed and puts it back when the claim comes to nothing.

Rarest first (Cohen, 2003) with random tie-break: pieces lie in one bucket per availability; ties keep the random
order they were inserted in. Complete sources are counted once for all pieces and move nothing between buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from random import Random

from protocol.bitfield import Bitfield


class Picker:
    """Picks among pieces ``0..count-1``. ``sequential`` prefers low indices to rare pieces."""

    def __init__(self, count: int, missing: Iterable[int], rng: Random, sequential: bool = False) -> None:
        self._sequential = sequential
        self._availability = [0] * count
        self._complete_sources = 0
        pieces = list(missing)
        if not sequential:
            rng.shuffle(pieces)
        self._buckets: dict[int, dict[int, None]] = {0: dict.fromkeys(pieces)}

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def __contains__(self, piece: int) -> bool:
        return piece in self._buckets.get(self._availability[piece], ())

    def add(self, piece: int) -> None:
        """The piece is missing again."""
        self._buckets.setdefault(self._availability[piece], {})[piece] = None

    def remove(self, piece: int) -> None:
        """The piece is claimed or done. KeyError when it was not here."""
        del self._buckets[self._availability[piece]][piece]

    def source_has(self, have: Bitfield, complete: bool) -> None:
        """A source with these pieces appeared. ``complete``: count it once for all pieces; `source_gone` must be
        told the same, whatever the source got since."""
        self._complete_sources += complete
        if not complete:
            for piece in have.indices():
                self._shift(piece, 1)

    def source_gone(self, have: Bitfield, complete: bool) -> None:
        """A source with these pieces went away."""
        self._complete_sources -= complete
        if not complete:
            for piece in have.indices():
                self._shift(piece, -1)

    def source_got(self, piece: int) -> None:
        """A source that is not counted as complete has one more piece."""
        self._shift(piece, 1)

    def order(self, have: Bitfield, limit: int) -> list[int]:
        """Up to ``limit`` missing pieces that a source with ``have`` could send, most wanted first."""
        if self._sequential:
            missing = sorted(piece for bucket in self._buckets.values() for piece in bucket)
            return list(islice((piece for piece in missing if piece in have), limit))
        found: list[int] = []
        for availability in sorted(self._buckets):
            bucket = self._buckets[availability]
            found += islice((piece for piece in bucket if piece in have), limit - len(found))
            if len(found) == limit:
                break
        return found

    def any_of(self, have: Bitfield) -> bool:
        """Whether a source with ``have`` could send anything that is missing."""
        return any(piece in have for bucket in self._buckets.values() for piece in bucket)

    def nobody_has(self) -> list[int]:
        """Missing pieces that no source has, in order of index."""
        return [] if self._complete_sources else sorted(self._buckets.get(0, ()))

    def availability(self, piece: int) -> int:
        """How many sources have the piece."""
        return self._availability[piece] + self._complete_sources

    def _shift(self, piece: int, by: int) -> None:
        before = self._availability[piece]
        self._availability[piece] = before + by
        bucket = self._buckets.get(before)
        if bucket is not None and piece in bucket:
            del bucket[piece]
            if not bucket and before:
                del self._buckets[before]
            self._buckets.setdefault(before + by, {})[piece] = None
