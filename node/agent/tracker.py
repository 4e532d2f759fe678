"""What belongs to one of the peer's trackers: the membership, the questions to its lookups, its roster. Pure.

What a tracker says of itself and of places is meant as this peer reaches it, so endpoints are filled in here. What
several trackers know together is `node.agent.trackers`'.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from node.agent import lookups as lk
from node.agent.announced import AnnouncedList
from node.agent.effects import Subscribe
from node.agent.heartbeats import Figures
from node.agent.lookups import Lookups
from node.agent.membership import Membership, Welcomed
from node.agent.roster import RosterFollower
from protocol.endpoints import host_of, is_loopback, with_host
from protocol.limits import ENDPOINT_BYTES_MAX
from protocol.messages import SeederEntry

ELSEWHERE = " of another machine"


class FromTracker(Struct, frozen=True):
    """``effect`` of the cores of a tracker, by its number."""

    tracker: int
    effect: Any


class Who(Struct, frozen=True):
    """How the peer introduces itself. ``away``: it is out of the network until `join`."""

    peer: str
    name: str
    away: bool


class Tracker:
    """Number ``number`` in the configured order, at ``endpoint``, which knows this peer by ``token``."""

    def __init__(
        self,
        number: int,
        endpoint: str,
        token: bytes,
        who: Who,
        announced: AnnouncedList,
        figures: Figures,
        rng: random.Random,
    ) -> None:
        self.number, self.endpoint = number, endpoint
        self.membership = Membership(who.peer, token, who.name, endpoint, rng, announced, figures, who.away)
        self.follower = RosterFollower(who.peer)
        self.lookups = Lookups(who.peer, rng)

    def of(self, effects: Iterable[object]) -> list[FromTracker]:
        return [FromTracker(self.number, effect) for effect in effects]

    @property
    def after(self) -> tuple[int, int]:
        """The (epoch, seq) of which this peer has heard, or that contains what it has told."""
        heard, told = self.follower, self.membership
        return max((heard.epoch, heard.seq), (told.epoch, told.seq))

    @property
    def is_silent(self) -> bool:
        """Whether it is known that nothing it is asked now will be answered soon."""
        return self.membership.network not in ("joined", "joining") or self.lookups.is_silent

    def problem(self, now: float) -> str:
        """What keeps this peer from it, or it from answering, in words; empty when nothing does."""
        return self.membership.problem or self.lookups.problem(now)

    @property
    def silence(self) -> str:
        """That it does not answer, or why it refuses this peer, in words."""
        member = self.membership
        return member.problem if member.is_refused else f"tracker {self.endpoint} does not answer; still trying"

    def welcomed(self, effect: Welcomed, now: float) -> list[FromTracker]:
        """This peer is a member: follow its roster, and ask its lookups."""
        welcome = effect.welcome
        self.follower.start(welcome.epoch, welcome.seq)
        dialled = self.lookups.set_endpoints(welcome.lookups, now)
        return self.of([Subscribe(welcome.roster), *dialled])

    # --- addresses as this peer reaches them -------------------------------------------------------------

    def peers(self, found: lk.PeersFound) -> lk.PeersFound:
        host = self.membership.tracker_host
        return replace(found, entries=[replace(one, endpoint=with_host(one.endpoint, host)) for one in found.entries])

    def dialled(self, seeder: SeederEntry) -> SeederEntry:
        """``seeder`` with the endpoint to dial. A loopback address of another machine is marked as such, so that nobody
        dials it."""
        host = self.membership.tracker_host
        endpoint = with_host(seeder.endpoint, host)
        if is_loopback(host_of(endpoint)) and not is_loopback(host):
            endpoint = f"{endpoint}{ELSEWHERE}"[:ENDPOINT_BYTES_MAX]
        return replace(seeder, endpoint=endpoint)
