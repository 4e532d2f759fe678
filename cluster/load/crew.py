"""The clients of one process: who begins which conversation when, who waited too long, what is counted. Pure.

Closed loop: each client has one request open, and begins the next conversation as soon as the last one is over. Or all
are idle: each only shows that it is still there. A client that had an error stops, so that an error is counted once and
not as often as it can be repeated; it leaves with the others at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from random import Random
from typing import NamedTuple

from cluster.load.client import Channel, Client, Conversation, Fault, Reply, Request
from cluster.load.content import addresses_of
from cluster.load.messages import Phase
from cluster.load.mix import Operation, draw
from cluster.load.plan import LoadPlan
from cluster.load.tally import Tally

AT_ONCE_COUNT = 16
"""Clients of one process that join, or leave, at the same time: nobody's list waits behind those of all others."""
REPLY_SECONDS = 10.0
"""A request without a reply for so long is an error. It is not repeated, as a peer would do after 3 s."""
LOOK_SECONDS = 0.25
"""How often it is looked who waits for too long, and who has to show that it is still there."""


class Ask(NamedTuple):
    """Send ``request`` for the client at ``seat``, counted from 0."""

    seat: int
    request: Request


class _Turn(Enum):
    """Of a client, to join or to leave."""

    WAITING = "others come first"
    CALLED = "as soon as it is at nothing else"
    BEGUN = "it is at it"
    DONE = "it has, or it has failed"


class _Seat:
    """One client and what it is at."""

    __slots__ = ("asked_at", "client", "given_up", "heard_at", "index", "request", "rng", "talk", "turn")

    def __init__(self, index: int, client: Client, rng: Random) -> None:
        self.index = index
        self.client = client
        self.rng = rng
        self.talk: Conversation | None = None
        self.request: Request | None = None
        self.asked_at = 0.0
        self.heard_at = 0.0
        """When the registrar last answered."""
        self.turn = _Turn.WAITING
        self.given_up = False
        """It had an error."""


class Crew:
    """Clients ``numbers`` of those of ``plan``. ``rng`` is the origin of all that chance does."""

    def __init__(self, numbers: Sequence[int], plan: LoadPlan, rng: Random) -> None:
        self.phase = Phase.DIAL
        self.tally = Tally()
        """Of this phase."""
        self.settled = 0
        """How many have joined, or left, in this phase."""
        self.given_up = 0
        """How many had an error, in any phase."""
        self._plan = plan
        self._began_at = self._ends_at = self._look_at = 0.0
        self._over_at: float | None = None
        self._waiting: list[_Seat] = []
        """Those whose turn has not come, the next one last."""
        self._done = 0
        self._seats: list[_Seat] = []
        addresses = addresses_of(plan.clients)
        clients: list[Client] = []
        for index, number in enumerate(numbers):
            own_rng = Random(rng.getrandbits(64))
            clients.append(Client(number, plan.files, addresses, clients, own_rng))
            self._seats.append(_Seat(index, clients[-1], own_rng))

    @property
    def over(self) -> bool:
        """Is this phase over? Requests of the load may still be open then."""
        return self._over_at is not None

    @property
    def asked_again(self) -> int:
        """How often a lookup was behind."""
        return sum(seat.client.asked_again for seat in self._seats)

    @property
    def state(self) -> tuple[int, int]:
        """The latest (epoch, seq) that a client has heard of."""
        return max((seat.client.epoch, seat.client.seq) for seat in self._seats)

    def seconds(self, now: float) -> float:
        """How long this phase has lasted, or did last."""
        return (now if self._over_at is None else self._over_at) - self._began_at

    # --- events ------------------------------------------------------------------------------------------

    def go(self, phase: Phase, now: float) -> list[Ask]:
        """``phase`` begins."""
        self.phase, self.tally = phase, Tally()
        self._began_at, self._ends_at, self._over_at = now, now + self._plan.seconds, None
        self._look_at = now + LOOK_SECONDS
        if phase is Phase.LOAD:
            return [ask for seat in self._seats if seat.talk is None for ask in self._next(seat, now)]
        self.settled = self._done = 0
        for seat in self._seats:
            seat.turn = _Turn.WAITING
        self._waiting = self._seats[::-1]
        return [ask for _ in range(AT_ONCE_COUNT) for ask in self._call(now)]

    def receive(self, index: int, channel: Channel, reply: Reply, now: float) -> list[Ask]:
        """``reply`` arrived for the client at ``index``."""
        seat = self._seats[index]
        request, talk = seat.request, seat.talk
        if request is None or talk is None or request.channel is not channel or request.message.id != reply.id:
            if seat.given_up:  # it came late
                return []
            return self._fail(seat, "a reply to nothing", f"{type(reply).__name__} with the id {reply.id}", now)
        if channel is Channel.REGISTRAR:
            seat.heard_at = now
        if self.phase is not Phase.LOAD or now < self._ends_at:
            self.tally.answered(_name_of(request), now - seat.asked_at)
        try:
            following = talk.send(reply)
        except StopIteration:
            return self._end(seat, True, now)
        except Fault as fault:
            return self._fail(seat, fault.kind, fault.detail, now)
        return [self._ask(seat, following, now)]

    def broken(self, index: int, why: str, now: float) -> list[Ask]:
        """What arrived for the client at ``index`` is no message."""
        return self._fail(self._seats[index], "a reply that is no message", why, now)

    def tick(self, now: float) -> list[Ask]:
        """Call at `next_deadline`; calling earlier does nothing."""
        if self.phase is Phase.LOAD and not self.over:
            if now >= self._ends_at:
                self._over_at = self._ends_at
            elif self.given_up == len(self._seats):
                self._over_at = now
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_SECONDS
        return [ask for seat in self._seats for ask in self._look_at_seat(seat, now)]

    def next_deadline(self) -> float:
        """When `tick` is due."""
        if self.phase is Phase.LOAD and not self.over:
            return min(self._look_at, self._ends_at)
        return self._look_at

    # --- steps -------------------------------------------------------------------------------------------

    def _call(self, now: float) -> list[Ask]:
        """It is the next one's turn to join or to leave."""
        if not self._waiting:
            return []
        seat = self._waiting.pop()
        seat.turn = _Turn.CALLED
        return self._next(seat, now) if seat.talk is None else []

    def _next(self, seat: _Seat, now: float) -> list[Ask]:
        """What ``seat``, which is at nothing, begins now."""
        if self.phase is Phase.LOAD:
            if self._plan.idle or seat.given_up or now >= self._ends_at:
                return []
            return self._begin(seat, seat.client.operation(self._operation(seat, now)), now)
        if seat.turn is not _Turn.CALLED:
            return []
        seat.turn = _Turn.BEGUN
        return self._begin(seat, seat.client.join() if self.phase is Phase.JOIN else seat.client.leave(), now)

    def _operation(self, seat: _Seat, now: float) -> Operation:
        """As the mix has it, but a member keeps its lease."""
        return Operation.HEARTBEAT if _is_silent(seat, now) else draw(seat.rng)

    def _begin(self, seat: _Seat, talk: Conversation, now: float) -> list[Ask]:
        seat.talk = talk
        return [self._ask(seat, next(talk), now)]

    def _ask(self, seat: _Seat, request: Request, now: float) -> Ask:
        seat.request, seat.asked_at = request, now
        return Ask(seat.index, request)

    def _end(self, seat: _Seat, well: bool, now: float) -> list[Ask]:
        """The conversation of ``seat`` is over."""
        seat.talk = seat.request = None
        if seat.turn is not _Turn.BEGUN:
            return self._next(seat, now)
        seat.turn = _Turn.DONE
        self.settled += well
        self._done += 1
        if self._done == len(self._seats):
            self._over_at = now
        return self._call(now)

    def _fail(self, seat: _Seat, kind: str, detail: str, now: float) -> list[Ask]:
        self.tally.failed(_name_of(seat.request), kind, f"{seat.client.peer}: {detail}")
        self.given_up += not seat.given_up
        seat.given_up = True
        seat.client.lose_track()  # what it asked for may have been done, and its lease ends now
        return self._end(seat, False, now)

    def _look_at_seat(self, seat: _Seat, now: float) -> list[Ask]:
        if seat.request is not None:
            waited = now - seat.asked_at
            return self._fail(seat, "no reply", f"for {waited:.1f} s", now) if waited >= REPLY_SECONDS else []
        if seat.given_up or not _is_silent(seat, now):
            return []
        return self._begin(seat, seat.client.heartbeat(), now)


def _is_silent(seat: _Seat, now: float) -> bool:
    """Would a peer send a heartbeat now?"""
    return seat.client.member and now - seat.heard_at >= seat.client.heartbeat_seconds


def _name_of(request: Request | None) -> str:
    return "nothing" if request is None else type(request.message).__name__
