"""Which missing pieces to ask a source for, and in what order.

Pure. Owns how many sources have each missing piece. A piece is in the picker while it is missing and nobody was
asked to send it; `Download` takes it out when it is claimed and puts it back when the claim comes to nothing.

Rarest first (Cohen, 2003) with random tie-break: pieces lie in one bucket per availability, each at a random place
of its bucket, as in libtorrent. Random, because everyone hears the same news in the same order, and receivers that
all prefer the same piece get it from several sources where one and their own exchange would do. Complete sources
are counted once for all pieces and move nothing between buckets.
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
        self._random = rng.random
        self._availability = [0] * count
        self._complete_sources = 0
        pieces = list(missing)
        rng.shuffle(pieces)
        self._buckets: dict[int, list[int]] = {0: pieces}
        self._place = [-1] * count
        """Where in its bucket a piece lies; -1 when it is not in the picker."""
        self._missing = Bitfield(count)
        for place, piece in enumerate(pieces):
            self._place[piece] = place
            self._missing.set(piece)

    def __len__(self) -> int:
        return self._missing.count_set

    def __contains__(self, piece: int) -> bool:
        return piece in self._missing

    def add(self, piece: int) -> None:
        """The piece is missing again."""
        self._missing.set(piece)
        self._insert(piece)

    def remove(self, piece: int) -> None:
        """The piece is claimed or done. KeyError when it was not here."""
        if piece not in self._missing:
            raise KeyError(piece)
        self._missing.clear(piece)
        self._take(piece)

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

    def source_lost(self, piece: int) -> None:
        """A source that is not counted as complete has one piece less."""
        self._shift(piece, -1)

    def order(self, have: Bitfield, limit: int) -> list[int]:
        """Up to ``limit`` missing pieces that a source with ``have`` could send, most wanted first."""
        both = self._missing_of(have)
        if self._sequential:
            return list(islice(both.indices(), limit))
        few = both.count_set
        if few <= limit or 2 * few * few < limit * len(self):
            count, availability, place = self._missing.size, self._availability, self._place
            return sorted(both.indices(), key=lambda piece: availability[piece] * count + place[piece])[:limit]
        found: list[int] = []
        for level in sorted(self._buckets):
            bucket = self._buckets[level]
            found += islice(bucket if have.full else filter(have.__contains__, bucket), limit - len(found))
            if len(found) == limit:
                break
        return found

    def any_of(self, have: Bitfield) -> bool:
        """Whether a source with ``have`` could send anything that is missing."""
        return self._missing_of(have).count_set > 0

    def nobody_has(self) -> list[int]:
        """Missing pieces that no source has, in order of index."""
        return [] if self._complete_sources else sorted(self._buckets.get(0, ()))

    @property
    def complete_sources(self) -> int:
        """How many sources have everything."""
        return self._complete_sources

    @property
    def spread_count(self) -> int:
        """How many of the missing pieces some partial source has."""
        return len(self) - len(self._buckets.get(0, ()))

    def missing(self) -> list[int]:
        """The pieces in it, in order."""
        return list(self._missing.indices())

    def availability(self, piece: int) -> int:
        """How many sources have the piece."""
        return self._availability[piece] + self._complete_sources

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        assert sum(map(len, self._buckets.values())) == self._missing.count_set
        places = [-1] * self._missing.size
        for level, bucket in self._buckets.items():
            for place, piece in enumerate(bucket):
                assert self._availability[piece] == level
                places[piece] = place
        assert self._place == places
        assert [piece for piece, place in enumerate(places) if place >= 0] == self.missing()
        assert min(self._availability, default=0) >= 0
        assert self._complete_sources >= 0

    def _missing_of(self, have: Bitfield) -> Bitfield:
        return self._missing if have.full else self._missing.both(have)

    def _shift(self, piece: int, by: int) -> None:
        if self._place[piece] < 0:
            self._availability[piece] += by
            return
        self._take(piece)
        self._availability[piece] += by
        self._insert(piece)

    def _insert(self, piece: int) -> None:
        """Put the piece at a random place of its bucket; who lay there goes to the end."""
        bucket = self._buckets.setdefault(self._availability[piece], [])
        end = len(bucket)
        place = int(self._random() * (end + 1))
        bucket.append(piece)
        if place != end:
            other = bucket[place]
            bucket[end], bucket[place] = other, piece
            self._place[other] = end
        self._place[piece] = place

    def _take(self, piece: int) -> None:
        """Take the piece out of its bucket; the last one of it fills the gap."""
        level = self._availability[piece]
        bucket = self._buckets[level]
        place, last = self._place[piece], bucket.pop()
        if last != piece:
            bucket[place] = last
            self._place[last] = place
        self._place[piece] = -1
        if not bucket:
            del self._buckets[level]
