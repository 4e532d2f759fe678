"""One download as the downloader process carries it out, from the order to the final name.

Performs the effects of `manifest_fetch` and `download` through `job_disk` and the ports of its context, and tells
the agent and the piece server how it goes. Phases::

    resolving --> checking --> downloading --> verifying --> done
    (manifest)    (disk)  ^        |
                          |      disk full, no file to be opened, left the network
                          '----- paused
    any phase --> failed
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from node.disk.errors import AwayError, NoSpaceError, PassingError
from node.disk.store import Buffer
from node.downloader.download import Completed, Download, Gained, NeedSources, SourceMessage, Write
from node.downloader.grid import Grid
from node.downloader.job_context import JobContext
from node.downloader.job_disk import JobDisk
from node.downloader.job_report import Progress
from node.downloader.job_work import BegunError, Place, Published, Ready
from node.downloader.manifest_fetch import GotManifest, ManifestFetch, NoManifest
from node.downloader.source import Banned, Connect, Disconnect, Send, SourcePool
from node.local_messages import (
    REPORT_SECONDS,
    DownloadFailed,
    DownloadFinished,
    DownloadStarted,
    Fetch,
    Held,
    LocalCopy,
    Phase,
    Serve,
    Unserve,
)
from node.local_messages import NeedSources as NeedSourcesMessage
from node.trace import Trace
from protocol.digest import short
from protocol.errors import DiskError, NotFoundError, SeedError, VerificationError, ZswarmError
from protocol.manifest import Manifest, piece_length_for
from protocol.messages import Cell, Piece, SeederEntry

log = logging.getLogger(__name__)

GAINED_SECONDS = 0.1
"""How often the piece server is told of pieces that others relay: it needs them when it has nothing else to send."""
DISK_RETRY_SECONDS = 5.0
AWAY = "the peer has left the network"
REPAIRS_COUNT_MAX = 3
"""How often what changed on the disk after it was verified is fetched again, before the disk is given up."""


class FetchJob:
    """One download. ``over`` once it ended and nothing of it runs any more."""

    def __init__(self, fetch: Fetch, context: JobContext, copies: Sequence[LocalCopy] = (), mends: bytes = b"") -> None:
        """``copies``: other content of this machine that may have pieces of it; ``mends`` as `Place` has it."""
        self.fetch = fetch
        self._mends = mends
        self._copies = tuple(copies)
        self.over = False
        self._context = context
        self._disk = JobDisk(context, self)
        self._progress = Progress(fetch, self._disk, context.now())
        self._manifest: Manifest | None = None
        self._resolving = False
        self._seed_lost = False
        """The seed that was at hand turned out to be gone or damaged."""
        self._core: ManifestFetch | Download | None = None
        self.download: Download | None = None
        """The conversation with its sources, also when it is over; None while there is no manifest."""
        self._room_is_old = False
        """The piece server has not acknowledged what it was last told to serve."""
        self._frame_bytes = piece_length_for(fetch.length)
        """The longest piece that connections take; a link may be wrong about the length."""
        self._root = ""
        """Where the pieces are that `download` has."""
        self._sources: dict[str, SeederEntry] = {}
        self._grid = Grid()
        self._arrived: Buffer = b""
        """The data of the piece that is being handled."""
        self._told_at = 0.0
        self._gained: list[Gained] = []
        """What the piece server has to be told of."""
        self._away = False
        self.ended = False
        """It finished, failed or was cancelled; threads may still be at work for it."""
        self._retry_at: float | None = None
        self._repairs = 0
        self._paused_for = ""  # as the log was told last

    # --- orders from the agent ---------------------------------------------------------------------------

    def start(self, away: bool) -> None:
        """Begin: with the seed at hand look at the disk, otherwise ask peers for the manifest. ``away`` as in
        `set_away`."""
        self._away = away
        if self.fetch.seed_path:
            self._prepare(self.fetch.seed_path)
            return
        self._resolving = True
        self._resolve()

    def note_grid(self, cell: Cell, cells: int) -> None:
        """As in the message `Sources`."""
        self._grid.note(cell, cells)

    def found(self, seeders: Sequence[SeederEntry], listed: int | None = None) -> None:
        """Sources, to be used now or as soon as there is something to ask of them; ``listed`` as in the message."""
        self._sources.update((entry.peer, entry) for entry in seeders)
        if self._core is not None and not self._away:
            self._perform(self._core.found(seeders, self._now(), listed))

    def peer_lost(self, peer: str) -> None:
        self._sources.pop(peer, None)
        if self._core is not None:
            self._perform(self._core.peer_lost(peer, self._now()))

    def set_away(self, away: bool) -> None:
        """The peer left the network, or is back in it."""
        self._away = away
        if isinstance(self._core, Download) and self._progress.phase in ("downloading", "paused"):
            self._perform(self._core.pause(self._now()) if away else self._core.resume(self._now()))
            self._enter("paused" if away else "downloading", AWAY if away else "")
        elif self._resolving:
            self._resolve()
        elif away:
            self._stop_core()
        if not away:
            self.found(list(self._sources.values()))

    def cancel(self) -> None:
        """Stop, and delete what there is."""
        self._end("failed", "cancelled", discard=True)

    def halt(self) -> None:
        """Stop; what there is stays."""
        if not self.ended:
            self._end("failed", "stopped", discard=False)

    def report_again(self) -> None:
        """A new agent asks: say everything it may have missed."""
        self._progress.forget_reported()
        self._report(self._now())
        self.serve()

    def trace(self) -> Trace:
        """What it has done when."""
        manifest, fetch = self._manifest, self.fetch
        lengths = (fetch.length, 0) if manifest is None else (manifest.length, manifest.piece_length)
        return self._disk.recording.trace(fetch.name, fetch.digest, *lengths, self._now())

    def stop(self) -> None:
        """The process ends: say goodbye and make threads stop. `save` comes when they have."""
        self._stop_core()
        self._disk.stop()

    def save(self, ended: bool) -> None:
        """Note in the journal what is on disk; ``ended`` as `JobDisk.save` has it."""
        self._disk.save(ended)

    # --- what sources do (`job_context.Listener`) --------------------------------------------------------------

    def on_connected(self, session: int) -> None:
        if self._core is not None:
            self._perform(self._core.connected(session, self._now()))

    def on_lost(self, session: int, reason: str) -> None:
        if self._core is not None:
            self._perform(self._core.disconnected(session, reason, self._now()))
        self._context.links.disconnect(session)

    def on_message(self, session: int, message: SourceMessage) -> None:
        if self._core is not None:
            self._perform(self._core.handle(session, message, self._now()))

    def on_piece(self, session: int, header: Piece, data: Buffer) -> None:
        if isinstance(self._core, Download):
            self._context.totals.received_bytes += len(data)
            self._arrived = data
            self._perform(self._core.piece(session, header, len(data), self._now()))
            self._arrived = b""
        else:
            self.on_misbehaved(session, "sent a piece before it was asked for any")

    def on_misbehaved(self, session: int, reason: str) -> None:
        if self._core is not None:
            self._perform(self._core.misbehaved(session, reason, self._now()))
        self._context.links.disconnect(session)

    # --- what the disk does (`job_disk.Owner`) -----------------------------------------------------------

    def on_verified(self, piece: int, good: bool) -> None:
        assert self.download is not None
        totals = self._context.totals
        totals.verified_pieces += good
        totals.failed_pieces += not good and self.download.pieces.writing[piece].sender is not None
        effects = self.download.written(piece, good, self._now())
        if self.download is self._core:
            self._perform(effects)

    def on_unwritten(self, piece: int, error: BaseException) -> None:
        assert self.download is not None
        self.download.write_failed(piece)
        self.on_disk_error(error)

    def on_missed(self, pieces: list[int]) -> None:
        assert self.download is not None
        for piece in pieces:
            self.download.write_failed(piece)

    def on_disk_error(self, error: BaseException) -> None:
        """What may pass pauses the download; a disk that is full or away only one that had begun, in this run or
        before. Anything else ends it."""
        if self.ended or self._retry_at is not None:
            return
        checking = self._progress.phase == "checking"
        if checking and isinstance(error, NotFoundError | SeedError) and not self._seed_lost:
            log.warning("%s: %s; others are asked for it", short(self.fetch.digest), error)
            self._seed_lost = True
            self._ask_for_manifest()
            return
        begun = self.download is not None or isinstance(error, BegunError)
        if not isinstance(error, PassingError) or (isinstance(error, NoSpaceError | AwayError) and not begun):
            self._fail(error)
            return
        if isinstance(error, BegunError) and self.download is None:
            noted = error.have
            self._manifest = manifest = error.manifest
            self._progress.noted = (noted.count_set, sum(manifest.piece_size(piece) for piece in noted.indices()))
        if str(error) != self._paused_for:
            self._paused_for = str(error)
            log.warning("download of %s is paused: %s", short(self.fetch.digest), error)
        self._stop_core()
        self._retry_at = self._now() + DISK_RETRY_SECONDS
        self._enter("paused", str(error))
        self._disk.let_go(discard=False)

    def on_let_go(self) -> None:
        self.over = self.ended

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Do what is due; return when to be called at the latest."""
        if self.over:
            return None
        self._disk.reuse.tick(now)
        self._disk.begin_writing()
        self._tell_gained(now)
        due = now + (GAINED_SECONDS if self._gained else REPORT_SECONDS)
        if self._core is not None:
            self._perform(self._core.tick(now))
        if self._core is not None:
            due = min(due, self._core.next_deadline(now) or due)
        if self._retry_at is not None and now >= self._retry_at and self._disk.idle:
            self._retry_at = None
            if self._disk.place is not None:
                self._prepare(self._disk.place.seed_path)
            else:
                self._ask_for_manifest()
        if self._progress.phase == "downloading":
            self._disk.sync_when_due(now)
        if now >= self._progress.report_at:
            self._report(now)
        return due

    # --- phases ------------------------------------------------------------------------------------------

    def _ask_for_manifest(self) -> None:
        self._resolving = True
        self._resolve()
        self.found(list(self._sources.values()))

    def _resolve(self) -> None:
        """Ask peers for the manifest, from the start; nobody while this one is away."""
        self._stop_core()
        if self._away:
            self._enter("resolving", AWAY)
            return
        self._core = ManifestFetch(self.fetch.digest, self.fetch.manifest, self._context.sessions, self._context.rng)
        self._enter("resolving")

    def _prepare(self, seed_path: str) -> None:
        self._enter("checking")
        fetch = self.fetch
        place = Place(fetch.digest, seed_path, fetch.dest, fetch.force, self._copies, fetch.keep, self._mends)
        self._disk.prepare(place, self._prepared)

    def _prepared(self, result: Ready | Published) -> None:
        self._manifest = manifest = result.manifest
        if isinstance(result, Published):
            self._progress.resumed_bytes = manifest.length
            self._stop_core()
            self._published(result)
            return
        before = self.download
        if manifest.piece_length > self._frame_bytes:  # the connection it came over takes none so long
            self._stop_core()
        context = self._context
        pool = SourcePool(context.sessions, context.rng) if self._core is None else self._core.pool
        pool.grid = self._grid
        self._core = self.download = download = Download(
            manifest.digest,
            manifest.length,
            manifest.piece_length,
            result.have,
            context.budget,
            pool,
            context.rng,
            self.fetch.sequential,
            self._disk.recording,
        )
        self._progress.begins(download, before)
        self._frame_bytes = manifest.piece_length
        self._root = result.partial.root
        download.pieces.set_aside(piece for batch in result.reusable for piece, _ in batch.pieces)
        self._disk.reuse.begin(result.reusable)
        self._enter("downloading")
        self.serve()
        self._perform(download.start(self._now()))
        self.set_away(self._away)

    def serve(self) -> None:
        """Tell the piece server what there is to give; said again when either process was restarted."""
        if self.download is not None and not self.ended:
            self._serve(self._root, self.download)

    def _serve(self, root: str, download: Download, stamps: bytes = b"") -> None:
        assert self._disk.place is not None
        fetch, seed_path = self.fetch, self._disk.place.seed_path
        bits, spread = download.have.to_bytes(), download.pieces.spread.to_bytes()
        self._gained.clear()
        self._room_is_old = True
        download.restart_relaying()
        self._context.tell_pieces(Serve(fetch.digest, fetch.manifest, seed_path, root, bits, stamps, spread=spread))

    def _tell_gained(self, now: float) -> None:
        """Say which pieces have come: at once what is to be relayed, the rest with that or after a moment."""
        if self._gained and (
            now >= self._told_at + GAINED_SECONDS or any(one.relay or one.hand_on for one in self._gained)
        ):
            self._told_at = now
            pieces = [one.piece for one in self._gained]
            relayed = [one.piece for one in self._gained if one.relay]
            handed_on = [one.piece for one in self._gained if one.hand_on]
            self._context.tell_pieces(Held(self.fetch.digest, pieces, relayed, handed_on))
            self._gained = []

    def set_room(self, count: int) -> None:
        """The piece server has room for so many pieces to relay, counted from when it was last told what to serve."""
        if self.download is not None and not self._room_is_old:
            self.download.set_room(count)

    def serving(self) -> None:
        """The piece server acknowledged `serve`: from now on this peer is a source."""
        self._room_is_old = False
        if self._disk.place is None or self._manifest is None or self.ended:
            return
        fetch, seed_path = self.fetch, self._disk.place.seed_path
        self._context.tell_agent(DownloadStarted(fetch.digest, seed_path, fetch.manifest, self._manifest.length))

    def _finished(self, result: Published | Ready) -> None:
        """All is published; or some of it changed on the disk after it was verified, and is fetched again."""
        if isinstance(result, Published):
            self._published(result)
            return
        spoilt = result.have.size - result.have.count_set
        what = f"{spoilt} of {result.have.size} pieces on disk differ from what was written there"
        if self._repairs >= REPAIRS_COUNT_MAX:
            self._fail(DiskError(f"{what}, again and again: is the disk failing?"))
            return
        self._repairs += 1
        log.warning("%s: %s; they are fetched again", short(self.fetch.digest), what)
        self._prepared(result)

    def _published(self, result: Published) -> None:
        place, manifest, fetch = self._disk.place, result.manifest, self.fetch
        assert place is not None
        if self.download is not None:
            self._serve(result.path, self.download, result.stamps)
        self._enter("done")
        self._context.tell_agent(
            DownloadFinished(
                digest=fetch.digest,
                manifest=fetch.manifest,
                length=manifest.length,
                path=result.path,
                seed_path=place.seed_path,
                stamps=result.stamps,
                finished_at=self._context.now(),
                left_behind=result.left_behind,
                written=self.download is not None,
            )
        )
        log.info("%s is complete and verified at %s", short(fetch.digest), result.path)
        self.ended = self.over = True

    def _fail(self, error: BaseException) -> None:
        code = error.code if isinstance(error, ZswarmError) else "internal"
        detail = str(error) or type(error).__name__
        log.warning("download of %s failed: %s", short(self.fetch.digest), detail)
        if not isinstance(error, ZswarmError):
            log.error("unexpected error", exc_info=error)
        self._context.tell_agent(DownloadFailed(self.fetch.digest, code, detail))
        self._end("failed", detail, discard=False)

    def _end(self, phase: Phase, detail: str, discard: bool) -> None:
        self.ended = True
        self._resolving = False
        self._retry_at = None
        self._stop_core()
        self._gained.clear()
        self._context.tell_pieces(Unserve(self.fetch.digest))
        self._enter(phase, detail)
        self._disk.let_go(discard)

    def _stop_core(self) -> None:
        core, self._core = self._core, None
        if core is not None:
            self._perform(core.close(self._now()))

    # --- effects -----------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[object]) -> None:
        """Carry out what a core decided, in order."""
        for effect in effects:
            if isinstance(effect, Send):
                self._context.links.send(effect.session, effect.message)
            elif isinstance(effect, Write):
                self._disk.write(effect.piece, self._arrived)
            elif isinstance(effect, Gained):
                self._gained.append(effect)
            elif isinstance(effect, Connect):
                self._context.links.connect(effect.session, effect.endpoint, self._frame_bytes, self, effect.key)
            elif isinstance(effect, Disconnect):
                self._context.links.disconnect(effect.session)
            else:
                self._perform_rare(effect)

    def _perform_rare(self, effect: object) -> None:
        if isinstance(effect, Banned):
            self._context.totals.bans += 1
            self._disk.recording.event(effect.peer, effect.name, f"banned: {effect.reason}", self._now())
            log.warning("%s: banned %s: %s", short(self.fetch.digest), effect.name or effect.peer, effect.reason)
        elif isinstance(effect, NeedSources):
            self._context.tell_agent(NeedSourcesMessage(self.fetch.digest))
        elif isinstance(effect, Completed):
            self._enter("verifying")
            self._perform(self._core.close(self._now()) if self._core is not None else [])
            self._disk.finish(self._finished)
        elif isinstance(effect, GotManifest):
            self._resolving = False
            self._disk.keep_seed(effect.data, self.fetch.digest, self._prepare)
        elif isinstance(effect, NoManifest):
            self._fail(VerificationError(f"no source has manifest {short(self.fetch.manifest)}: {effect.detail}"))

    # --- reports -----------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, detail: str = "") -> None:
        now = self._now()
        self._progress.enter(phase, detail, now)
        self._disk.recording.phase(phase, now)
        self._report(now)

    def _report(self, now: float) -> None:
        """Tell the agent how it goes, when that has changed."""
        limit = self._context.budget.bucket.rate
        report = self._progress.report(self._core, self.download, self._manifest, limit, now)
        if report is not None:
            self._context.tell_agent(report)

    def _now(self) -> float:
        return self._context.now()
