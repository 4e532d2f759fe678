"""What the roster announces about a change of the registry. Pure.

Roster messages are hints: they make peers fast, lookups make them correct. So of a large change (a peer joins with a
long list; after a tracker's restart every peer does) only what somebody may want is announced, instead of entries x
subscribers messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.events import EntryGone, EntrySet, Event, OrderGone, OrderSet, PeerGone, PeerSet
from broker.registry import Registry
from protocol.messages import OrdersChanged, PeerJoined, PeerLeft, RosterEvent, SourceAdded, SourceRemoved

HINTS_SMALL_COUNT = 16
"""A change with up to this many hints is announced in full."""


def roster_hints(events: Sequence[Event], registry: Registry) -> list[RosterEvent]:
    """The roster messages for ``events``, which ``registry`` has just applied.

    At least one for any numbered change, so that it has a number of its own: the content announced last is always among
    them.
    """
    hints = [hint for hint in (_hint(event, registry) for event in events) if hint is not None]
    if len(hints) <= HINTS_SMALL_COUNT:
        return hints
    newest = max(hints, key=lambda hint: hint.announced if isinstance(hint, SourceAdded) else 0)
    return [hint for hint in hints if hint is newest or _concerns_somebody(hint, registry)]


def _hint(event: Event, registry: Registry) -> RosterEvent | None:
    match event:
        case PeerSet():
            return PeerJoined(event.peer, event.name, event.endpoint, event.key)
        case PeerGone():
            return PeerLeft(event.peer, event.expired)
        case EntrySet() if event.holding != "requesting":
            member = registry.members[event.peer]
            announced = max(event.announced, *(alias.announced for alias in event.aliases), 0)
            whole = event.holding == "whole"
            told = (member.name, member.endpoint, whole, announced, member.key, event.cell)
            return SourceAdded(event.digest, event.peer, *told)
        case EntrySet():  # one who only asks for it is no source of it
            return SourceRemoved(event.digest, event.peer, event.cell)
        case EntryGone():
            return SourceRemoved(event.digest, event.peer)
        case OrderSet() | OrderGone():
            return OrdersChanged(event.peer)
        case _:
            return None


def _concerns_somebody(hint: RosterEvent, registry: Registry) -> bool:
    if isinstance(hint, SourceAdded | SourceRemoved):
        swarm = registry.swarms.get(hint.digest)
        return swarm is not None and swarm.wanted
    return True
