"""A membership at the only tracker of a peer, with the list that it announces."""

from __future__ import annotations

import random
from collections.abc import Callable

from node.agent.announced import AnnouncedList
from node.agent.heartbeats import Figures
from node.agent.membership import Effect, Membership
from protocol.messages import DownloadState, Entry


class SoleMembership(Membership):
    def __init__(
        self,
        peer: str,
        token: bytes,
        name: str,
        tracker: str,
        rng: random.Random,
        away: bool = False,
        downloads: Callable[[float], list[DownloadState]] = lambda _now: [],
    ) -> None:
        self.list, self.figures = AnnouncedList(), Figures(downloads)
        super().__init__(peer, token, name, tracker, rng, self.list, self.figures, away)

    def set_entry(self, entry: Entry, now: float) -> list[Effect]:
        return self.pump(now) if self.list.set(entry) else []

    def remove_entry(self, digest: str, now: float) -> list[Effect]:
        return self.pump(now) if self.list.remove(digest) else []
