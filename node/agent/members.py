"""Whose keys the piece server admits in a network with keys: those of the members, as roster and lookups report them.
The downloader hears of members whose departure the roster did not report. Pure.

The roster announces each member that comes or goes. If something may have been missed, or the roster is silent, a
lookup is asked for all members. While the tracker may not know everybody yet, after its restart, nobody is shut out.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from node.agent.effects import ToDownloader, ToPieceServer
from node.local_messages import MemberKeys, SourceLost
from protocol.messages import PeerEntry

AGAIN_SECONDS = 5.0
"""Until the next question: after an incomplete answer, or none, and while the roster is silent."""


class FindMembers(Struct, frozen=True):
    """Ask for all members."""


Effect = FindMembers | ToPieceServer | ToDownloader


class Members:
    """Does nothing unless the network has keys (``keyed``)."""

    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._keys: dict[str, str] = {}
        """By peer."""
        self._since: dict[str, str] | None = None
        """What the roster has said since the open question was asked, by peer; an empty key: it left. None: no question
        is open."""
        self._ask_at: float | None = None
        self._heard_at: float | None = None
        """When the roster last said something, or might have begun to."""

    def told(self) -> list[Effect]:
        """For a piece server that has just started."""
        return [ToPieceServer(MemberKeys(list(self._keys.values()), [], True))] if self._keys else []

    def welcomed(self, now: float) -> list[Effect]:
        """This peer is a member."""
        self._heard_at = now
        return self.missed(now, 0.0)

    def missed(self, now: float, within: float) -> list[Effect]:
        """The roster may have missed something; ask ``within`` seconds."""
        if self._keyed:
            self._ask_at = now + within
        return self.tick(now)

    def heard(self, now: float) -> None:
        """The roster has said something."""
        self._heard_at = now

    def joined(self, peer: str, key: str) -> list[Effect]:
        if not self._keyed:
            return []
        if self._since is not None:
            self._since[peer] = key
        self._keys[peer] = key
        return [ToPieceServer(MemberKeys([key], [], False))]

    def left(self, peer: str) -> list[Effect]:
        if self._since is not None:
            self._since[peer] = ""
        key = self._keys.pop(peer, "")
        return [ToPieceServer(MemberKeys([], [key], False))] if key else []

    def found(self, peers: Sequence[PeerEntry], settling: bool, now: float) -> list[Effect]:
        """The answer. ``settling``: the tracker may not know everybody yet."""
        since, self._since = self._since or {}, None
        keys = {peer.peer: peer.key for peer in peers if peer.key} | since
        keys = {peer: key for peer, key in keys.items() if key}
        if settling:
            keys = self._keys | keys
            self._ask_at = now + AGAIN_SECONDS
        gone = sorted(self._keys.keys() - keys.keys())
        self._keys = keys
        told = ToPieceServer(MemberKeys(list(keys.values()), [], not settling))
        return [told, *(ToDownloader(SourceLost(peer, "")) for peer in gone)]

    def failed(self, now: float) -> None:
        """No answer came."""
        self._since, self._ask_at = None, now + AGAIN_SECONDS

    def tick(self, now: float) -> list[Effect]:
        due = self.next_deadline()
        if due is None or now < due:
            return []
        self._since, self._ask_at = {}, None
        if self._heard_at is not None:
            self._heard_at = max(self._heard_at, now)
        return [FindMembers()]

    def next_deadline(self) -> float | None:
        """None while a question is open, or if there is nothing to ask."""
        if self._since is not None or not self._keyed:
            return None
        silent = None if self._heard_at is None else self._heard_at + AGAIN_SECONDS
        return min((at for at in (self._ask_at, silent) if at is not None), default=None)
