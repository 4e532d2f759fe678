"""What the registrar knows of its members beyond the registry: token, list version, lease. Pure.

A peer id is bound to the token it joined with for as long as it is a member.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict


class Session:
    """One member. ``list_id`` is the transfer its list last came with, ``version`` the version of that list."""

    __slots__ = ("lease_ends", "list_id", "token", "version")

    def __init__(self, token: bytes, version: int, list_id: int) -> None:
        self.token = token
        self.version = version
        self.list_id = list_id
        self.lease_ends = 0.0

    def accepts(self, token: bytes) -> bool:
        """Is this the token the member joined with?"""
        return hmac.compare_digest(self.token, token)


class Sessions:
    """All sessions in the order in which their leases end: all leases are equally long."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: str) -> Session | None:
        """The session of ``peer``; None when it is no member."""
        return self._sessions.get(peer)

    def put(self, peer: str, session: Session, now: float) -> None:
        """Start or replace the session of ``peer``."""
        self._sessions[peer] = session
        self.renew(peer, now)

    def renew(self, peer: str, now: float) -> None:
        """``peer`` has been heard of."""
        self._sessions[peer].lease_ends = now + self._lease_seconds
        self._sessions.move_to_end(peer)

    def remove(self, peer: str) -> None:
        """``peer`` is no member any more."""
        del self._sessions[peer]

    def next_deadline(self) -> float | None:
        """When the next lease ends."""
        return next((session.lease_ends for session in self._sessions.values()), None)

    def expired(self, now: float) -> list[str]:
        """Members whose lease has ended."""
        late: list[str] = []
        for peer, session in self._sessions.items():
            if session.lease_ends > now:
                break
            late.append(peer)
        return late

    def check_invariants(self) -> None:
        """Assert the order that `expired` relies on (for tests)."""
        ends = [session.lease_ends for session in self._sessions.values()]
        assert ends == sorted(ends)
