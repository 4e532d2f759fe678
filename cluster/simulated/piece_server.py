"""The piece server of a simulated peer: the real core over the simulated network and disk. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from cluster.simulated.content import SentPiece
from cluster.simulated.process import Process
from cluster.simulated.store import SimulatedFiles
from node.piece_server.core import PieceServerCore
from node.piece_server.shelf import Shelf
from protocol.messages import Message, Piece

if TYPE_CHECKING:
    from cluster.simulated.peer import Peer

PEERS_LIMIT = 64
"""SNDHWM of the piece server's socket in `transport.sockets`."""
Tamper = Callable[[Message, bytes], tuple[Message, bytes] | None]
"""What a lying peer makes of a message, or of a piece and its data; None swallows it."""


class PieceServerProcess(Process):
    """Everything goes out through ``tamper`` when there is one. ``instance`` names this run."""

    def __init__(self, peer: Peer, instance: int) -> None:
        super().__init__(peer.network.clock, f"{peer.name} piece server", peer.turn_seconds)
        self.peer = peer
        self.tamper: Tamper | None = None
        self.shelf = Shelf(SimulatedFiles(peer.disk))
        terms = peer.terms
        self.core = PieceServerCore(
            terms.upload_rate, self.shelf, self, instance, 1, peer.port_number, self.clock.now
        )
        self.listener = peer.network.listen(peer.net, self, peer.endpoint, self._on_peer, PEERS_LIMIT)
        self.wake(self.clock.now)

    def tick(self, now: float) -> float | None:
        return self.core.tick(now)

    def agent_says(self, message: Any) -> None:
        self.core.agent_says(message, self.clock.now)

    def downloader_says(self, message: Any) -> None:
        self.core.downloader_says(b"downloader", message, self.clock.now)

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

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        if self.tamper is not None:
            lie = self.tamper(header, data)
            if lie is None:
                return True
            _, data = lie
        self.peer.served(header.piece, data)
        return self.listener.send(route, SentPiece(header, data), len(data))

    def to_agent(self, message: Message) -> None:
        self.peer.tell("piece_server", "agent", message)

    def to_downloader(self, route: bytes, message: Message) -> None:
        del route
        self.peer.tell("piece_server", "downloader", message)

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        del level
        self.peer.note(self.name, text)
