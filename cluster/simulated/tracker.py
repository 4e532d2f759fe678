"""The tracker of a simulated world: the real registrar and lookups, each a process, on the simulated network. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from broker import lookup, registrar
from broker.child_settings import LookupSettings, RegistrarSettings
from cluster.simulated.network import NetHost, Network
from cluster.simulated.process import Process
from cluster.simulated.transport import SimulatedTransport
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, PEERS_COUNT_MAX
from service.logs import LogSettings

REGISTRAR_PORT, ROSTER_PORT, LINK_PORT, LOOKUP_PORT = 5550, 5551, 5549, 5552
EPOCHS_APART = 1_000
"""Trackers count their epochs from different starts, as they do by their clocks."""
RESTART_SECONDS = 0.1
"""The supervisor's first wait before it starts a dead child again."""

Log = Callable[[str, str], None]
"""Takes who says it, and what."""


class Tracker:
    """A tracker host with ``lookup_count`` lookups. Processes that die are started again a moment later. ``number`` is
    that of the tracker in the world, from 0."""

    def __init__(
        self, network: Network, host: NetHost, lookup_count: int, rng: Random, note: Log, number: int = 0
    ) -> None:
        self.network, self.host, self.note, self.number = network, host, note, number
        self.after_turn: Callable[[Process], None] | None = None
        self.serves = True
        self._rng = rng
        self.settings = RegistrarSettings(
            listen=self.address,
            roster=self.endpoint(ROSTER_PORT),
            link=self.endpoint(LINK_PORT),
            runtime_key="",
            lookups=tuple(self.endpoint(LOOKUP_PORT + number) for number in range(lookup_count)),
            advertise=host.address,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            lease_seconds=LEASE_SECONDS,
            peers_max=PEERS_COUNT_MAX,
            ready_file="",
            wall_offset=0.0,
            log=LogSettings(),
        )
        self.registrar = RegistrarProcess(self, 1 + EPOCHS_APART * number)
        self.lookups = [LookupProcess(self, number) for number in range(lookup_count)]

    def endpoint(self, port: int) -> str:
        return f"tcp://{self.host.address}:{port}"

    @property
    def address(self) -> str:
        """What peers are configured with."""
        return self.endpoint(REGISTRAR_PORT)

    def transport(self, process: Process) -> SimulatedTransport:
        return SimulatedTransport(self.network, self.host, process, self.note)

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

    @property
    def processes(self) -> list[Process]:
        return [self.registrar, *self.lookups]

    def stop(self) -> None:
        """All of it is killed, and nothing starts it again until `start`."""
        self.serves = False
        for process in self.processes:
            process.kill()
            self.network.process_died(self.host, process)

    def start(self) -> None:
        """After `stop`; it knows nobody."""
        self.serves = True
        self._start_registrar(self.registrar.epoch + 1)
        for number, old in enumerate(self.lookups):
            self._start_lookup(number, old)

    def pause(self) -> None:
        """The machine stands still: nothing is done, and what arrives waits."""
        for process in self.processes:
            process.pause()

    def go_on(self) -> None:
        for process in self.processes:
            process.go_on()

    def _start_registrar(self, epoch: int) -> None:
        if self.serves and not self.registrar.alive:
            self.registrar = RegistrarProcess(self, epoch)
            self._watch(self.registrar)

    def _start_lookup(self, number: int, old: LookupProcess) -> None:
        if self.serves and self.lookups[number] is old:
            self.lookups[number] = LookupProcess(self, number)
            self._watch(self.lookups[number])

    def _watch(self, process: Process) -> None:
        if self.after_turn is not None:
            process.after_turn = self.after_turn


class RegistrarProcess(Process):
    def __init__(self, tracker: Tracker, epoch: int) -> None:
        super().__init__(tracker.network.clock, f"registrar{tracker.number or ''}")
        self.tracker, self.epoch = tracker, epoch
        self._shell = registrar.RegistrarProcess(tracker.settings, epoch, tracker.transport(self))
        self.core = self._shell.core
        self.wake(self.clock.now)

    def tick(self, now: float) -> float:
        return self._shell.tick(now)


class LookupProcess(Process):
    def __init__(self, tracker: Tracker, number: int) -> None:
        super().__init__(tracker.network.clock, f"lookup{tracker.number or ''}-{number}")
        self.tracker = tracker
        settings = LookupSettings(
            listen=tracker.settings.lookups[number], link=tracker.settings.link, log=LogSettings()
        )
        self._shell = lookup.LookupProcess(settings, tracker.transport(self), tracker.random())
        self.core = self._shell.core
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        return self._shell.tick(now)
