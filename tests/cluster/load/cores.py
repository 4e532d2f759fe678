"""A tracker of its pure cores, which answers clients in the same moment, and can be made to lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from broker.effects import LookupEffect, RegistrarEffect, Reply, SendLookup, SendRegistrar
from broker.lookup_core import Lookup
from broker.registrar_core import Registrar, Terms
from cluster.load.client import Channel, Conversation, Request
from cluster.load.client import Reply as AnyReply
from cluster.load.crew import Ask, Crew
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, PEERS_COUNT_MAX
from protocol.messages import GetTorrentList, TorrentEntry, TorrentList

HOST = "127.0.0.1"
LINK = b"link"
ROUTE = b"client"
EPOCH = 7_000

Lie = Callable[[Request, AnyReply], AnyReply | None]
"""Of a request and its right reply, what the client is told; None for nothing."""


def truth(_request: Request, reply: AnyReply) -> AnyReply | None:
    return reply


class PureTracker:
    """Registrar and one lookup, which follows at once. ``lie`` stands between it and the clients."""

    def __init__(self, lie: Lie = truth, epoch: int = EPOCH) -> None:
        terms = Terms(LEASE_SECONDS, HEARTBEAT_SECONDS, PEERS_COUNT_MAX, f"tcp://{HOST}:1", (f"tcp://{HOST}:2",))
        self.lie = lie
        self.registrar = Registrar(terms, epoch, 0.0)
        self.lookup = Lookup(Random(1))
        self.seen: list[Request] = []
        self._link(self.lookup.connected(0.0), 0.0)

    def answer(self, request: Request, now: float = 0.0) -> AnyReply | None:
        """What the client that asks is told."""
        self.seen.append(request)
        effects: Sequence[RegistrarEffect | LookupEffect]
        if request.channel is Channel.REGISTRAR:
            effects = self.registrar.handle(ROUTE, HOST, request.message, now)  # type: ignore[arg-type]
        else:
            effects = self.lookup.handle(ROUTE, request.message, now)  # type: ignore[arg-type]
        (reply,) = [effect.message for effect in effects if isinstance(effect, Reply)]
        self._link(effects, now)
        return self.lie(request, reply)

    def lookup_entries(self, name: str) -> list[TorrentEntry]:
        """What is listed under ``name``."""
        reply = self.answer(Request(Channel.LOOKUP, GetTorrentList(1, name, True)))
        assert isinstance(reply, TorrentList)
        return reply.entries

    def tick(self, now: float) -> None:
        self._link([*self.registrar.tick(now), *self.lookup.tick(now)], now)

    def _link(self, effects: Iterable[RegistrarEffect | LookupEffect], now: float) -> None:
        waiting = list(effects)
        while waiting:
            effect = waiting.pop(0)
            if isinstance(effect, SendRegistrar):
                waiting += self.registrar.handle_link(LINK, effect.message, now)
            elif isinstance(effect, SendLookup):
                waiting += self.lookup.handle_link(effect.message, now)


def converse(tracker: PureTracker, talk: Conversation) -> None:
    """The whole conversation."""
    request = next(talk)
    while True:
        reply = tracker.answer(request)
        assert reply is not None
        try:
            request = talk.send(reply)
        except StopIteration:
            return


class Played:
    """A crew and its tracker. A reply arrives ``delay`` seconds after its request, in the order of the requests."""

    def __init__(self, crew: Crew, tracker: PureTracker, delay: float = 0.01) -> None:
        self.crew = crew
        self.tracker = tracker
        self.now = 0.0
        self.open_count_max = 0
        self._delay = delay
        self._open: list[tuple[float, Ask, AnyReply | None]] = []

    def take(self, asks: Iterable[Ask]) -> None:
        """Requests are sent."""
        for ask in asks:
            self._open.append((self.now + self._delay, ask, self.tracker.answer(ask.request, self.now)))
        seats = [ask.seat for _, ask, _ in self._open]
        assert len(seats) == len(set(seats)) or self.crew.given_up, "two requests of one client at a time"
        self.open_count_max = max(self.open_count_max, len(seats))

    def run(self, until: float) -> None:
        """All that happens up to the moment ``until``."""
        while True:
            due = min([self._open[0][0]] if self._open else [until], default=until)
            moment = min(due, self.crew.next_deadline())
            if moment > until or (moment == until and not self._open):
                self.now = until
                return
            self.now = max(self.now, moment)
            self.tracker.tick(self.now)
            if self._open and self._open[0][0] <= self.now:
                _, ask, reply = self._open.pop(0)
                if reply is not None:
                    self.take(self.crew.receive(ask.seat, ask.request.channel, reply, self.now))
            self.take(self.crew.tick(self.now))

    def run_phase(self, patience: float = 60.0) -> None:
        """Until the phase is over."""
        deadline = self.now + patience
        while not self.crew.over:
            assert self.now < deadline, "the phase does not end"
            self.run(self.now + 0.5)
