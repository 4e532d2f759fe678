"""Whose keys are admitted in a network with keys: those of the members that the agent has named. Pure.

Another thread looks here before each handshake, so all keys of a message come and go at once.
"""

from __future__ import annotations

from node.local_messages import MemberKeys


class Admitted:
    def __init__(self) -> None:
        self._keys: frozenset[str] = frozenset()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def told(self, message: MemberKeys) -> bool:
        """The agent names members. True if somebody is admitted no more, who may have connections."""
        removed = self._keys.difference(message.added) if message.whole else frozenset(message.removed)
        self._keys = self._keys - removed | frozenset(message.added)
        return bool(removed)
