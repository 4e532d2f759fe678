"""The piece server process: answers peers' requests for pieces and manifests.

Shell around `core`, which decides everything. Other peers' downloaders and this peer's own come to it; it speaks to the
agent.
"""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random

from node.disk.errors import disk_error
from node.host import Host
from node.local_messages import AGENT_SOCKET, PIECES_SOCKET, AgentToPieceServer, DownloaderToPieceServer, MemberKeys
from node.piece_server.admitted import Admitted
from node.piece_server.core import PieceServerCore
from node.piece_server.reading import Threads
from node.piece_server.shelf import Files
from protocol.codec import Decoder, request_id
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import LOCAL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import Message, Piece, PieceServerRequest
from transport.ports import PublicRouter, Transport
from transport.sockets import Role

log = logging.getLogger(__name__)


class PieceServer:
    """One run on ``host``, for those who come to ``peers``; the `core.Outlet` of its core. ``rng`` and ``pid``
    are those of `PieceServerCore`. ``threads`` stay their owner's to close. ``admitted`` says who may come, in a
    network with keys."""

    def __init__(
        self,
        host: Host,
        peers: PublicRouter,
        files: Files,
        threads: Threads,
        rng: Random,
        pid: int,
        admitted: Admitted | None = None,
    ) -> None:
        agent, self._downloader = host.dial_local(AGENT_SOCKET), host.listen_local(PIECES_SOCKET)
        self.to_peer, self.to_agent, self.note = peers.send, agent.send, host.note
        self.page_to_peer, self.address_of, self.hang_up_on = peers.send_watched, peers.address_of, peers.hang_up_on
        self.refuse = peers.refuse
        self._peers, self._now, self._admitted = peers, host.now, admitted
        self.core = PieceServerCore(files, threads, self, rng, pid, peers.port, host.now())
        self.tick = self.core.tick
        requests: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        peers.hear(requests, self.core.peer_says, self._on_garbage)
        from_downloader: Decoder[DownloaderToPieceServer] = Decoder(DownloaderToPieceServer, LOCAL_BYTES_MAX)
        self._downloader.hear(from_downloader, self.core.downloader_says, self._on_local_garbage)
        agent.listen(Decoder(AgentToPieceServer, LOCAL_BYTES_MAX), self._on_agent)

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        return self._peers.send(route, header, [data])

    def to_downloader(self, route: bytes, message: Message) -> None:
        self._downloader.send(route, message)

    def _on_agent(self, message: AgentToPieceServer) -> None:
        if not isinstance(message, MemberKeys):
            self.core.agent_says(message, self._now())
        elif self._admitted is not None and self._admitted.told(message):
            self._peers.recheck()

    def _on_garbage(self, route: bytes, data: bytes, error: ProtocolError) -> None:
        self.core.bad_message(route, request_id(data), error, self._now())

    def _on_local_garbage(self, _route: bytes, _data: bytes, error: ProtocolError) -> None:
        raise error  # a fault of ours


def _kept_port(kept: Path) -> str:
    """What the file says; empty where it does not exist, cannot be read, or holds no port."""
    try:
        text = kept.read_bytes()[:8].strip()
    except OSError:
        return ""
    return text.decode() if text.isdigit() and 0 < int(text) < 1 << 16 else ""


def listen_kept(transport: Transport, listen: str, kept: Path) -> PublicRouter:
    """Listen for peers on ``listen``; with port 0 on the port used last time, if it is still free.

    The port is kept in the file ``kept``, so that a restarted piece server is found where it was. Raises `NetworkError`
    when a port that was asked for is in use.
    """
    host, _, port = listen.rpartition(":")
    router: PublicRouter | None = None
    before = _kept_port(kept) if port in ("0", "*") else ""
    if before:
        try:
            router = transport.listen(Role.PIECE_ROUTER, f"{host}:{before}", REPLY_BYTES_MAX)
        except NetworkError as error:
            log.info("%s; choosing another port", error)
    router = router or transport.listen(Role.PIECE_ROUTER, listen, REPLY_BYTES_MAX)
    try:
        kept.write_text(f"{router.port}\n")
    except OSError as error:
        log.warning("%s; the next start may take another port", disk_error(error, "write", kept))
    return router
