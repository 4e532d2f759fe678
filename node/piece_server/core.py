"""The piece server without its sockets and files: what is opened, served, withdrawn, told and reported.

Pure but for its ports: it acts through an `Outlet` rather than by a list of effects, since whether a peer could be
sent a message, or a piece could be read, decides what comes next. Joins `uploads` (who gets what), `shelf` (what
there is) and `reading` (which reads it, without waiting). Decoding, encoding and their bounds are for the shell
(`process`), and so is the order of calls: one at a time, `tick` after each turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Literal, NamedTuple, Protocol, cast

from node.disk.errors import ContentChangedError, NotThereError
from node.local_messages import (
    HELLO_SECONDS,
    REPORT_SECONDS,
    AgentToPieceServer,
    ContentChanged,
    DownloaderToPieceServer,
    Held,
    Hello,
    Limit,
    Room,
    Serve,
    ServeOk,
    Serving,
    ShareState,
    SwarmUpload,
    Unserve,
    UploadReport,
)
from node.piece_server.reading import Reading, Threads
from node.piece_server.requests import Asked, Requests
from node.piece_server.sending import Reply, SendPiece
from node.piece_server.shelf import Book, Files, Shelf
from node.piece_server.talk import GARBAGE_COST, Talk
from node.piece_server.uploads import Effect, Recheck, Uploads
from protocol.digest import short
from protocol.errors import DiskError, NotFoundError, ProtocolError, SeedError
from protocol.limits import DETAIL_BYTES_MAX
from protocol.manifest import Manifest
from protocol.messages import Error, GetManifest, ManifestPage, Message, Piece, PieceServerRequest, Status, Test

_WITHDRAWN = ContentChangedError, SeedError, NotFoundError, ProtocolError
"""Nothing of the content can be served any more."""


class Outlet(Protocol):
    """How the core speaks. Nothing waits: what cannot be sent now is not sent."""

    def to_peer(self, route: bytes, message: Message) -> bool:
        """False when ``route`` is gone or takes no more."""

    def piece_to_peer(self, route: bytes, header: Piece, data: bytes) -> bool:
        """False when ``route`` is gone or takes no more. ``data`` is not changed afterwards."""

    def page_to_peer(self, route: bytes, page: ManifestPage) -> Callable[[], bool] | None:
        """`transport.ports.PublicRouter.send_watched`."""

    def address_of(self, route: bytes) -> str:
        """`transport.ports.PublicRouter.address_of`."""

    def hang_up_on(self, route: bytes) -> Callable[[], None]:
        """`transport.ports.PublicRouter.hang_up_on`."""

    def refuse(self, route: bytes, seconds: float) -> None:
        """`transport.ports.PublicRouter.refuse`."""

    def to_agent(self, message: Message) -> None: ...

    def to_downloader(self, route: bytes, message: Message) -> None: ...

    def note(self, level: Literal["info", "warning"], text: str) -> None:
        """A line for the log."""


class _Load(NamedTuple):
    """The seed at ``path``, to open the content."""

    digest: str
    path: str


class _Page(NamedTuple):
    """A page of a manifest, for whoever asks."""

    asked: Asked
    request: GetManifest


class PieceServerCore:
    """Everything a piece server decides. ``rng`` is that of `Uploads`; an instance drawn from it, the ``pid`` of this
    run, and the ``port`` peers reach it at are said in each `Hello`."""

    def __init__(
        self, files: Files, threads: Threads, out: Outlet, rng: Random, pid: int, port: int, now: float
    ) -> None:
        self._out = out
        self._hello = Hello("piece_server", rng.getrandbits(48), pid, port)
        self._peer = ""
        """Who this is, once the agent has said it."""
        self._downloader_instance = 0
        self._downloader_route = b""
        self._uploads = Uploads(now, rng)
        self._uploads.set_serving(False)  # until the agent says what there is: "no" would send people away for good
        self._reading: Reading[_Load | _Page | SendPiece | Recheck] = Reading(threads, self._done)
        self.shelf = Shelf(files, self._reading)
        self._opening: dict[str, list[Held]] = {}
        """Contents whose seed is being loaded, and what their downloads have got since."""
        self._loaded: list[tuple[_Load, object]] = []
        """Seeds that were loaded since the last `work`, or cannot be."""
        self.requests = Requests()
        self._talk = Talk(out.address_of, out.refuse)
        self._reads: dict[str, deque[SendPiece | Recheck]] = {}
        """What is to be read of each content, in order. The first is being read, or the content is being opened."""
        self._stirred = False
        """Something has happened that `Uploads.tick` should see."""
        self._agent_instance = 0
        self._bad_messages = 0
        self._hello_at = self._report_at = 0.0
        self._sent: dict[str, int] = {}
        """Bytes sent of each content since the last report..."""
        self._sent_bytes = 0
        """...and of all in this run."""
        self._told: dict[str, int] = {}
        """Sessions of each content that has any, as the agent knows them."""
        self._reported_totals: tuple[int, int] | None = None

    @property
    def uploads(self) -> Uploads:
        """For tests and the simulator, which look at its books."""
        return self._uploads

    def tick(self, now: float) -> float | None:
        """Do what is due; called after every turn. Returns when to be called at the latest."""
        self.work(now)
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            self._out.to_agent(self._hello)
        if now >= self._report_at:
            self._report_at = now + REPORT_SECONDS
            self._report()
        due = [at for at in (self._uploads.next_deadline(now), self.requests.next_deadline(now)) if at is not None]
        return min(*due, self._hello_at, self._report_at) if due else self._hello_at

    def work(self, now: float) -> None:
        """Send what can be sent, and go on with all that need not wait for a disk."""
        self._stirred = True
        while self._stirred:
            self._stirred = False
            loaded, self._loaded = self._loaded, []
            for load, result in loaded:
                self._load_done(load, result, now)
            self._perform(self._uploads.tick(now))
            while (asked := self.requests.next_for_page(now)) is not None:
                self._read_page(asked)
            self._reading.deliver()

    # --- peers -------------------------------------------------------------------------------------------

    def peer_says(self, route: bytes, message: PieceServerRequest, now: float) -> None:
        """One message of another peer's downloader, which ``route`` leads back to."""
        if self._talk.is_too_much(route, now):
            return
        if not isinstance(message, Test | GetManifest):
            self._perform(self._uploads.handle(route, message, now))
        elif self._peer and message.peer not in ("", self._peer):
            self._out.to_peer(route, Status(message.session, "other_peer"))
        elif not self._uploads.serving:
            self._out.to_peer(route, Status(message.session, "later"))
        elif isinstance(message, Test) and self._open(message.digest):
            self._perform(self._uploads.handle(route, message, now, self._out.address_of(route)))
        else:
            self._wait_for_seed(route, message, now)

    def bad_message(self, route: bytes, request: int, error: ProtocolError, now: float) -> None:
        """A stranger sent what is no message, for the reason ``error``; ``request`` is the id it had, or 0."""
        if self._talk.is_too_much(route, now, GARBAGE_COST):
            return
        self._bad_messages += 1
        self._out.to_peer(route, Error(request, error.code, str(error)[:DETAIL_BYTES_MAX]))

    def _wait_for_seed(self, route: bytes, message: Test | GetManifest, now: float) -> None:
        """Answer when its seed is read. Whoever asks for the first page of a manifest asks for pieces next, so the
        content is opened then, and withdrawn if it cannot be."""
        if self.requests.has(route, message):
            return
        asked = Asked(message, route, self._out.address_of(route), now, self._out.hang_up_on(route))
        away = self.requests.add(asked)
        if away is not None:
            self._out.to_peer(away.route, Status(away.request.session, "later"))
        if away is asked:
            return
        if isinstance(message, GetManifest) and (message.page or self._open(message.digest)):
            self.requests.wait_for_page(asked)

    def _read_page(self, asked: Asked) -> None:
        request = asked.request
        assert isinstance(request, GetManifest)
        if not self.shelf.read_page(request, _Page(asked, request)):
            here = self.shelf.seed(request.digest) != ""
            other = ManifestPage(request.session, request.page, 0, b"")
            self.requests.page_done(asked, None)
            self._answer(asked, other if here else Status(request.session, "no"))

    def _page_done(self, asked: Asked, request: GetManifest, result: object) -> None:
        """The answer to ``request``; content whose seed is gone or damaged is withdrawn, since nobody could begin to
        fetch it."""
        self._stirred = True
        is_gone, answer = None, Status(request.session, "no")
        if isinstance(result, _WITHDRAWN):
            self._content_changed(request.digest, str(result))
        elif isinstance(result, Exception):
            self._out.note("warning", f"cannot read the seed of {short(request.digest)}: {result}")
            answer = Status(request.session, "later")
        elif isinstance(result, tuple):
            page = ManifestPage(request.session, request.page, *result)
            is_gone = self._out.page_to_peer(asked.route, page) if self.requests.take(asked) else None
            self.requests.page_done(asked, is_gone)
            return
        self.requests.page_done(asked, None)
        self._answer(asked, answer)

    def _answer(self, asked: Asked, answer: Status | ManifestPage) -> None:
        if self.requests.take(asked):
            self._out.to_peer(asked.route, answer)

    # --- reading -----------------------------------------------------------------------------------------

    def _open(self, digest: str) -> bool:
        """Whether the content is open, or there is none. False when it is being opened: `_load_done` comes next."""
        if digest in self._opening:
            return False
        path = self.shelf.seed(digest)
        if not path or self.shelf.book(digest) is not None:
            return True
        self._opening[digest] = []
        self.shelf.load(path, _Load(digest, path))
        return False

    def _load_done(self, load: _Load, result: object, now: float) -> None:
        """Open the content, and do what waits for it. Content that is gone or changed is withdrawn."""
        digest = load.digest
        path = self.shelf.seed(digest)
        if path not in ("", load.path):  # it is served from elsewhere by now
            self.shelf.load(path, _Load(digest, path))
            return
        held = self._opening.pop(digest)
        failure = result if path and isinstance(result, Exception) else None
        try:
            book = self.shelf.open(digest, result) if isinstance(result, Manifest) else None
        except (*_WITHDRAWN, DiskError, OSError) as error:
            book, failure = None, error
        if book is not None:
            for message in held if self._serve(digest, book) else []:
                self._perform(self._uploads.held(digest, message.pieces, message.relayed, now, message.handed_on))
            self._read_on(digest)
        elif isinstance(failure, _WITHDRAWN):
            self._content_changed(digest, str(failure))
            failure = None
        elif failure is not None:
            self._out.note("warning", f"cannot open {short(digest)}: {failure}")
            for effect in self._reads.pop(digest, ()):
                self._read_failed(effect, failure)
        for asked in self.requests.of(digest):
            self._go_on(asked, failure is None, now)

    def _go_on(self, asked: Asked, opened: bool, now: float) -> None:
        """The content that is ``asked`` for is open, or not to be had, or cannot be opened just now."""
        request = asked.request
        if not opened:
            self._answer(asked, Status(request.session, "later"))
        elif isinstance(request, GetManifest):
            if request.page == 0:
                self.requests.wait_for_page(asked)
        elif self.requests.take(asked):
            self._perform(self._uploads.handle(asked.route, request, now, asked.address))

    def _serve(self, digest: str, book: Book) -> bool:
        """Whether it was served before."""
        manifest = book.manifest
        size = manifest.length, manifest.piece_length
        is_known = self._uploads.serve(digest, book.bits, *size, book.spread, book.relayed)
        for idle in self.shelf.idle({digest, *self._uploads.sessions()}):
            self._withdraw(idle)
        return is_known

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                if not self._out.to_peer(effect.route, effect.message):
                    self._uploads.unreachable(effect.route, effect.message.session)
            elif isinstance(effect, Room):
                if self._downloader_route:
                    self._out.to_downloader(self._downloader_route, effect)
            else:
                reads = self._reads.setdefault(effect.digest, deque())
                if isinstance(effect, Recheck) and any(isinstance(one, Recheck) for one in reads):
                    continue  # one at a time, or complaints would keep the disk from what is asked for
                reads.append(effect)
                if len(reads) == 1 and self._open(effect.digest):
                    self._read_on(effect.digest)

    def _read_on(self, digest: str) -> None:
        """Read what is next of open content, if nothing is being read of it."""
        reads, book = self._reads.get(digest), self.shelf.book(digest)
        while reads and book is not None and not self._reading.pending(digest):
            effect = reads[0]
            if isinstance(effect, Recheck):
                self._reading.run(digest, partial(book.content.check, effect.piece), effect)
            elif not self._uploads.is_open(effect.session):
                reads.popleft()
            else:
                self._reading.read(digest, book.content, effect.header.piece, effect)

    def _done(self, tag: _Load | _Page | SendPiece | Recheck, result: object) -> None:
        """Something was read, or cannot be."""
        if isinstance(tag, _Load):
            self._loaded.append((tag, result))
            self._stirred = True
        elif isinstance(tag, _Page):
            self._page_done(tag.asked, tag.request, result)
        else:
            self._reads[tag.digest].popleft()
            if isinstance(result, Exception):
                self._read_failed(tag, result)
            elif isinstance(tag, SendPiece) and self._uploads.is_open(tag.session):
                self._send(tag, cast("bytes", result))  # or a bytearray that nobody changes
            self._read_on(tag.digest)

    def _send(self, effect: SendPiece, data: bytes) -> None:
        route, header = effect.route, effect.header
        if self._out.piece_to_peer(route, header, data):
            self._talk.sent_piece(route)
            self._sent[effect.digest] = self._sent.get(effect.digest, 0) + len(data)
            self._sent_bytes += len(data)
        else:
            self._uploads.unreachable(route, header.session)
            self._stirred = True

    def _read_failed(self, effect: SendPiece | Recheck, error: Exception) -> None:
        """A piece cannot be read, or is not what it should be."""
        digest = effect.digest
        self._stirred = True
        if isinstance(error, _WITHDRAWN):
            self._content_changed(digest, str(error))
            return
        gone = isinstance(error, NotThereError)
        piece = effect.piece if isinstance(effect, Recheck) else effect.header.piece
        self._out.note("warning", f"cannot read piece {piece} of {short(digest)}: {error}")
        if gone:
            self.shelf.lost(digest, piece)
        if isinstance(effect, SendPiece):
            if self._uploads.is_open(effect.session):
                self._perform(self._uploads.piece_failed(effect.session, effect.header, gone))
        elif gone:
            self._uploads.lost(digest, piece)

    def _content_changed(self, digest: str, detail: str) -> None:
        self._out.note("warning", f"withdrawing {short(digest)}: {detail}")
        root = self.shelf.remove_item(digest)
        self._withdraw(digest)
        self._out.to_agent(ContentChanged(digest, root, detail))

    def _withdraw(self, digest: str) -> None:
        """What is not open any more is served no more."""
        self._reads.pop(digest, None)
        if digest in self._opening:
            self._opening[digest].clear()
        self._perform(self._uploads.withdraw(digest))

    # --- agent -------------------------------------------------------------------------------------------

    def agent_says(self, message: AgentToPieceServer, now: float) -> None:
        """What is shared, whether to serve, and how fast."""
        if isinstance(message, ShareState):
            self._share_state(message)
        elif isinstance(message, Serve):
            if self.shelf.put_item(message):
                self._open(message.digest)
        elif isinstance(message, Unserve):
            self.shelf.remove_item(message.digest)
            self._withdraw(message.digest)
        elif isinstance(message, Serving):
            self._perform(self._uploads.set_serving(message.serving))
        elif isinstance(message, Limit):
            self._uploads.set_rate(message.rate, now)

    def _share_state(self, message: ShareState) -> None:
        self._peer = message.peer
        if message.instance != self._agent_instance:
            self._agent_instance = message.instance
            self._told = {}
            self._reported_totals = None
        wanted = {item.digest for item in message.items}
        for digest in self.shelf.items():
            if digest not in wanted:
                self.shelf.remove_item(digest)
                self._withdraw(digest)
        for item in message.items:
            if self.shelf.put_item(item):
                self._open(item.digest)
        self._perform(self._uploads.set_serving(message.serving))

    def _report(self) -> None:
        sessions = self._uploads.sessions()
        swarms = [
            SwarmUpload(digest, self._sent.get(digest, 0), sessions.get(digest, 0))
            for digest in {**self._sent, **self._told, **sessions}
            if digest in self._sent or sessions.get(digest) != self._told.get(digest)
        ]
        totals = (self._uploads.queued_pieces, self._bad_messages)
        if swarms or totals != self._reported_totals:
            self._sent, self._told, self._reported_totals = {}, sessions, totals
            self._out.to_agent(UploadReport(swarms, *totals, self._sent_bytes))

    # --- downloader --------------------------------------------------------------------------------------

    def downloader_says(self, route: bytes, message: DownloaderToPieceServer, now: float) -> None:
        """What this peer's own downloads have; ``route`` leads back to its downloader."""
        if isinstance(message, Hello):
            self._downloader_hello(route, message)
        elif isinstance(message, Serve):
            if self.shelf.put_partial(message) and self._open(message.digest):
                book = self.shelf.book(message.digest)
                if book is not None:
                    self._serve(message.digest, book)
            self._out.to_downloader(route, ServeOk(message.digest))
        elif isinstance(message, Held):
            self.shelf.gained(message.digest, message.pieces, message.relayed)
            if message.digest in self._opening:
                self._opening[message.digest].append(message)
            else:
                self._perform(
                    self._uploads.held(message.digest, message.pieces, message.relayed, now, message.handed_on)
                )
        elif isinstance(message, Unserve) and self.shelf.remove_partial(message.digest):
            self._withdraw(message.digest)

    def _downloader_hello(self, route: bytes, message: Hello) -> None:
        """A new downloader says its `Serve` again; what the last one served is withdrawn until then."""
        self._downloader_route = route
        if message.instance != self._downloader_instance:
            self._downloader_instance = message.instance
            for digest in self.shelf.partials():
                if self.shelf.remove_partial(digest):
                    self._withdraw(digest)
        self._out.to_downloader(route, self._hello)
