"""The piece server without its sockets and files: what is opened, served, withdrawn, told and reported.

Pure but for its ports: it acts through an `Outlet` rather than by a list of effects, since whether a peer could be
sent a message, or a piece could be read, decides what comes next. Joins `uploads` (who gets what) and `shelf` (what
there is). Decoding, encoding and their bounds are for the shell (`process`), and so is the order of calls: one at a
time, `tick` after each turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, Protocol

from node.disk.errors import ContentChangedError, NotThereError
from node.local_messages import (
    AgentToPieceServer,
    ContentChanged,
    DownloaderToPieceServer,
    Held,
    Hello,
    Room,
    Serve,
    ServeOk,
    Serving,
    ShareState,
    SwarmUpload,
    Unserve,
    UploadReport,
)
from node.piece_server.shelf import Shelf
from node.piece_server.uploads import Effect, Recheck, Reply, SendPiece, Uploads
from protocol.digest import short
from protocol.errors import DiskError, NotFoundError, ProtocolError, SeedError
from protocol.messages import Error, GetManifest, Message, Piece, PieceServerRequest, Status, Test

HELLO_SECONDS = 1.0
REPORT_SECONDS = 0.25
ERROR_TEXT_MAX = 500
"""Of what was wrong with garbage, as its sender is told; in characters."""


class Outlet(Protocol):
    """How the core speaks. Nothing waits: what cannot be sent now is not sent."""

    def to_peer(self, route: bytes, message: Message) -> bool:
        """False when ``route`` is gone or takes no more."""

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        """False when ``route`` is gone or takes no more. ``data`` is not changed afterwards."""

    def to_agent(self, message: Message) -> None: ...

    def to_downloader(self, route: bytes, message: Message) -> None: ...

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        """A line for the log."""


class PieceServerCore:
    """Everything a piece server decides. ``rate`` is that of `Uploads`; ``instance`` (a random number)
    and ``pid`` of this run, and the ``port`` peers reach it at, are said in each `Hello`. ``shelf`` stays its owner's
    to close."""

    def __init__(
        self, rate: float, shelf: Shelf, out: Outlet, instance: int, pid: int, port: int, now: float
    ) -> None:
        self._shelf = shelf
        self._out = out
        self._hello = Hello("piece_server", instance, pid, port)
        self._peer = ""
        """Who this is, once the agent has said it."""
        self._downloader_instance = 0
        self._downloader_route = b""
        self._uploads = Uploads(rate, now, Random(instance))
        self._uploads.set_serving(False)  # until the agent says what there is: "no" would send people away for good
        self._agent_instance = 0
        self._bad_messages = 0
        self._hello_at = self._report_at = 0.0
        self._reported: dict[str, tuple[int, int]] = {}
        """Bytes sent and sessions of each swarm that is open, as the agent knows them."""
        self._closed: dict[str, int] = {}
        """Swarms that were closed since the last report, and what was sent of them since."""
        self._closed_bytes = 0
        """What was sent of all that were ever closed."""
        self._reported_totals: tuple[int, int] | None = None

    @property
    def uploads(self) -> Uploads:
        """For tests and the simulator, which look at its books."""
        return self._uploads

    def tick(self, now: float) -> float | None:
        """Do what is due; called after every turn. Returns when to be called at the latest."""
        self._perform(self._uploads.tick(now), now)
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            self._out.to_agent(self._hello)
        if now >= self._report_at:
            self._report_at = now + REPORT_SECONDS
            self._report()
        due = self._uploads.next_deadline(now)
        return self._hello_at if due is None else min(due, self._hello_at, self._report_at)

    # --- peers -------------------------------------------------------------------------------------------

    def peer_says(self, route: bytes, message: PieceServerRequest, now: float) -> None:
        """One message of another peer's downloader, which ``route`` leads back to."""
        if isinstance(message, Test | GetManifest) and self._peer and message.peer not in ("", self._peer):
            self._out.to_peer(route, Status(message.session, "other_peer"))
            return
        if isinstance(message, GetManifest):
            self._out.to_peer(route, self._manifest_page(message, now))
            return
        if isinstance(message, Test) and not self._open(message.digest, now):
            self._out.to_peer(route, Status(message.session, "later"))
            return
        self._perform(self._uploads.handle(route, message, now), now)

    def bad_message(self, route: bytes, request: int, error: ProtocolError) -> None:
        """A stranger sent what is no message, for the reason ``error``; ``request`` is the id it had, or 0."""
        self._bad_messages += 1
        self._out.to_peer(route, Error(request, error.code, str(error)[:ERROR_TEXT_MAX]))

    def _manifest_page(self, request: GetManifest, now: float) -> Message:
        """The answer to ``request``; content whose seed is gone or damaged is withdrawn, since nobody could begin to
        fetch it. Whoever asks for the first page asks for pieces next, so it is opened then."""
        later = Status(request.session, "later")
        if not self._uploads.serving or (request.page == 0 and not self._open(request.digest, now)):
            return later
        try:
            page = self._shelf.manifest_page(request)
        except (SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(request.digest, str(error), now)
            page = None
        except DiskError as error:
            self._out.note("warning", f"cannot read the seed of {short(request.digest)}: {error}")
            return later
        return page or Status(request.session, "no")

    def _open(self, digest: str, now: float) -> bool:
        """Have the content ready for `Uploads`, if there is any; content that is gone or changed is withdrawn. False
        when it cannot be opened just now."""
        try:
            book = self._shelf.open(digest)
        except (ContentChangedError, SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(digest, str(error), now)
            return True
        except (DiskError, OSError) as error:
            self._out.note("warning", f"cannot open {short(digest)}: {error}")
            return False
        if book is not None:
            manifest = book.manifest
            size = manifest.length, manifest.piece_length
            self._uploads.serve(digest, book.bits, *size, book.spread, book.relayed)
            for idle in self._shelf.idle(lambda other: other == digest or self._uploads.sessions_of(other) > 0):
                self._forget(idle)
        return True

    def _perform(self, effects: Sequence[Effect], now: float) -> None:
        """Carry out effects; a failure may give rise to further ones."""
        todo = list(effects)
        for effect in todo:
            if isinstance(effect, SendPiece):
                self._send_piece(effect, todo, now)
            elif isinstance(effect, Reply):
                if not self._out.to_peer(effect.route, effect.message):
                    self._uploads.unreachable(effect.route, effect.message.session)
            elif isinstance(effect, Room):
                if self._downloader_route:
                    self._out.to_downloader(self._downloader_route, effect)
            else:
                self._recheck(effect, now)

    def _send_piece(self, effect: SendPiece, todo: list[Effect], now: float) -> None:
        """Read a piece and send it; one that cannot be read adds to ``todo``."""
        route, digest, header = effect.route, effect.digest, effect.header
        try:
            book = self._shelf.open(digest)
            if book is None:
                todo += self._uploads.withdraw(digest)
                return
            data = book.content.read(header.piece)
        except (ContentChangedError, SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(digest, str(error), now)
        except (DiskError, OSError) as error:
            self._out.note("warning", f"cannot read piece {header.piece} of {short(digest)}: {error}")
            gone = isinstance(error, NotThereError)
            todo += self._uploads.piece_failed(route, header.session, header.piece, gone)
        else:
            if not self._out.piece_to_peer(route, header, data):
                self._uploads.unreachable(route, header.session)

    def _recheck(self, effect: Recheck, now: float) -> None:
        """Somebody was sent a piece that does not have its digest, or says so: whoever does costs one read."""
        digest, piece = effect.digest, effect.piece
        try:
            book = self._shelf.open(digest)
            if book is not None:
                book.content.check(piece)
        except NotThereError as error:
            self._out.note("warning", f"piece {piece} of {short(digest)}: {error}")
            self._uploads.lost(digest, piece)
        except (ContentChangedError, SeedError, NotFoundError, ProtocolError) as error:
            self._content_changed(digest, str(error), now)
        except (DiskError, OSError) as error:
            self._out.note("warning", f"cannot read piece {piece} of {short(digest)}: {error}")

    def _content_changed(self, digest: str, detail: str, now: float) -> None:
        self._out.note("warning", f"withdrawing {short(digest)}: {detail}")
        root = self._shelf.remove_item(digest)
        self._withdraw(digest, now)
        self._out.to_agent(ContentChanged(digest, root, detail))

    def _withdraw(self, digest: str, now: float) -> None:
        self._perform(self._forget(digest), now)

    def _forget(self, digest: str) -> list[Effect]:
        """Have `Uploads` forget the swarm, but not what was sent of it."""
        sent = self._uploads.sent_bytes().get(digest, 0)
        reported, sessions = self._reported.pop(digest, (0, 0))
        if sent > reported or sessions:
            self._closed[digest] = self._closed.get(digest, 0) + sent - reported
        self._closed_bytes += sent
        return self._uploads.withdraw(digest)

    # --- agent -------------------------------------------------------------------------------------------

    def agent_says(self, message: AgentToPieceServer, now: float) -> None:
        """What is shared, and whether to serve."""
        if isinstance(message, ShareState):
            self._share_state(message, now)
        elif isinstance(message, Serve):
            if self._shelf.put_item(message):
                self._open(message.digest, now)
        elif isinstance(message, Unserve):
            self._shelf.remove_item(message.digest)
            self._withdraw(message.digest, now)
        elif isinstance(message, Serving):
            self._perform(self._uploads.set_serving(message.serving), now)

    def _share_state(self, message: ShareState, now: float) -> None:
        self._peer = message.peer
        if message.instance != self._agent_instance:
            self._agent_instance = message.instance
            self._reported = {digest: (sent, 0) for digest, (sent, _) in self._reported.items()}
            self._reported_totals = None
        wanted = {item.digest for item in message.items}
        for digest in self._shelf.items():
            if digest not in wanted:
                self._shelf.remove_item(digest)
                self._withdraw(digest, now)
        for item in message.items:
            if self._shelf.put_item(item):
                self._open(item.digest, now)
        self._perform(self._uploads.set_serving(message.serving), now)

    def _report(self) -> None:
        swarms = []
        sent_bytes = self._uploads.sent_bytes()
        for digest, sent in sent_bytes.items():
            now = (sent, self._uploads.sessions_of(digest))
            before = self._reported.get(digest, (0, 0))
            if now != before or digest in self._closed:  # closed, and opened again
                self._reported[digest] = now
                swarms.append(SwarmUpload(digest, sent - before[0] + self._closed.pop(digest, 0), now[1]))
        swarms += [SwarmUpload(digest, sent, 0) for digest, sent in self._closed.items()]
        self._closed.clear()
        totals = (self._uploads.queued_pieces, self._bad_messages)
        if swarms or totals != self._reported_totals:
            self._reported_totals = totals
            self._out.to_agent(UploadReport(swarms, *totals, self._closed_bytes + sum(sent_bytes.values())))

    # --- downloader --------------------------------------------------------------------------------------

    def downloader_says(self, route: bytes, message: DownloaderToPieceServer, now: float) -> None:
        """What this peer's own downloads have; ``route`` leads back to its downloader."""
        if isinstance(message, Hello):
            self._downloader_hello(route, message, now)
        elif isinstance(message, Serve):
            if self._shelf.put_partial(message):
                self._open(message.digest, now)
            self._out.to_downloader(route, ServeOk(message.digest))
        elif isinstance(message, Held):
            self._shelf.gained(message.digest, message.pieces, message.relayed)
            self._perform(self._uploads.held(message.digest, message.pieces, message.relayed, now), now)
        elif isinstance(message, Unserve) and self._shelf.remove_partial(message.digest):
            self._withdraw(message.digest, now)

    def _downloader_hello(self, route: bytes, message: Hello, now: float) -> None:
        """A new downloader says its `Serve` again; what the last one served is withdrawn until then."""
        self._downloader_route = route
        if message.instance != self._downloader_instance:
            self._downloader_instance = message.instance
            for digest in self._shelf.partials():
                if self._shelf.remove_partial(digest):
                    self._withdraw(digest, now)
        self._out.to_downloader(route, self._hello)
