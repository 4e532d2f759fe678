"""The piece server process: answers peers' requests for pieces and manifests.

Shell around `uploads` (who gets what) and `shelf` (the files). Binds the public ROUTER that other peers'
downloaders connect to and an ipc ROUTER for this peer's own downloader; a DEALER leads to the agent.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import zmq

from node.config import PieceServerSettings
from node.disk.content import ContentChangedError, NotThereError
from node.local_messages import (
    AGENT_SOCKET,
    PIECES_SOCKET,
    AgentToPieceServer,
    ContentChanged,
    DownloaderToPieceServer,
    Held,
    Hello,
    SeedAdd,
    SeedRemove,
    Serve,
    ServeOk,
    Serving,
    ShareAdd,
    ShareRemove,
    ShareState,
    SwarmUpload,
    Unserve,
    UploadReport,
)
from node.piece_server.effects import Effect, Reply, SendPiece
from node.piece_server.shelf import Shelf
from node.piece_server.uploads import Uploads
from protocol.codec import Decoder, encode, request_id
from protocol.digest import short
from protocol.errors import DiskError, NetworkError, NotFoundError, ProtocolError, SeedError
from protocol.limits import LOCAL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import Error, GetManifest, Message, Piece, PieceServerRequest, Status, Test
from transport.loop import Loop
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, connect, drain, open_socket, send_or_drop

log = logging.getLogger(__name__)

HELLO_SECONDS = 1.0
REPORT_SECONDS = 0.25


class PieceServer:
    """Sockets, decoding and effects of the piece server."""

    def __init__(self, settings: PieceServerSettings, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._instance = secrets.randbits(48)
        self._downloader_instance = 0
        self._shelf = Shelf()
        self._uploads = Uploads(settings.slots, settings.upload_rate, loop.now())
        self._uploads.set_serving(False)  # until the agent says what there is: "no" would send people away for good
        self._gone_sent: dict[str, int] = {}
        self._bad_messages = 0
        self._hello_at = self._report_at = 0.0
        self._reported: UploadReport | None = None
        self._peers = open_socket(context, Role.PIECE_ROUTER)
        self._port = bind_kept(self._peers, settings.listen, Path(settings.data_dir) / "port")
        self._downloader = open_socket(context, Role.LOCAL_ROUTER)
        bind(self._downloader, ipc_endpoint(Path(settings.runtime_dir), PIECES_SOCKET))
        self._agent = open_socket(context, Role.LOCAL_DEALER)
        connect(self._agent, ipc_endpoint(Path(settings.runtime_dir), AGENT_SOCKET))
        self._from_peers: Decoder[PieceServerRequest] = Decoder(PieceServerRequest)
        self._from_agent: Decoder[AgentToPieceServer] = Decoder(AgentToPieceServer, LOCAL_BYTES_MAX)
        self._from_downloader: Decoder[DownloaderToPieceServer] = Decoder(DownloaderToPieceServer, LOCAL_BYTES_MAX)
        loop.add(self._peers, self._on_peers)
        loop.add(self._downloader, self._on_downloader)
        loop.add(self._agent, self._on_agent)

    @property
    def port(self) -> int:
        return self._port

    def close(self) -> None:
        for socket in (self._peers, self._downloader, self._agent):
            self._loop.remove(socket)
            socket.close()
        self._shelf.close()

    def tick(self, now: float) -> float | None:
        """Called by the loop after every turn; returns when to be called at the latest."""
        self._perform(self._uploads.tick(now))
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            self._tell_agent(Hello("piece_server", self._instance, os.getpid(), self._port))
        if now >= self._report_at:
            self._report_at = now + REPORT_SECONDS
            self._report()
        due = self._uploads.next_deadline(now)
        return self._hello_at if due is None else min(due, self._hello_at, self._report_at)

    # --- peers -------------------------------------------------------------------------------------------

    def _on_peers(self) -> None:
        now = self._loop.now()
        for frames in drain(self._peers):
            route = frames[0].bytes
            try:
                if len(frames) != 2:
                    raise ProtocolError(f"{len(frames) - 1} frames where a message has 1")
                message = self._from_peers.decode(frames[1].buffer)
            except ProtocolError as error:
                self._bad_messages += 1
                answer = Error(request_id(frames[-1].buffer), error.code, str(error)[:500])
                send_or_drop(self._peers, [route, encode(answer)])
                continue
            self._handle(route, message, now)

    def _handle(self, route: bytes, message: PieceServerRequest, now: float) -> None:
        if isinstance(message, GetManifest):
            page: Message = Status(message.session, "later", b"", 0)
            if self._uploads.serving:
                page = self._shelf.manifest_page(message)
            send_or_drop(self._peers, [route, encode(page, REPLY_BYTES_MAX)])
            return
        if isinstance(message, Test) and not self._open(message.digest):
            send_or_drop(self._peers, [route, encode(Status(message.session, "later", b"", 0))])
            return
        self._perform(self._uploads.handle(route, message, now))

    def _open(self, digest: str) -> bool:
        """Have the content ready for `Uploads`, if there is any; content that is gone or changed is withdrawn. False
        when it cannot be opened just now."""
        try:
            book = self._shelf.open(digest)
        except (ContentChangedError, SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(digest, str(error))
            return True
        except (DiskError, OSError) as error:
            log.warning("cannot open %s: %s", short(digest), error)
            return False
        if book is not None:
            manifest = book.manifest
            self._uploads.serve(digest, book.bits, manifest.length, manifest.piece_length)
            for idle in self._shelf.idle(lambda other: other == digest or self._uploads.sessions_of(other) > 0):
                self._forget(idle)
        return True

    def _perform(self, effects: Sequence[Effect]) -> None:
        """Carry out effects; a failure may give rise to further ones."""
        todo = list(effects)
        for effect in todo:
            if isinstance(effect, Reply):
                sent = send_or_drop(self._peers, [effect.route, encode(effect.message)])
                session = effect.message.session
            else:
                sent = self._send_piece(effect, todo)
                session = effect.session
            if not sent:
                todo += self._uploads.unreachable(effect.route, session, self._loop.now())

    def _send_piece(self, effect: SendPiece, todo: list[Effect]) -> bool:
        """Read and send one piece. False when the receiver is gone; a piece that cannot be read adds to ``todo``."""
        try:
            book = self._shelf.open(effect.digest)
            if book is None:
                todo += self._uploads.withdraw(effect.digest)
                return True
            data = book.content.read(effect.piece)
        except (ContentChangedError, SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(effect.digest, str(error))
            return True
        except (DiskError, OSError) as error:
            log.warning("cannot read piece %d of %s: %s", effect.piece, short(effect.digest), error)
            gone = isinstance(error, NotThereError)
            todo += self._uploads.piece_failed(effect.route, effect.session, effect.offer, gone, self._loop.now())
            return True
        header = encode(Piece(effect.session, effect.offer, effect.piece))
        return send_or_drop(self._peers, [effect.route, header, data], copy=False)

    def _content_changed(self, digest: str, detail: str) -> None:
        log.warning("withdrawing %s: %s", short(digest), detail)
        self._shelf.remove_item(digest)
        self._withdraw(digest)
        self._tell_agent(ContentChanged(digest, detail))

    def _withdraw(self, digest: str) -> None:
        self._perform(self._forget(digest))

    def _forget(self, digest: str) -> list[Effect]:
        """Have `Uploads` forget the swarm, but not what was sent of it."""
        sent = self._uploads.sent_bytes().get(digest, 0)
        self._gone_sent[digest] = self._gone_sent.get(digest, 0) + sent
        return self._uploads.withdraw(digest)

    # --- agent -------------------------------------------------------------------------------------------

    def _on_agent(self) -> None:
        for frames in drain(self._agent):
            message = self._from_agent.decode(frames[0].buffer)
            if isinstance(message, ShareState):
                self._share_state(message)
            elif isinstance(message, ShareAdd):
                if self._shelf.put_item(message.item):
                    self._open(message.item.digest)
            elif isinstance(message, ShareRemove):
                self._shelf.remove_item(message.digest)
                self._withdraw(message.digest)
            elif isinstance(message, SeedAdd):
                self._shelf.put_seed(message.manifest, message.seed_path)
            elif isinstance(message, SeedRemove):
                self._shelf.remove_seed(message.manifest)
            elif isinstance(message, Serving):
                self._perform(self._uploads.set_serving(message.serving))

    def _share_state(self, message: ShareState) -> None:
        self._shelf.remove_seeds()
        wanted = {item.digest for item in message.items}
        for digest in self._shelf.items():
            if digest not in wanted:
                self._shelf.remove_item(digest)
                self._withdraw(digest)
        for item in message.items:
            if self._shelf.put_item(item):
                self._open(item.digest)
        self._perform(self._uploads.set_serving(message.serving))

    def _report(self) -> None:
        sent = self._uploads.sent_bytes()
        digests = dict.fromkeys([*self._gone_sent, *sent])
        swarms = [
            SwarmUpload(d, sent.get(d, 0) + self._gone_sent.get(d, 0), self._uploads.sessions_of(d)) for d in digests
        ]
        report = UploadReport(swarms, self._uploads.queued_pieces, self._bad_messages)
        if report != self._reported:
            self._reported = report
            self._tell_agent(report)

    def _tell_agent(self, message: Message) -> None:
        send_or_drop(self._agent, [encode(message, LOCAL_BYTES_MAX)])

    # --- downloader --------------------------------------------------------------------------------------

    def _on_downloader(self) -> None:
        for frames in drain(self._downloader):
            route = frames[0].bytes
            message = self._from_downloader.decode(frames[1].buffer)
            if isinstance(message, Hello):
                self._downloader_hello(route, message)
            elif isinstance(message, Serve):
                self._serve(message)
                self._tell_downloader(route, ServeOk(message.digest))
            elif isinstance(message, Held):
                self._perform(self._uploads.held(message.digest, message.pieces, self._loop.now()))
            elif isinstance(message, Unserve) and self._shelf.remove_partial(message.digest):
                self._withdraw(message.digest)

    def _downloader_hello(self, route: bytes, message: Hello) -> None:
        """A new downloader says its `Serve` again; what the last one served is withdrawn until then."""
        if message.instance != self._downloader_instance:
            self._downloader_instance = message.instance
            for digest in self._shelf.partials():
                if self._shelf.remove_partial(digest):
                    self._withdraw(digest)
        self._tell_downloader(route, Hello("piece_server", self._instance, os.getpid(), self._port))

    def _serve(self, message: Serve) -> None:
        if self._shelf.put_partial(message):
            self._open(message.digest)

    def _tell_downloader(self, route: bytes, message: Message) -> None:
        send_or_drop(self._downloader, [route, encode(message)])


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
    kept.write_text(chosen + "\n")
    return int(chosen)
