"""The registry at its only writer: every change is numbered, announced and passed on to the lookups. Pure.

Gives each name of a content a timestamp (PROTOCOL.md, section 4.4), in the order of announcement. The order survives
restarts: peers repeat to a new registrar the timestamps of its predecessor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from broker.effects import Publish, RegistrarEffect
from broker.events import DownloadsSet, EntrySet, Event, LoadSet
from broker.link_feed import LinkFeed
from broker.registry import Registry
from broker.roster_hints import roster_hints
from broker.roster_pace import RosterPace
from protocol.limits import ANNOUNCED_AHEAD_SECONDS
from protocol.messages import ANEW, Alias, Beat, Entry, Roster

E = TypeVar("E", Entry, EntrySet)


class Ledger:
    """Registry and global sequence of one registrar start at ``now``, named by ``epoch``: milliseconds since 1970."""

    def __init__(self, epoch: int, settled_at: float, now: float) -> None:
        self.epoch = epoch
        self._started_at = now
        self._last_moment = 0
        self.seq = 0
        self.registry = Registry()
        self._pace = RosterPace(now)
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
            if self._is_announced(now):
                effects.append(Publish(Roster(self.epoch, self.seq, hint)))
        return effects + self.feed.changed(events, self.seq, now)

    def _is_announced(self, now: float) -> bool:
        """Whether the roster has room for one more event. With keys whoever missed one would ask for all members, which
        costs more."""
        members = self.registry.members
        has_keys = any(member.key for member in islice(members.values(), 1))
        return has_keys or self._pace.allows(len(members), now)

    def announced(self, entry: E, now: float) -> E:
        """``entry`` with the timestamps of its names: known ones, or new ones. A peer that only wants it announces
        nothing."""
        clock = self.epoch * 1_000 + int((now - self._started_at) * 1e6)
        first = self._moment(entry, entry, clock)
        if first == entry.announced and not entry.aliases:  # of most there is nothing to add
            return entry
        aliases = tuple(replace(alias, announced=self._moment(entry, alias, clock)) for alias in entry.aliases)
        return replace(entry, announced=first, aliases=aliases)

    def moments(self, peer: str, entries: Sequence[Entry]) -> list[int]:
        """When the names of ``entries``, which are in the registry as entries of ``peer``, were announced."""
        listed = [self.registry.entry_event(peer, entry.digest) for entry in entries]
        return moments_of([event for event in listed if event is not None])

    def _moment(self, entry: Entry | EntrySet, name: Alias | Entry | EntrySet, clock: int) -> int:
        """The timestamp of ``entry`` under ``name``; ``clock`` is now."""
        told = name.announced if name.announced <= clock + ANNOUNCED_AHEAD_SECONDS * 1e6 else 0
        known = max(told, self.registry.announced(entry.digest, name.manifest, name.name, entry.length, name.signature))
        self._last_moment = max(self._last_moment, known)
        if told == ANEW or not (known or entry.holding == "requesting"):
            known = self._last_moment = max(self._last_moment + 1, clock)
        return known

    def commit_figures(self, figures: Sequence[LoadSet | DownloadsSet], now: float) -> list[RegistrarEffect]:
        """Apply figures that nobody waits for: they have no number and are not announced."""
        return self.commit([event for event in figures if event.peer in self.registry.members], now)

    def beat(self) -> Publish:
        """The sign of life that lets a subscriber see that it lost the last messages. Takes no number."""
        return Publish(Roster(self.epoch, self.seq, Beat()))


def moments_of(entries: Sequence[Entry | EntrySet]) -> list[int]:
    """What is known of all names of ``entries``, in their order."""
    moments: list[int] = []
    for entry in entries:
        moments.append(entry.announced)
        if entry.aliases:
            moments += [alias.announced for alias in entry.aliases]
    return moments
