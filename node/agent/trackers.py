"""The peer's trackers: it is a member of each, tells each the same, and asks all. Pure.

There is no first among them, and they do not know of each other: each has the whole picture because every peer tells
it. Most networks have one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from node.agent.announced import AnnouncedList
from node.agent.heartbeats import Figures
from node.agent.lookups import AskFailed, Found
from node.agent.membership import State
from node.agent.questions import Questions
from node.agent.seeders import Seeders
from node.agent.tracker import FromTracker, Tracker, Who
from node.api_messages import NETWORKS, Network
from protocol.messages import Entry, TransferState


class Trackers:
    """Those at the endpoints of ``tokens``, each with the token by which it knows this peer; at least one. ``list`` and
    ``figures`` are what all are told."""

    def __init__(self, tokens: Mapping[str, bytes], who: Who, figures: Figures, rng: random.Random) -> None:
        self.list = AnnouncedList()
        self.all = [
            Tracker(number, endpoint, token, who, self.list, figures, rng)
            for number, (endpoint, token) in enumerate(tokens.items())
        ]
        self.questions = Questions(self.all)
        self.seeders = Seeders(self.all)

    def each(self, act: Callable[[Tracker], Iterable[object]]) -> list[FromTracker]:
        """What ``act`` causes at each."""
        return [effect for tracker in self.all for effect in tracker.of(act(tracker))]

    # --- what the peer wants -----------------------------------------------------------------------------

    def set_entry(self, entry: Entry, now: float) -> list[FromTracker]:
        """Announce ``entry``, in place of any other of its digest."""
        return self.tell(now) if self.list.set(entry) else []

    def remove_entry(self, digest: str, now: float) -> list[FromTracker]:
        return self.tell(now) if self.list.remove(digest) else []

    def tell(self, now: float) -> list[FromTracker]:
        """Send what has changed in the list to each that is to be told of it now."""
        return self.each(lambda tracker: tracker.membership.pump(now))

    def transfer(self, digest: str, state: TransferState, now: float) -> list[FromTracker]:
        """Report a download's state."""
        return self.each(lambda tracker: tracker.membership.transfer(digest, state, now))

    def hasten(self, now: float) -> None:
        """People wait for changes of downloads or orders."""
        for tracker in self.all:
            tracker.membership.beats.hasten(now)

    def want(self, digest: str, now: float, own_too: bool) -> list[FromTracker]:
        """Keep asking who has ``digest``, this peer included if ``own_too``; the first time at once."""
        self.seeders.wanted(digest)
        return self.each(lambda tracker: tracker.lookups.want(digest, now, own_too))

    def unwant(self, digest: str) -> None:
        self.seeders.unwanted(digest)
        for tracker in self.all:
            tracker.lookups.unwant(digest)

    def refresh(self, digest: str, now: float) -> list[FromTracker]:
        """Ask who has ``digest`` now rather than at the next refresh."""
        return self.each(lambda tracker: tracker.lookups.refresh(digest, now))

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[FromTracker | Found | AskFailed]:
        ticked = self.each(lambda tracker: [*tracker.membership.tick(now), *tracker.lookups.tick(now)])
        return [*ticked, *self.questions.tick(now)]

    def next_deadline(self) -> float | None:
        moments = [self.questions.next_deadline()]
        for tracker in self.all:
            moments += [tracker.membership.next_deadline(), tracker.lookups.next_deadline()]
        return min((moment for moment in moments if moment is not None), default=None)

    # --- how it stands -----------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether any of them has let this peer in, and answers."""
        return any(tracker.membership.joined for tracker in self.all)

    @property
    def joined_each(self) -> dict[str, bool]:
        """Whether each of them, by endpoint, has let this peer in, and answers."""
        return {tracker.endpoint: tracker.membership.joined for tracker in self.all}

    @property
    def network(self) -> Network:
        """The best of `Membership.network`."""
        return min((tracker.membership.network for tracker in self.all), key=NETWORKS.index)

    @property
    def has_left(self) -> bool:
        """Whether this peer is out of all of them."""
        return all(tracker.membership.state is State.LEFT for tracker in self.all)

    def silent_seconds(self, now: float) -> dict[str, float]:
        """How long all of them have been silent; empty if none ever said anything."""
        heard = [tracker.membership.heard_at for tracker in self.all if tracker.membership.heard_at is not None]
        return {"tracker": now - max(heard)} if heard else {}

    def problem(self, now: float) -> str:
        """Which of them do not answer, and why, in one line; empty when all do."""
        silent = [tracker for tracker in self.all if tracker.problem(now)]
        if len(silent) == len(self.all):
            return "; ".join(tracker.problem(now) for tracker in silent)
        return self.without(silent) if silent else ""

    def without(self, silent: Sequence[Tracker]) -> str:
        """That the others are asked while some are ``silent``, in words that stay the same meanwhile."""
        asked = ", ".join(tracker.endpoint for tracker in self.all if tracker not in silent)
        return f"{'; '.join(tracker.silence for tracker in silent)}; asking {asked}"

    def unheard(self, numbers: Sequence[int]) -> str:
        """Which trackers, by number, an answer is without, in words; empty when it is that of all."""
        return self.without([self.all[number] for number in numbers]) if numbers else ""

    @property
    def unreached(self) -> str:
        """What keeps this peer out of those of which it is no member, in words."""
        return "; ".join(tracker.membership.problem for tracker in self.all if tracker.membership.problem)

    def may_be_listed(self, digest: str, now: float) -> bool:
        """Whether one of them may still list an old entry of ``digest``."""
        return any(tracker.membership.owes(digest, now) for tracker in self.all)
