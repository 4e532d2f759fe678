"""The piece server process: answers peers' requests for pieces and manifests.

Shell around `core`, which decides everything: sockets, decoding and encoding, the log. Binds the public ROUTER that
other peers' downloaders connect to and an ipc ROUTER for this peer's own downloader; a DEALER leads to the agent.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Literal

import zmq

from node.config import PieceServerSettings
from node.disk.errors import disk_error
from node.local_messages import AGENT_SOCKET, PIECES_SOCKET, AgentToPieceServer, DownloaderToPieceServer
from node.piece_server.core import PieceServerCore
from node.piece_server.disk_files import DiskFiles
from node.piece_server.shelf import Shelf
from protocol.codec import Decoder, encode, request_id
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import CONTROL_BYTES_MAX, LOCAL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import ManifestPage, Message, Piece, PieceServerRequest
from service.logs import LEVELS
from transport.connection_limit import ConnectionLimit
from transport.loop import Loop
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, connect, drain, drain_routed, open_socket, send_or_drop

log = logging.getLogger(__name__)


class PieceServer:
    """Sockets of the piece server; the `core.Outlet` of its core."""

    def __init__(self, settings: PieceServerSettings, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._shelf = Shelf(DiskFiles())
        self._peers = open_socket(context, Role.PIECE_ROUTER)
        self._limit = ConnectionLimit(loop, [self._peers])
        self._port = bind_kept(self._peers, settings.listen, Path(settings.data_dir) / "port")
        self._downloader = open_socket(context, Role.LOCAL_ROUTER)
        bind(self._downloader, ipc_endpoint(Path(settings.runtime_dir), PIECES_SOCKET))
        self._agent = open_socket(context, Role.LOCAL_DEALER)
        connect(self._agent, ipc_endpoint(Path(settings.runtime_dir), AGENT_SOCKET))
        self._from_peers: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        self._from_agent: Decoder[AgentToPieceServer] = Decoder(AgentToPieceServer, LOCAL_BYTES_MAX)
        self._from_downloader: Decoder[DownloaderToPieceServer] = Decoder(DownloaderToPieceServer, LOCAL_BYTES_MAX)
        instance = secrets.randbits(48)
        self._core = PieceServerCore(
            settings.upload_rate, self._shelf, self, instance, os.getpid(), self._port, loop.now()
        )
        loop.add(self._peers, self._on_peers)
        loop.add(self._downloader, self._on_downloader)
        loop.add(self._agent, self._on_agent)

    @property
    def port(self) -> int:
        return self._port

    def close(self) -> None:
        self._limit.close()
        for socket in (self._peers, self._downloader, self._agent):
            self._loop.remove(socket)
            socket.close()
        self._shelf.close()

    def tick(self, now: float) -> float | None:
        """Called by the loop after every turn; returns when to be called at the latest."""
        limit_at = self._limit.tick(now)
        due = self._core.tick(now)
        return limit_at if due is None else min(due, limit_at)

    # --- what comes in -----------------------------------------------------------------------------------

    def _on_peers(self) -> None:
        now = self._loop.now()
        for route, frames in drain_routed(self._peers):
            try:
                if len(frames) != 1:
                    raise ProtocolError(f"{len(frames)} frames where a message has 1")
                message = self._from_peers.decode(frames[0].buffer)
            except ProtocolError as error:
                self._core.bad_message(route, request_id(frames[-1].buffer), error)
                continue
            self._core.peer_says(route, message, now)

    def _on_agent(self) -> None:
        now = self._loop.now()
        for frames in drain(self._agent):
            self._core.agent_says(self._from_agent.decode(frames[0].buffer), now)

    def _on_downloader(self) -> None:
        now = self._loop.now()
        for route, frames in drain_routed(self._downloader):
            self._core.downloader_says(route, self._from_downloader.decode(frames[0].buffer), now)

    # --- what goes out -----------------------------------------------------------------------------------

    def to_peer(self, route: bytes, message: Message) -> bool:
        limit = REPLY_BYTES_MAX if isinstance(message, ManifestPage) else CONTROL_BYTES_MAX
        return send_or_drop(self._peers, [route, encode(message, limit)])

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        return send_or_drop(self._peers, [route, encode(header, REPLY_BYTES_MAX), data], copy=False)

    def to_agent(self, message: Message) -> None:
        send_or_drop(self._agent, [encode(message, LOCAL_BYTES_MAX)])

    def to_downloader(self, route: bytes, message: Message) -> None:
        send_or_drop(self._downloader, [route, encode(message)])

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        log.log(LEVELS[level], "%s", text)


def bind_kept(socket: zmq.Socket[bytes], listen: str, kept: Path) -> int:
    """Bind ``socket`` to ``listen``; with port 0 to the port used last time, if it is still free.

    The port is kept in the file ``kept``, so that a restarted piece server is found where it was. Returns the port.
    Raises `NetworkError` when a port that was asked for is in use.
    """
    host, _, port = listen.rpartition(":")
    endpoint = ""
    if port in ("0", "*") and kept.exists() and kept.read_text().strip().isdecimal():
        try:
            endpoint = bind(socket, f"{host}:{kept.read_text().strip()}")
        except NetworkError as error:
            log.info("%s; choosing another port", error)
    endpoint = endpoint or bind(socket, listen)
    chosen = endpoint.rpartition(":")[2]
    try:
        kept.write_text(chosen + "\n")
    except OSError as error:
        log.warning("%s; the next start may take another port", disk_error(error, "write", kept))
    return int(chosen)
