"""Whether the registry has room for more members and entries, and who gives way to whom if it has not. Pure.

An entry counts once for each of its names.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.registry import Registry
from broker.sessions import Sessions
from broker.shares import Shares
from protocol import limits as lim


class Room:
    """The room in ``registry`` for up to ``peers_max`` members. Call `changed` after each change of a member."""

    def __init__(self, registry: Registry, sessions: Sessions, peers_max: int) -> None:
        self._registry, self._sessions, self._peers_max = registry, sessions, peers_max
        self._members, self._entries = Shares(), Shares()
        self._weights: dict[str, tuple[str, int]] = {}
        """Address and weight of each member, as they are counted."""

    def changed(self, peer: str) -> None:
        """``peer`` has joined, or left, or has more or fewer entries."""
        if peer in self._weights:
            address, weight = self._weights.pop(peer)
            self._members.add(address, -1)
            self._entries.add(address, -weight)
        session = self._sessions.get(peer)
        if session is not None:
            weight = self._registry.members[peer].weight
            self._weights[peer] = (session.address, weight)
            self._members.add(session.address, 1)
            self._entries.add(session.address, weight)

    def for_member(self, peer: str, address: str) -> bool:
        """Whether ``peer`` may join from ``address``, perhaps in place of another."""
        return not self._lacks_member(peer) or self._members.gives_way(address, 1) is not None

    def gives_way_to_member(self, peer: str, address: str) -> str | None:
        """The member that has to leave before ``peer`` joins from ``address``; None when there is room."""
        most = self._members.gives_way(address, 1) if self._lacks_member(peer) else None
        return None if most is None else self._sessions.of_address(most)[-1]

    def give_way_to_entries(self, peer: str, address: str, count: int) -> Iterator[str]:
        """The members that have to leave, one after another, before ``peer`` has ``count`` entries in all;
        `is_there_for` tells whether that was enough."""
        more = self._more(peer, count)
        while self._lacks(more) and (most := self._entries.gives_way(address, more)) is not None:
            members = self._registry.members
            yield max(self._sessions.of_address(most), key=lambda one: members[one].weight)

    def is_there_for(self, peer: str, count: int) -> bool:
        return not self._lacks(self._more(peer, count))

    def _lacks_member(self, peer: str) -> bool:
        members = self._registry.members
        return peer not in members and len(members) >= self._peers_max

    def _lacks(self, more: int) -> bool:
        registry = self._registry
        return more > 0 and (
            registry.weight + more > lim.ENTRIES_COUNT_MAX or len(registry.swarms) >= lim.SWARMS_COUNT_MAX
        )

    def _more(self, peer: str, count: int) -> int:
        member = self._registry.members.get(peer)
        return count - (member.weight if member is not None else 0)

    def check_invariants(self) -> None:
        """Assert that all is counted (for tests)."""
        members = self._registry.members
        assert {peer: weight for peer, (_, weight) in self._weights.items()} == {
            p: m.weight for p, m in members.items()
        }
        assert self._members.total() == len(members)
        assert self._entries.total() == self._registry.weight
