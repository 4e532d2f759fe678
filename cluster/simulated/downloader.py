"""The downloader of a simulated peer: the real one over the simulated machine. Pure."""

from __future__ import annotations

from random import Random

from cluster.simulated.host import PeerMachine, SimulatedHost
from cluster.simulated.network import Connection
from cluster.simulated.process import Process
from cluster.simulated.store import SimulatedStore
from cluster.simulated.transport import SimulatedLine
from node.downloader.links import FetchLinks
from node.downloader.process import Downloader
from protocol.messages import Message
from transport.ports import Transport


class DownloaderProcess(Process):
    """``instance`` names this run; ``rng`` is its own."""

    def __init__(self, peer: PeerMachine, instance: int, rng: Random) -> None:
        super().__init__(peer.network.clock, f"{peer.name} downloader", peer.turn_seconds)
        self.peer = peer
        host, store = SimulatedHost(peer, self), SimulatedStore(peer.disk)
        self.links = TamperedLinks(host, peer)
        self._shell = Downloader(host, self.links, store, 1, rng, instance, 1)
        self.core, self.budget = self._shell.core, self._shell.budget
        self.wake(self.clock.now)

    def tick(self, now: float) -> float:
        return self._shell.tick(now)


class TamperedLinks(FetchLinks):
    """Everything goes out through ``tamper_fetch`` of ``peer``, when there is one."""

    def __init__(self, transport: Transport, peer: PeerMachine) -> None:
        super().__init__(transport)
        self._peer = peer

    def send(self, session: int, message: Message) -> None:
        tamper = self._peer.tamper_fetch
        said = message if tamper is None else tamper(message)
        if said is not None:
            super().send(session, said)

    def connection(self, session: int) -> Connection | None:
        """What the session goes over."""
        line = self.line(session)
        return line.connection if isinstance(line, SimulatedLine) else None
