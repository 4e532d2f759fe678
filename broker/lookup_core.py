"""A lookup's conversations: when a request is answered, and from what. Pure.

A request may name an (epoch, seq) that the answer has to include. If the replica has not reached it, the request is
parked for at most MIN_SEQ_WAIT_SECONDS; then it is answered `Behind`. The same applies while the replica is empty: a
lookup never answers from a partial state. An epoch that has ended sets no condition.
"""

from __future__ import annotations

import random
from collections import deque
from typing import NamedTuple

from broker.effects import LookupEffect, Reply
from broker.link_messages import FromRegistrar
from broker.queries import Answers
from broker.replica import Replica
from protocol.errors import ProtocolError
from protocol.limits import LOOKUP_PARKED_COUNT_MAX, MIN_SEQ_WAIT_SECONDS
from protocol.messages import Behind, Error, LookupReply, LookupRequest


class _Parked(NamedTuple):
    until: float
    route: bytes
    request: LookupRequest


class Lookup:
    """One lookup process. ``rng`` is injected for samples and jitter."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.replica = Replica(rng)
        self._answers: Answers | None = None
        self._parked: deque[_Parked] = deque()
        """In the order of their deadlines: all have the same waiting time."""

    def connected(self, now: float) -> list[LookupEffect]:
        """The link has a (new) connection."""
        return self.replica.connected(now)

    def handle(self, route: bytes, request: LookupRequest, now: float) -> list[LookupEffect]:
        """A peer asks."""
        self.replica.queries += 1
        if self._ready_for(request):
            return [Reply(route, self._answer(request, now))]
        if len(self._parked) >= LOOKUP_PARKED_COUNT_MAX:
            return [Reply(route, self._behind(request))]
        self._parked.append(_Parked(now + MIN_SEQ_WAIT_SECONDS, route, request))
        return []

    def handle_link(self, message: FromRegistrar, now: float) -> list[LookupEffect]:
        """A message from the registrar; it may answer parked requests."""
        before = (self.replica.registry, self.replica.seq)
        effects = self.replica.handle(message, now)
        registry = self.replica.registry
        if registry is not before[0] and registry is not None:
            self._answers = Answers(registry, self._rng)
        if self._parked and before != (registry, self.replica.seq):
            effects += self._answer_parked(now)
        return effects

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        deadlines = [self.replica.next_deadline(), self._parked[0].until if self._parked else None]
        return min((at for at in deadlines if at is not None), default=None)

    def tick(self, now: float) -> list[LookupEffect]:
        """Answer requests that have waited long enough; ask a silent registrar again."""
        effects = self.replica.tick(now)
        while self._parked and self._parked[0].until <= now:
            parked = self._parked.popleft()
            effects.append(Reply(parked.route, self._behind(parked.request)))
        return effects

    def _ready_for(self, request: LookupRequest) -> bool:
        replica = self.replica
        if replica.registry is None:
            return False
        if request.epoch in (0, replica.epoch):
            return replica.seq >= request.min_seq
        return request.epoch < replica.epoch

    def _answer_parked(self, now: float) -> list[LookupEffect]:
        waiting, self._parked = self._parked, deque()
        effects: list[LookupEffect] = []
        for parked in waiting:
            if self._ready_for(parked.request):
                effects.append(Reply(parked.route, self._answer(parked.request, now)))
            else:
                self._parked.append(parked)
        return effects

    def _answer(self, request: LookupRequest, now: float) -> LookupReply:
        assert self._answers is not None
        replica = self.replica
        try:
            return self._answers.answer(request, (replica.epoch, replica.seq, replica.settling(now)))
        except ProtocolError as error:
            return Error(request.id, error.code, str(error))

    def _behind(self, request: LookupRequest) -> Behind:
        return Behind(request.id, self.replica.epoch, self.replica.seq)
