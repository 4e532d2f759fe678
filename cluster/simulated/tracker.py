"""The tracker of a simulated world: the real cores of registrar and lookups, each in a process of its own. Pure.

Here stands what the shells `broker.registrar` and `broker.lookup` do with sockets, over the simulated network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from broker.effects import LookupEffect, Note, Publish, RegistrarEffect, Reply, SendLookup, SendRegistrar
from broker.lookup_core import Lookup
from broker.registrar_core import Registrar, Terms
from cluster.simulated.network import Listener, NetHost, Network
from cluster.simulated.process import Process
from cluster.simulated.redialler import Redialler
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, PEERS_COUNT_MAX

REGISTRAR_PORT, ROSTER_PORT, LINK_PORT, LOOKUP_PORT = 5550, 5551, 5549, 5552
ROUTER_LIMIT, ROSTER_LIMIT, LINK_LIMIT = 100, 2_000, 10_000
"""SNDHWM of these sockets in `transport.sockets`."""
RESTART_SECONDS = 0.1
"""The supervisor's first wait before it starts a dead child again."""

Log = Callable[[str, str], None]
"""Takes who says it, and what."""


class Tracker:
    """A tracker host with ``lookup_count`` lookups. Processes that die are started again a moment later."""

    def __init__(self, network: Network, host: NetHost, lookup_count: int, rng: Random, note: Log) -> None:
        self.network, self.host, self.note = network, host, note
        self.after_turn: Callable[[Process], None] = _nothing
        self._rng = rng
        self.terms = Terms(
            LEASE_SECONDS,
            HEARTBEAT_SECONDS,
            PEERS_COUNT_MAX,
            self.endpoint(ROSTER_PORT),
            tuple(self.endpoint(LOOKUP_PORT + number) for number in range(lookup_count)),
        )
        self.registrar = RegistrarProcess(self, 1)
        self.lookups = [LookupProcess(self, number) for number in range(lookup_count)]

    def endpoint(self, port: int) -> str:
        return f"tcp://{self.host.address}:{port}"

    @property
    def address(self) -> str:
        """What peers are configured with."""
        return self.endpoint(REGISTRAR_PORT)

    def random(self) -> Random:
        return Random(self._rng.getrandbits(64))

    def kill_registrar(self) -> None:
        """Its successor knows nobody, and counts a new epoch."""
        old = self.registrar
        old.kill()
        self.network.process_died(self.host, old)
        self.network.clock.after(RESTART_SECONDS, self._start_registrar, old.epoch + 1)

    def kill_lookup(self, number: int) -> None:
        old = self.lookups[number]
        old.kill()
        self.network.process_died(self.host, old)
        self.network.clock.after(RESTART_SECONDS, self._start_lookup, number, old)

    def _start_registrar(self, epoch: int) -> None:
        if not self.registrar.alive:
            self.registrar = RegistrarProcess(self, epoch)
            self.registrar.after_turn = self.after_turn

    def _start_lookup(self, number: int, old: LookupProcess) -> None:
        if self.lookups[number] is old:
            self.lookups[number] = LookupProcess(self, number)
            self.lookups[number].after_turn = self.after_turn


class RegistrarProcess(Process):
    def __init__(self, tracker: Tracker, epoch: int) -> None:
        super().__init__(tracker.network.clock, "registrar")
        self.epoch = epoch
        self.core = Registrar(tracker.terms, epoch, self.clock.now)
        self._note = tracker.note
        listen = partial(tracker.network.listen, tracker.host, self)
        self._requests: Listener = listen(tracker.endpoint(REGISTRAR_PORT), self._on_request, ROUTER_LIMIT)
        self._roster: Listener = listen(tracker.endpoint(ROSTER_PORT), self._on_nothing, ROSTER_LIMIT)
        self._link: Listener = listen(tracker.endpoint(LINK_PORT), self._on_link, LINK_LIMIT)
        self.wake(self.clock.now)

    def tick(self, now: float) -> float:
        self._perform(self.core.tick(now))
        return self.core.next_deadline()

    def _on_request(self, route: bytes, message: Any) -> None:
        address = self._requests.address_of(route)
        self._perform(self.core.handle(route, address, message, self.clock.now))

    def _on_link(self, route: bytes, message: Any) -> None:
        self._perform(self.core.handle_link(route, message, self.clock.now))

    def _on_nothing(self, route: bytes, message: object) -> None:
        """Subscribers say nothing."""

    def _perform(self, effects: Sequence[RegistrarEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._requests.send(effect.route, effect.message)
            elif isinstance(effect, Publish):
                self._roster.publish(effect.roster)
            elif isinstance(effect, SendLookup):
                if not self._link.send(effect.route, effect.message):
                    self._perform(self.core.undeliverable(effect))
            elif isinstance(effect, Note):
                self._note(self.name, effect.text)


class LookupProcess(Process):
    def __init__(self, tracker: Tracker, number: int) -> None:
        super().__init__(tracker.network.clock, f"lookup-{number}")
        self.core = Lookup(tracker.random())
        self._note = tracker.note
        endpoint = tracker.endpoint(LOOKUP_PORT + number)
        network, host = tracker.network, tracker.host
        self._requests = network.listen(host, self, endpoint, self._on_request, ROUTER_LIMIT)
        link = tracker.endpoint(LINK_PORT)
        self._link = Redialler(network, host, self, link, self._on_link, self._on_connection)
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        self._perform(self.core.tick(now))
        return self.core.next_deadline()

    def _on_request(self, route: bytes, message: Any) -> None:
        self._perform(self.core.handle(route, message, self.clock.now))

    def _on_link(self, message: Any) -> None:
        self._perform(self.core.handle_link(message, self.clock.now))

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._perform(self.core.connected(self.clock.now))

    def _perform(self, effects: Sequence[LookupEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._requests.send(effect.route, effect.message)
            elif isinstance(effect, SendRegistrar):
                self._link.send(effect.message)
            else:
                self._note(self.name, effect.text)


def _nothing(_process: Process) -> None:
    """Nobody looks at what a turn has done."""
