"""What the processes of a simulated peer run on: its machine, and the port `node.host.Host` over that. Pure.

Owns how the three processes of a peer reach each other, and how long their threads take. Which processes there are is
`peer`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

import msgspec

from cluster.simulated.disk import SimulatedDisk
from cluster.simulated.network import NetHost, Network
from cluster.simulated.process import TURN_SECONDS, Process
from cluster.simulated.transport import SimulatedTransport
from node.agent.library import KeptOrders
from node.rate_limit import RateLimits
from node.schedule import Override
from protocol.codec import Decoder
from protocol.errors import ZswarmError
from protocol.messages import Message, Piece
from transport.ports import OnGarbage

LOCAL_SECONDS = 2e-5
"""From one process of a machine to another."""
WORK_SECONDS = 1e-4
"""What handing work to a thread takes, besides what the disk takes."""
Tamper = Callable[[Message, bytes], tuple[Message, bytes] | None]
"""What a lying peer makes of a message, or of a piece and its data; None swallows it."""


class PeerTerms(NamedTuple):
    """As in a peer's configuration; rates in bytes/s, 0 unlimited. ``hears_of``: the part of all sources that its
    downloads ever hear of, for worlds so large that not all can matter. ``rollouts``: where it carries out orders."""

    upload_rate: float = 0
    download_rate: float = 0
    hears_of: float = 1
    rollouts: str = ""

    @property
    def limits(self) -> RateLimits:
        return RateLimits(self.upload_rate, self.download_rate)


class PeerMachine:
    """``identity`` and ``token`` as in its data directory; ``trackers`` are the addresses it is configured with.
    ``note`` gets its log."""

    port_number = 7_000

    def __init__(
        self,
        network: Network,
        net: NetHost,
        disk: SimulatedDisk,
        rng: Random,
        trackers: Sequence[str],
        terms: PeerTerms,
        note: Callable[[str, object], None],
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self.network, self.net, self.disk, self.trackers, self.terms = network, net, disk, trackers, terms
        self.name = net.name
        self.note = note
        self.turn_seconds = turn_seconds
        self.tamper: Tamper | None = None
        """A liar's: what it makes of what its piece server says..."""
        self.tamper_fetch: Callable[[Message], Message | None] | None = None
        """...and of what its downloader says to sources; None swallows it."""
        self.identity = f"{rng.getrandbits(128):032x}"
        self.token = rng.randbytes(32)
        self.away = False
        self.override: Override | None = None
        self.orders = KeptOrders()
        self.local: defaultdict[str, LocalRouter] = defaultdict(LocalRouter)
        self.routes = count(1)
        self._rng = rng
        self._heard: dict[str, bool] = {}

    @property
    def endpoint(self) -> str:
        """Where its piece server listens."""
        return f"tcp://{self.net.address}:{self.port_number}"

    def served(self, route: bytes, header: Piece, data: bytes) -> None:
        """Its piece server sends this."""

    def stopped(self) -> None:
        """Its agent ends by itself."""

    def hears_of(self, peer: str) -> bool:
        """Whether hints about ``peer`` get here: drawn once for each."""
        if self.terms.hears_of >= 1:
            return True
        heard = self._heard.get(peer)
        if heard is None:
            heard = self._heard[peer] = self._rng.random() < self.terms.hears_of
        return heard


class LocalRouter:
    """A socket of the machine that its processes reach by name, through the runs of whoever listens there."""

    def __init__(self) -> None:
        self.on_unread: Callable[[Any], None] | None = None
        """Gets what is said to a person, which nobody reads otherwise."""
        self._process: Process | None = None
        self._dealers: dict[bytes, LocalDealer] = {}
        self._waiting: list[tuple[LocalDealer, Any]] = []
        """What was said while nobody listened."""

    def listen(self, process: Process) -> LocalRouter:
        """``process`` takes what waits and what comes, from now on."""
        self._process = process
        self._dealers.clear()
        waiting, self._waiting = self._waiting, []
        for dealer, message in waiting:
            self.tell(dealer, message)
        return self

    def hear(
        self, decoder: Decoder[Any], on_message: Callable[[bytes, Any, float], None], on_garbage: OnGarbage
    ) -> None:
        del decoder, on_garbage
        self._on_message = on_message

    def tell(self, dealer: LocalDealer, message: Any) -> None:
        process = self._process
        if not dealer.process.alive:
            return
        if process is None or not process.alive:
            self._waiting.append((dealer, message))
            return
        self._dealers[dealer.route] = dealer
        process.clock.after(LOCAL_SECONDS, process.receive, self._arrived, dealer.route, message)

    def send(self, route: bytes, message: msgspec.Struct, data: Sequence[bytes] = ()) -> bool:
        del data
        dealer = self._dealers.get(route)
        if dealer is None:
            if self.on_unread is not None:
                self.on_unread(message)
            return False
        dealer.process.clock.after(LOCAL_SECONDS, dealer.process.receive, dealer.on_message, message)
        return True

    def _arrived(self, route: bytes, message: Any) -> None:
        assert self._process is not None
        self._on_message(route, message, self._process.clock.now)


class LocalDealer:
    """`node.host.LocalDealer` of one run of ``process``."""

    def __init__(self, router: LocalRouter, process: Process, route: bytes) -> None:
        self._router, self.process, self.route = router, process, route

    def listen(self, decoder: Decoder[Any], on_message: Callable[[Any], None]) -> None:
        del decoder
        self.on_message = on_message

    def send(self, message: msgspec.Struct) -> None:
        self._router.tell(self, message)


class SimulatedHost(SimulatedTransport):
    """Of ``process`` on ``machine``."""

    def __init__(self, machine: PeerMachine, process: Process) -> None:
        super().__init__(machine.network, machine.net, process, machine.note)
        self._machine = machine

    def workers(self, count: int) -> SimulatedWorkers:
        del count
        return SimulatedWorkers(self.process, self._machine.disk)

    def listen_local(self, name: str) -> LocalRouter:
        return self._machine.local[name].listen(self.process)

    def dial_local(self, name: str) -> LocalDealer:
        return LocalDealer(self._machine.local[name], self.process, b"%d" % next(self._machine.routes))


class SimulatedWorkers:
    """Threads: work takes as long as the disk needs for it, one after another."""

    def __init__(self, process: Process, disk: SimulatedDisk) -> None:
        self._process, self._disk = process, disk
        self._free_at = 0.0

    def submit(self, done: Callable[[Any], None], work: Callable[[], object]) -> None:
        clock = self._process.clock
        clock.at(max(clock.now + WORK_SECONDS, self._free_at), self._work, done, work)

    def close(self, patience: float) -> bool:
        """Processes of a simulated world are killed, and close nothing."""
        raise NotImplementedError(patience)

    def _work(self, done: Callable[[Any], None], work: Callable[[], object]) -> None:
        process = self._process
        if not process.alive:
            return
        result: object
        try:
            result = work()
        except ZswarmError as error:
            result = error
        self._free_at = process.clock.now + self._disk.take_seconds()
        process.clock.at(self._free_at, process.receive, done, result)
