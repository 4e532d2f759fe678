"""What receivers have accepted and is not sent yet, in order. Pure.

What was accepted together is a batch, and sent together. When it is sent is up to `uploads`.
"""

from __future__ import annotations

from collections import deque

from node.piece_server.session import Session


class Accepted:
    """Of one piece server. Its length is that of all batches, in pieces."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Session, list[int]]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, session: Session, offers: list[int], together: int) -> None:
        """``session`` has accepted ``offers``, of which so many may be sent ``together``."""
        self._count += len(offers)
        for start in range(0, len(offers), together):
            self._batches.append((session, offers[start : start + together]))

    @property
    def next(self) -> tuple[Session, list[int]]:
        """The first batch: whose, and its offers. IndexError when there is none."""
        return self._batches[0]

    def take_next(self) -> None:
        """The first batch is sent."""
        self._count -= len(self._batches.popleft()[1])

    def remove(self, session: Session, offer: int) -> None:
        """It is not to be sent; a batch of which nothing is left is gone."""
        place, offers = next(
            (place, offers)
            for place, (other, offers) in enumerate(self._batches)
            if other is session and offer in offers
        )
        offers.remove(offer)
        self._count -= 1
        if not offers:
            del self._batches[place]

    def check_invariants(self, accepted: list[int]) -> None:
        """Raise AssertionError when these are not the offers ``accepted``."""
        offers = [offer for _, batch in self._batches for offer in batch]
        assert sorted(offers) == sorted(accepted)
        assert all(batch for _, batch in self._batches)
        assert len(offers) == self._count
