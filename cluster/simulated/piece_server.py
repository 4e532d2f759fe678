"""The piece server of a simulated peer: the real one over the simulated machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from cluster.simulated.host import PeerMachine, SimulatedHost
from cluster.simulated.process import Process
from cluster.simulated.store import SimulatedFiles
from cluster.simulated.transport import SimulatedRouter
from node.piece_server.process import PieceServer
from node.piece_server.reading import InLoop
from protocol.messages import Message, Piece
from transport.sockets import Role, send_queue_count


class PieceServerProcess(Process):
    """``instance`` names this run."""

    def __init__(self, peer: PeerMachine, instance: int) -> None:
        super().__init__(peer.network.clock, f"{peer.name} piece server", peer.turn_seconds)
        self.peer = peer
        host = SimulatedHost(peer, self)
        peers = TamperedRouter(host, peer)
        self.listener = peers.listener
        shell = PieceServer(host, peers, SimulatedFiles(peer.disk), InLoop(), Random(instance), 1)
        self.core, self.shelf = shell.core, shell.core.shelf
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        return self.core.tick(now)


class TamperedRouter(SimulatedRouter):
    """Everything goes out through ``tamper`` of ``peer``, when there is one."""

    def __init__(self, host: SimulatedHost, peer: PeerMachine) -> None:
        super().__init__(host, peer.endpoint, send_queue_count(Role.PIECE_ROUTER))
        self._peer = peer

    def send(self, route: bytes, message: msgspec.Struct, data: Sequence[bytes] = ()) -> bool:
        tamper = self._peer.tamper
        assert isinstance(message, Message)
        if tamper is not None:
            lie = tamper(message, data[0] if data else b"")
            if lie is None:
                return True
            message, frame = lie
            data = [frame] if data else ()
        if isinstance(message, Piece):
            self._peer.served(route, message, data[0])
        return super().send(route, message, data)
