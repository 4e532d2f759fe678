"""Worlds with two trackers: what goes wrong between peers and trackers, and what one of them is worth without the
other. Pure.

Everything here is drawn from streams of its own: a world with one tracker is what it would be without this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Literal

from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.peer import Peer
from cluster.simulated.tracker import Tracker
from cluster.simulated.world import World
from node.api_messages import ApiList, ApiListReply, ApiPeers, ApiPeersReply, ApiReply
from node.local_messages import API_SOCKET

TWO_PART = 0.15
"""Of all worlds with heavy faults."""
Fate = Literal["dies", "hangs", "comes back empty", "is cut off", "lives"]
FATES: tuple[Fate, ...] = ("dies", "hangs", "comes back empty", "is cut off", "lives")
OUTAGE_SECONDS_MIN, OUTAGE_SECONDS_MAX = 2.0, 60.0
BETWEEN_SECONDS = 25.0
REQUEST = 1_000_000_000
ANSWER_SECONDS = 8.0
"""Within which whoever types `list` has the answer."""


def draw_count(rng: Random) -> int:
    """How many trackers a world has."""
    return 2 if rng.random() < TWO_PART else 1


class Several:
    """Of ``world``, which has several trackers. ``fated`` is the one that people have to do without at last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.streams.of("trackers", "faults")
        self.fated = self._rng.choice(world.trackers)
        self.fate: Fate = self._rng.choice(FATES)
        self._down: list[Tracker] = []
        self._cuts: list[tuple[str, str]] = []
        self._is_over = False

    # --- while anything may go wrong -----------------------------------------------------------------------

    def start(self) -> None:
        """One after another, each tracker may be away for a while; never all of them."""
        self._world.clock.after(self._rng.expovariate(1 / BETWEEN_SECONDS), self._happen)

    def heal(self) -> None:
        """It is over: all are back but the one that is not to be there, as its fate is."""
        self._is_over = True
        for tracker in self._world.trackers:
            self._back(tracker)
        self._strike(self.fated, self.fate)

    def end(self) -> None:
        """It is back too."""
        self._back(self.fated)

    def serving(self) -> Iterator[Tracker]:
        """Those that all peers can rely on once the rest is healed."""
        return (one for one in self._world.trackers if one is not self.fated or self.fate == "lives")

    def _happen(self) -> None:
        if self._is_over:
            return
        tracker, fate = self._rng.choice(self._world.trackers), self._rng.choice(FATES)
        lasting = self._rng.uniform(OUTAGE_SECONDS_MIN, OUTAGE_SECONDS_MAX)
        if not self._down:
            self._strike(tracker, fate)
            self._world.clock.after(lasting, self._ends, tracker)
        self._world.clock.after(self._rng.expovariate(1 / BETWEEN_SECONDS), self._happen)

    def _ends(self, tracker: Tracker) -> None:
        if not self._is_over:
            self._back(tracker)

    def _strike(self, tracker: Tracker, fate: Fate) -> None:
        self._world.note("trackers", f"{tracker.host.name} {fate}")
        if fate == "lives":
            return
        self._down.append(tracker)
        if fate == "hangs":
            tracker.pause()
        elif fate == "is cut off":
            names = list(self._world.peers)
            some = self._rng.sample(names, self._rng.randint(1, len(names)))
            self._cuts = [way for name in some for way in ((name, tracker.host.name), (tracker.host.name, name))]
            for way in self._cuts:
                self._world.network.cut(*way)
        else:
            tracker.stop()
            if fate == "comes back empty":
                tracker.start()

    def _back(self, tracker: Tracker) -> None:
        if tracker not in self._down:
            return
        self._down.remove(tracker)
        for way in self._cuts:
            self._world.network.heal(*way)
        self._cuts = []
        tracker.go_on()
        if not tracker.serves:
            tracker.start()

    # --- what a person is told ------------------------------------------------------------------------------

    def check_lists(self) -> None:
        """Whoever types `list` or `peers` is answered, and told of all that others have whole, and of all who are
        members of a tracker that all reach: one may still refuse a peer for another one with its identity."""
        world = self._world
        honest = [peer for peer in world.peers.values() if peer.powered and peer.agent is not None]
        reached = [tracker.address for tracker in self.serving()]
        joined = [peer for peer in honest if _is_member_of_one(peer, reached)]
        whole = {item.digest for peer in joined for item in peer.disk.items.values() if not item.state}
        for peer in joined:
            listed = self._ask(peer, ApiList(REQUEST, ""))
            there = self._ask(peer, ApiPeers(REQUEST))
            if not isinstance(listed, ApiListReply) or not isinstance(there, ApiPeersReply):
                raise BrokenInvariantError(f"{peer.name} asks what there is, and is told {listed} and {there}")
            missing = sorted(whole - {entry.digest for entry in listed.entries})
            missing += [one.name for one in joined if one.identity not in [entry.peer for entry in there.peers]]
            if missing:
                raise BrokenInvariantError(f"{peer.name} is not told of {missing}, which are there")

    def _ask(self, peer: Peer, request: ApiList | ApiPeers) -> ApiReply | None:
        """The answer, if there is one in time."""
        answers: dict[int, ApiReply] = {}
        router = peer.local[API_SOCKET]
        router.on_unread = lambda reply: answers.update({reply.id: reply})
        peer.ask(request)
        self._world.run(self._world.now + ANSWER_SECONDS, lambda: REQUEST in answers)
        router.on_unread = None
        return answers.get(REQUEST)


def _is_member_of_one(peer: Peer, trackers: list[str]) -> bool:
    """Whether ``peer`` is a member of one of ``trackers``, by endpoint."""
    assert peer.agent is not None
    return any(peer.agent.core.trackers.joined_each[endpoint] for endpoint in trackers)
