"""What the roster announces of a change, by how many are to be told of how much."""

from __future__ import annotations

from broker.events import EntrySet, Event, PeerSet
from broker.registry import Registry
from broker.roster_hints import MESSAGES_COUNT_MAX, roster_hints
from protocol.messages import PeerJoined, RosterEvent, SourceAdded

FILES = 10
CROWD = MESSAGES_COUNT_MAX // FILES


def network(members: int, key: str = "") -> Registry:
    registry = Registry()
    for number in range(members):
        registry.apply(PeerSet(f"peer-{number}", "", "tcp://10.0.0.1:1", key))
    return registry


def joins(registry: Registry, files: int, key: str = "") -> list[RosterEvent]:
    """What is announced when one more joins, with a list of ``files``."""
    events: list[Event] = [PeerSet("late", "", "tcp://10.0.0.2:1", key)]
    events += [
        EntrySet("late", f"blake3:{file}", "blake3:m", f"{file}.bin", 1, "whole", (), 100 - file)
        for file in range(files)
    ]
    for event in events:
        registry.apply(event)
    return roster_hints(events, registry)


def digests(hints: list[RosterEvent]) -> list[str]:
    return [hint.digest for hint in hints if isinstance(hint, SourceAdded)]


def test_a_few_are_told_everything() -> None:
    hints = joins(network(CROWD // 2), FILES)
    assert [type(hint) for hint in hints] == [PeerJoined] + FILES * [SourceAdded]


def test_many_are_told_what_was_announced_last_and_what_somebody_wants() -> None:
    registry = network(CROWD)
    registry.apply(EntrySet("peer-7", "blake3:3", "blake3:m", "3.bin", 1, "requesting"))
    hints = joins(registry, FILES)
    assert digests(hints) == ["blake3:0", "blake3:3"]
    assert len(hints) == 2, "without keys nobody does anything about who has joined"


def test_with_keys_all_are_told_who_has_joined() -> None:
    hints = joins(network(CROWD, "aa"), FILES, "bb")
    assert [type(hint) for hint in hints] == [PeerJoined, SourceAdded]


def test_a_change_that_is_one_event_is_announced_to_however_many() -> None:
    assert [type(hint) for hint in joins(network(2 * MESSAGES_COUNT_MAX), 0)] == [PeerJoined]
