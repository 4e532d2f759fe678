"""Whose turn it is to be offered a piece. PROTOCOL.md, section 6.3.

Pure. Sessions that want something and have not stalled take turns. Which piece is offered, and whether there is a slot
for it, is up to `uploads`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from random import Random

from node.piece_server.session import Session, SessionKey
from protocol.limits import SESSIONS_COUNT_MAX


class Turns:
    """Of the sessions of one piece server. ``rng`` draws who is first."""

    def __init__(self, rng: Random) -> None:
        self._random = rng.random
        self._waiting: OrderedDict[SessionKey, Session] = OrderedDict()
        """Next one first."""
        self._full: set[SessionKey] = set()
        """Those that had no room for what they were last offered."""
        self._drawn: dict[bytes, None] = {}
        """Connections for which a place was drawn, the last of them."""

    def update(self, session: Session) -> None:
        """What it wants has changed, or whether it has stalled."""
        if session.wanted and not session.stalled:
            self._waiting.setdefault(session.key, session)
        else:
            self._waiting.pop(session.key, None)

    def asked(self, session: Session, is_first: bool) -> None:
        """It said what it wants. The place of one that does so for the first time is drawn: were all sources to go
        through the receivers in the same order, all would send to the same few at first. It is drawn once for each
        connection, or who never acknowledges a piece, and begins anew, would get before those who wait for ever."""
        self._full.discard(session.key)
        self.update(session)
        if not is_first or session.key not in self._waiting or session.route in self._drawn:
            return
        self._drawn[session.route] = None
        if len(self._drawn) > SESSIONS_COUNT_MAX:
            del self._drawn[next(iter(self._drawn))]
        if self._random() < 0.5:
            self._waiting.move_to_end(session.key, last=False)

    def offered(self, session: Session) -> None:
        """It had its turn."""
        self.update(session)
        if session.key in self._waiting:
            self._waiting.move_to_end(session.key)

    def has_no_room(self, session: Session) -> None:
        """It refused an offer, and wants nothing until it says so."""
        self._full.add(session.key)
        self.update(session)

    def remove(self, session: Session) -> None:
        """The session has ended."""
        self._waiting.pop(session.key, None)
        self._full.discard(session.key)

    def next(self, slots: int, may_wait: bool) -> Session | None:
        """Who may be promised one more piece, when ``slots`` are sent at a time. An offer to somebody who is being sent
        something arrives after that, and keeps a slot until then: unless it ``may_wait``, it is not made while there
        are others who will say when they have room."""
        share = max(2, 2 * slots // max(1, len(self._waiting)))
        behind = None
        for session in self._waiting.values():
            if len(session.promises) >= share:
                continue
            if not session.is_sent_something:
                return session
            behind = behind or session
        return behind if may_wait or not self._full else None

    def check_invariants(self, sessions: Mapping[SessionKey, Session]) -> None:
        """Raise AssertionError when these are not those of ``sessions`` that want something."""
        takers = [key for key, session in sessions.items() if session.wanted and not session.stalled]
        assert sorted(self._waiting) == sorted(takers)
        assert self._full <= sessions.keys()
