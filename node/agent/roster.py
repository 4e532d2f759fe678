"""Follows the roster that the tracker publishes (PROTOCOL.md, section 7). Pure.

What is published makes a peer fast, never right: events become hints for the downloads under way, and an event that
was missed becomes `RefreshAll`, because only a lookup knows what it said.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct

from protocol.messages import Beat, OrdersChanged, PeerJoined, PeerLeft, Roster, SeederEntry, SourceAdded, SourceRemoved


class RefreshAll(Struct, frozen=True):
    """Events were missed: ask a lookup again about everything that is not satisfied."""


class OrdersNews(Struct, frozen=True):
    """Somebody gives other orders than before, as of ``seq``."""

    epoch: int
    seq: int


class SourceUp(Struct, frozen=True):
    digest: str
    seeder: SeederEntry


class Receiver(Struct, frozen=True):
    """Somebody who wants ``digest`` has that ``cell`` of the grid; ``own``: this peer."""

    digest: str
    cell: int
    own: bool


class SourceDown(Struct, frozen=True):
    """``peer`` no longer has ``digest``; an empty ``digest`` means it is gone."""

    peer: str
    digest: str


class Heard(Struct, frozen=True):
    """Somebody has ``digest``, which was announced last at that moment under one of its names."""

    digest: str
    announced: int


Hint = RefreshAll | OrdersNews | Receiver | SourceUp | SourceDown | Heard


class RosterFollower:
    """(epoch, seq) of the last event known of. ``own`` is this peer's id: what it did itself is no hint."""

    def __init__(self, own: str) -> None:
        self.epoch = 0
        self.seq = 0
        self._own = own

    def start(self, epoch: int, seq: int) -> None:
        """The state a Welcome speaks of. In the same epoch what is known already counts for more."""
        if epoch != self.epoch:
            self.epoch, self.seq = epoch, seq

    def handle(self, roster: Roster, wanted: Container[str]) -> list[Hint]:
        """Hints of one published event, of sources for the swarms in ``wanted``."""
        event = roster.event
        hints: list[Hint] = []
        newest = self.seq if isinstance(event, Beat) else self.seq + 1
        if roster.epoch != self.epoch or roster.seq > newest:
            hints.append(RefreshAll())
        elif roster.seq < newest:
            return []
        self.epoch, self.seq = roster.epoch, roster.seq
        if isinstance(event, SourceAdded | SourceRemoved) and event.cell is not None and event.digest in wanted:
            hints.append(Receiver(event.digest, event.cell, event.peer == self._own))
        if isinstance(event, Beat | PeerJoined) or event.peer == self._own:
            return hints
        if isinstance(event, PeerLeft):
            hints.append(SourceDown(event.peer, ""))
        elif isinstance(event, OrdersChanged):
            hints.append(OrdersNews(roster.epoch, roster.seq))
        elif isinstance(event, SourceAdded):
            if event.announced:
                hints.append(Heard(event.digest, event.announced))
            if event.digest in wanted:
                seeder = SeederEntry(event.peer, event.name, event.endpoint, event.whole, event.cell)
                hints.append(SourceUp(event.digest, seeder))
        elif event.digest in wanted:
            hints.append(SourceDown(event.peer, event.digest))
        return hints
