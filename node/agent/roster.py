"""Follows the roster that the tracker publishes (PROTOCOL.md, section 7). Pure.

The roster makes a peer fast, never correct: events become hints for the running downloads, and a missed event becomes
`RefreshAll`, because only a lookup knows what it said.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct

from protocol.messages import Beat, OrdersChanged, PeerJoined, PeerLeft, Roster, SeederEntry, SourceAdded, SourceRemoved


class RefreshAll(Struct, frozen=True):
    """Events were missed: ask a lookup again about everything that is not satisfied."""


class OrdersNews(Struct, frozen=True):
    """A peer's orders have changed."""


class SourceUp(Struct, frozen=True):
    digest: str
    seeder: SeederEntry


class Receiver(Struct, frozen=True):
    """Somebody who wants ``digest`` has that ``cell`` of the grid; ``own``: this peer."""

    digest: str
    cell: int
    own: bool


class SourceDown(Struct, frozen=True):
    """``peer`` does not have ``digest`` any more; an empty ``digest`` means that the peer is gone."""

    peer: str
    digest: str


class MemberUp(Struct, frozen=True):
    """``peer`` has joined a network with keys."""

    peer: str
    key: str


class Heard(Struct, frozen=True):
    """A peer has ``digest``; ``announced`` is the latest timestamp of its names."""

    digest: str
    announced: int


Hint = RefreshAll | OrdersNews | Receiver | SourceUp | SourceDown | MemberUp | Heard


class RosterFollower:
    """Keeps the (epoch, seq) of the last known event. ``own`` is this peer's id: its own changes are not hints."""

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
        if isinstance(event, Beat) or event.peer == self._own:
            return hints
        if isinstance(event, PeerJoined):
            hints += [MemberUp(event.peer, event.key)] if event.key else []
        elif isinstance(event, PeerLeft):
            hints.append(SourceDown(event.peer, ""))
        elif isinstance(event, OrdersChanged):
            hints.append(OrdersNews())
        elif isinstance(event, SourceAdded):
            if event.announced:
                hints.append(Heard(event.digest, event.announced))
            if event.digest in wanted:
                about = (event.name, event.endpoint, event.whole, event.key, event.cell)
                seeder = SeederEntry(event.peer, *about)
                hints.append(SourceUp(event.digest, seeder))
        elif event.digest in wanted:
            hints.append(SourceDown(event.peer, event.digest))
        return hints
