"""The piece server of a simulated peer: the real core over the simulated network and disk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cluster.simulated.content import SentPieces
from cluster.simulated.host import PeerMachine, SimulatedHost, Tamper
from cluster.simulated.process import Process
from cluster.simulated.store import SimulatedFiles
from node.local_messages import AGENT_SOCKET, PIECES_SOCKET
from node.piece_server.core import PieceServerCore
from node.piece_server.shelf import Shelf
from protocol.messages import Message, Piece

PEERS_LIMIT = 64
"""SNDHWM of the piece server's socket in `transport.sockets`."""


class PieceServerProcess(Process):
    """Everything goes out through ``tamper`` when there is one. ``instance`` names this run."""

    def __init__(self, peer: PeerMachine, instance: int) -> None:
        super().__init__(peer.network.clock, f"{peer.name} piece server", peer.turn_seconds)
        self.peer = peer
        self.tamper: Tamper | None = None
        self.shelf = Shelf(SimulatedFiles(peer.disk))
        terms = peer.terms
        self.core = PieceServerCore(
            terms.upload_slots, terms.upload_rate, self.shelf, self, instance, 1, peer.port_number, self.clock.now
        )
        host = SimulatedHost(peer, self)
        self._agent = host.dial_local(AGENT_SOCKET, None)
        self._agent.listen(self.agent_says)
        self._downloader = host.listen_local(PIECES_SOCKET, None, self.downloader_says)
        self.listener = peer.network.listen(peer.net, self, peer.endpoint, self._on_peer, PEERS_LIMIT)
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        return self.core.tick(now)

    def agent_says(self, message: Any) -> None:
        self.core.agent_says(message, self.clock.now)

    def downloader_says(self, route: bytes, message: Any) -> None:
        self.core.downloader_says(route, message, self.clock.now)

    def _on_peer(self, route: bytes, message: Any) -> None:
        self.core.peer_says(route, message, self.clock.now)

    # --- how the core speaks -----------------------------------------------------------------------------

    def to_peer(self, route: bytes, message: Message) -> bool:
        if self.tamper is not None:
            lie = self.tamper(message, b"")
            if lie is None:
                return True
            message, _ = lie
        return self.listener.send(route, message)

    def pieces_to_peer(self, route: bytes, header: Piece, data: Sequence[bytes]) -> bool:
        frames = list(data)
        if self.tamper is not None:
            alone = [Piece(header.session, offer, piece) for offer, piece in header.all()]
            lies = [self.tamper(one, frame) for one, frame in zip(alone, frames, strict=True)]
            if None in lies:
                return True
            frames = [lie[1] for lie in lies if lie is not None]
        sent = SentPieces(header, frames)
        for piece, frame in sent.all():
            self.peer.served(piece, frame)
        return self.listener.send(route, sent, sum(map(len, frames)))

    def to_agent(self, message: Message) -> None:
        self._agent.send(message)

    def to_downloader(self, route: bytes, message: Message) -> None:
        self._downloader.send(route, message)

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        del level
        self.peer.note(self.name, text)
