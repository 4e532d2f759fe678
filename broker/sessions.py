"""What the registrar keeps of its members besides the registry: token, run, list version, lease. Pure.

A peer id is bound to the token it joined with, and to the run that joined last, for as long as it is a member.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict

REPLACED_RUNS_COUNT = 8
"""Earlier runs of a member that are remembered. Of a peer that crashes in a loop only the last ones may still be
heard."""


class Session:
    """One member. ``list_id`` is the transfer its list last came with, ``version`` the version of that list,
    ``address`` the IP address it joined from.

    ``replaced`` are the runs that were members before ``run``, in order, each with whether it was logged that it is
    still alive.
    """

    __slots__ = ("address", "lease_ends", "list_id", "replaced", "run", "token", "version")

    def __init__(self, token: bytes, run: int, version: int, list_id: int, address: str) -> None:
        self.token = token
        self.run = run
        self.version = version
        self.list_id = list_id
        self.address = address
        self.lease_ends = 0.0
        self.replaced: dict[int, bool] = {}

    def replace(self, earlier: Session) -> None:
        """This session takes the place of ``earlier``."""
        runs = earlier.replaced
        if earlier.run != self.run:
            runs[earlier.run] = False
        runs.pop(self.run, None)
        self.replaced = dict(list(runs.items())[-REPLACED_RUNS_COUNT:])

    def accepts(self, token: bytes) -> bool:
        """Whether this is the token that the member joined with."""
        return hmac.compare_digest(self.token, token)


class Sessions:
    """All sessions in the order in which their leases end: all leases are equally long."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: str) -> Session | None:
        """The session of ``peer``; None when it is not a member."""
        return self._sessions.get(peer)

    def put(self, peer: str, session: Session, now: float) -> None:
        """Start or replace the session of ``peer``."""
        earlier = self._sessions.get(peer)
        if earlier is not None:
            session.replace(earlier)
        self._sessions[peer] = session
        self.renew(peer, now)

    def renew(self, peer: str, now: float) -> None:
        """``peer`` has been heard of."""
        self._sessions[peer].lease_ends = now + self._lease_seconds
        self._sessions.move_to_end(peer)

    def remove(self, peer: str) -> None:
        """``peer`` is not a member any more."""
        del self._sessions[peer]

    def next_deadline(self) -> float | None:
        """When the next lease ends."""
        return next((session.lease_ends for session in self._sessions.values()), None)

    def of_address(self, address: str) -> list[str]:
        """Members that joined from there, the one that was heard of last at the end."""
        return [peer for peer, session in self._sessions.items() if session.address == address]

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
