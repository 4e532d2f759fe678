"""A registrar and its lookups with the link between them as two queues, which can be held up, cut and lose things."""

from __future__ import annotations

import random
from collections import deque

from broker.effects import LookupEffect, Reply, SendRegistrar
from broker.link_messages import FromLookup, FromRegistrar
from broker.lookup_core import Lookup
from protocol.messages import LookupReply, LookupRequest
from tests.broker.scenes import Stage


class LinkedLookup:
    """One lookup at the other end of a pipe. ``route`` is new after each reconnect, as a ROUTER sees it."""

    def __init__(self, stage: Stage, seed: int = 1) -> None:
        self.stage = stage
        self.lookup = Lookup(random.Random(seed))
        self.route = b"route-%d-0" % seed
        self.down: deque[FromRegistrar] = deque()
        self.up: deque[FromLookup] = deque()
        self.replies: list[LookupReply] = []
        self.notes: list[str] = []
        self.perform(self.lookup.connected(stage.now))

    def perform(self, effects: list[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendRegistrar):
                self.up.append(effect.message)
            elif isinstance(effect, Reply):
                self.replies.append(effect.message)  # type: ignore[arg-type]
            else:
                self.notes.append(effect.text)

    def collect(self) -> None:
        """Take what the registrar has sent out of the stage's hands; what goes to a dead route is reported back."""
        sent, self.stage.to_lookups = self.stage.to_lookups, []
        for effect in sent:
            if effect.route == self.route:
                self.down.append(effect.message)
            elif effect.route.rpartition(b"-")[0] == self.route.rpartition(b"-")[0]:
                self.stage.perform(self.stage.registrar.undeliverable(effect))
            else:
                self.stage.to_lookups.append(effect)

    def step_up(self) -> None:
        if self.up:
            effects = self.stage.registrar.handle_link(self.route, self.up.popleft(), self.stage.now)
            self.stage.perform(effects)
            self.collect()

    def step_down(self) -> None:
        self.collect()
        if self.down:
            self.perform(self.lookup.handle_link(self.down.popleft(), self.stage.now))

    def settle(self) -> None:
        """Deliver everything both ways."""
        self.collect()
        while self.up or self.down:
            while self.up:
                self.step_up()
            while self.down:
                self.step_down()

    def pass_time(self, seconds: float, deliver: bool = True) -> None:
        """Both sides' clocks run, in steps of at most a beat."""
        end = self.stage.now + seconds
        while self.stage.now < end:
            self.stage.pass_time(min(0.5, end - self.stage.now))
            deadline = self.lookup.next_deadline()
            if deadline is not None and deadline <= self.stage.now:
                self.perform(self.lookup.tick(self.stage.now))
            if deliver:
                self.settle()

    def reconnect(self) -> None:
        """What was under way is lost, and the registrar sees a stranger."""
        self.up.clear()
        self.down.clear()
        name, _, number = self.route.rpartition(b"-")
        self.route = b"%b-%d" % (name, int(number) + 1)

    def ask(self, request: LookupRequest) -> LookupReply | None:
        """The reply given at once; None when the request is parked."""
        before = len(self.replies)
        self.perform(self.lookup.handle(b"asker", request, self.stage.now))
        return self.replies[-1] if len(self.replies) > before else None
