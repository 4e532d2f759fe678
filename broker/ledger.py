"""The registry as its only writer keeps it: every change numbered, announced and passed on to the lookups. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from broker.effects import Publish, RegistrarEffect
from broker.events import DownloadsSet, Event, LoadSet
from broker.link_feed import LinkFeed
from broker.registry import Registry
from broker.roster_hints import roster_hints
from protocol.messages import Beat, Roster


class Ledger:
    """Registry and global sequence of one registrar start, which ``epoch`` names."""

    def __init__(self, epoch: int, settled_at: float) -> None:
        self.epoch = epoch
        self.seq = 0
        self.registry = Registry()
        self.feed = LinkFeed(self.registry, epoch, settled_at)

    def commit(self, events: Sequence[Event], now: float) -> list[RegistrarEffect]:
        """Apply one change set. Afterwards ``seq`` names its effect; an empty one changes nothing."""
        if not events:
            return []
        for event in events:
            self.registry.apply(event)
        effects: list[RegistrarEffect] = []
        for hint in roster_hints(events, self.registry):
            self.seq += 1
            effects.append(Publish(Roster(self.epoch, self.seq, hint)))
        return effects + self.feed.changed(events, self.seq, now)

    def commit_figures(self, figures: Sequence[LoadSet | DownloadsSet], now: float) -> list[RegistrarEffect]:
        """Apply figures nobody waits for: they have no number and are not announced."""
        return self.commit([event for event in figures if event.peer in self.registry.members], now)

    def beat(self) -> Publish:
        """The sign of life that lets a subscriber see that it lost the last messages. Takes no number."""
        return Publish(Roster(self.epoch, self.seq, Beat()))
