"""The lookup's end of the ordered link: a replica of the registry. Pure.

`Replica.registry` is None until the whole state has arrived for the first time. While a new state is coming in (after a
gap, a silence, the registrar's restart) the replica stays as it was, and is replaced in one step when the new state is
complete; likewise a change set is applied when its last event has arrived. Readers may see an old state, never a
partial one. The events held back for this are bounded: beyond LINK_QUEUE_COUNT_MAX a new state takes less room.

A registrar that restarted has lost its members and gets them back within a heartbeat; for that time, and until a
lease has passed, the replica is `settling`.
"""

from __future__ import annotations

import random

from broker.effects import LookupEffect, Note, SendRegistrar
from broker.events import Event
from broker.link_messages import Ack, Changes, FromRegistrar, LinkBeat, LinkLost, StateRequest
from broker.listing_index import ListingIndex
from broker.registry import Registry
from protocol import limits as lim


class Replica:
    """Follows the registrar. ``rng`` draws the names of syncs and spreads the retries of many lookups. ``answers``: its
    owner answers peers."""

    def __init__(self, rng: random.Random, answers: bool = True) -> None:
        self.registry: Registry | None = None
        self.epoch = 0
        self.seq = 0
        self.queries = 0
        """How many its owner has heard: the registrar is told."""
        self._answers = answers
        self._settled_at = 0.0
        self._rng = rng
        self._sync = 0
        self._received = 0
        self._incoming: Registry | None = None
        """The new state while it is coming in."""
        self._held_back: list[Event] = []
        """Events of a change set that is not complete."""
        self._ask_at: float | None = None
        """When to ask for the state (again), unless a message arrives before."""

    def connected(self, now: float) -> list[LookupEffect]:
        """The link has a (new) connection: messages in flight on the last one are lost, so ask for the state."""
        return self._start_over(now)

    def settling(self, now: float) -> bool:
        """Whether there may be members that the registrar does not know yet."""
        return now < self._settled_at

    def next_deadline(self) -> float | None:
        """When `tick` is due."""
        return self._ask_at

    def tick(self, now: float) -> list[LookupEffect]:
        """A silent registrar is asked for the state again."""
        if self._ask_at is None or now < self._ask_at:
            return []
        note = Note("warning", f"the registrar has been silent for {lim.LINK_SILENT_SECONDS:.0f} s; asking it again")
        return [note, *self._start_over(now)]

    def handle(self, message: FromRegistrar, now: float) -> list[LookupEffect]:
        """Apply a message from the link. One of an earlier sync is ignored."""
        if message.sync != self._sync:
            return []
        if isinstance(message, LinkLost):
            return self._start_over(now)
        self._listen(now)
        if isinstance(message, LinkBeat):
            return self._at(message.sent, now) or [self._ack()]
        return self._at(message.number, now) or self._take(message, now)

    def _at(self, number: int, now: float) -> list[LookupEffect]:
        """Effects of a gap before message ``number``; none when there is no gap."""
        if number == self._received:
            return []
        note = Note("warning", f"the link lost messages (got {number}, expected {self._received})")
        return [note, *self._start_over(now)]

    def _take(self, message: Changes, now: float) -> list[LookupEffect]:
        self._received += 1
        if self._incoming is None and len(self._held_back) + len(message.events) > lim.LINK_QUEUE_COUNT_MAX:
            note = Note("info", "a great deal changed at once; asking the registrar for the whole state")
            return [note, *self._start_over(now)]
        effects: list[LookupEffect] = [self._ack()]
        if self._incoming is not None:
            for event in message.events:
                self._incoming.apply(event)
        else:
            self._held_back += message.events
        if not message.more:
            effects += self._reach(message, now)
        return effects

    def _reach(self, message: Changes, now: float) -> list[LookupEffect]:
        """A change set, or the state, is complete: make it visible."""
        effects: list[LookupEffect] = []
        if self._incoming is not None:
            self.registry, self._incoming = self._incoming, None
            counts = f"{len(self.registry.members)} peers, {len(self.registry.swarms)} swarms"
            effects.append(Note("info", f"following the registrar: {counts}"))
        assert self.registry is not None, "a sync starts with the state"
        for event in self._held_back:
            self.registry.apply(event)
        self._held_back.clear()
        self.epoch, self.seq = message.epoch, message.seq
        self._settled_at = now + message.settling_seconds
        return effects

    def _ack(self) -> SendRegistrar:
        return SendRegistrar(Ack(self._sync, self._received, self.queries))

    def _listen(self, now: float) -> None:
        self._ask_at = now + lim.LINK_SILENT_SECONDS * self._rng.uniform(1.0, 1.3)

    def _start_over(self, now: float) -> list[LookupEffect]:
        self._sync = self._rng.getrandbits(48)
        self._received = 0
        self._incoming = Registry(ListingIndex())
        self._held_back.clear()
        self._listen(now)
        return [SendRegistrar(StateRequest(self._sync, self._answers))]
