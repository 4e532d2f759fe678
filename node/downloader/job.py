"""One download as the downloader process carries it out, from the order to the final name.

Shell around `manifest_fetch` and `download`: performs their effects through `links`, hands the
data of pieces to worker threads, tells the agent and the piece server. Phases::

    resolving --> checking --> downloading --> verifying --> done
    (manifest)    (disk)  ^        |
                          |      disk full, left the network
                          '----- paused
    any phase --> failed

What takes long runs on threads (`job_work`); its result comes back through `on_chore`. One chore at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from node.disk.errors import NoSpaceError
from node.disk.piece_work import verify_and_write
from node.downloader import job_work
from node.downloader.download import Completed, Download, Gained, NeedSources, SourceMessage, Write
from node.downloader.job_context import JobContext
from node.downloader.job_report import source_reports, waiting_for
from node.downloader.job_work import Place, Published, Ready
from node.downloader.manifest_fetch import GotManifest, ManifestFetch, NoManifest
from node.downloader.rate_meter import RateMeter
from node.downloader.source import Banned, Connect, Disconnect, Send
from node.local_messages import (
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Fetch,
    Held,
    Phase,
    Serve,
    Unserve,
)
from node.local_messages import NeedSources as NeedSourcesMessage
from protocol.digest import short
from protocol.errors import VerificationError, ZswarmError
from protocol.limits import JOURNAL_GROUP_BYTES, JOURNAL_GROUP_SECONDS, REPLY_BYTES_MAX
from protocol.manifest import Manifest
from protocol.messages import Piece, SeederEntry

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.25
DISK_RETRY_SECONDS = 5.0


class FetchJob:
    """One download. ``over`` once it ended and nothing of it runs any more."""

    def __init__(self, fetch: Fetch, context: JobContext) -> None:
        self.fetch = fetch
        self.over = False
        self._context = context
        self._phase: Phase = "resolving"
        self._detail = ""
        self._place: Place | None = None
        self._ready: Ready | None = None
        self._manifest: Manifest | None = None
        self._core: ManifestFetch | Download | None = None
        self._download: Download | None = None
        self._letting_go = False
        self._sources: dict[str, SeederEntry] = {}
        self._frame: zmq.Frame | None = None
        self._writes = 0
        self._chore: Callable[[Any], None] | None = None
        self._cancelled = False
        self._away = False
        self._checked_bytes = 0
        self._received_before = 0
        self._resumed_bytes = 0
        self._unsynced_bytes = 0
        self._synced_at = 0.0
        self._retry_at: float | None = None
        self._rate = RateMeter()
        self._report_at = 0.0
        self._reported: DownloadReport | None = None

    # --- orders from the agent ---------------------------------------------------------------------------

    def start(self, away: bool) -> None:
        """Begin: with the seed at hand look at the disk, otherwise ask peers for the manifest. ``away`` as in
        `set_away`."""
        self._away = away
        if self.fetch.seed_path:
            self._prepare(Path(self.fetch.seed_path))
            return
        self._core = ManifestFetch(self.fetch.digest, self.fetch.manifest, self._context.sessions)
        self._enter("resolving", "asking for the manifest")

    def found(self, seeders: Sequence[SeederEntry]) -> None:
        """Sources, to be used now or as soon as there is something to ask of them."""
        self._sources.update((entry.peer, entry) for entry in seeders)
        if self._core is not None and not self._away:
            self._perform(self._core.found(seeders, self._now()))

    def peer_lost(self, peer: str) -> None:
        self._sources.pop(peer, None)
        if self._core is not None:
            self._perform(self._core.peer_lost(peer, self._now()))

    def set_away(self, away: bool) -> None:
        """The peer left the network, or is back in it."""
        self._away = away
        if isinstance(self._core, Download):
            self._perform(self._core.pause(self._now()) if away else self._core.resume(self._now()))
            self._enter("paused" if away else "downloading", "the peer has left the network" if away else "")
        if not away:
            self.found(list(self._sources.values()))

    def cancel(self) -> None:
        """Stop, and delete what there is."""
        self._cancelled = True
        self._stop_core()
        self._context.tell_pieces(Unserve(self.fetch.digest))
        self._enter("failed", "cancelled")
        self._let_go()

    def report_again(self) -> None:
        """A new agent asks: say everything it may have missed."""
        self._reported = None
        self._report(self._now())
        self.serve()

    def stop(self) -> None:
        """The process ends: say goodbye and make threads stop. `save` comes when they have."""
        self._cancelled = True
        self._stop_core()

    def save(self) -> None:
        """Note in the journal what is on disk. No worker thread runs any more."""
        if self._place is None or self._ready is None or self.over:
            return
        job_work.put_away(self._place, self._ready, self._context.journal)

    # --- what sources do (node.downloader.links.Listener) -----------------------------------------------------

    def on_connected(self, session: int) -> None:
        if self._core is not None:
            self._perform(self._core.connected(session, self._now()))

    def on_lost(self, session: int) -> None:
        if self._core is not None:
            self._perform(self._core.disconnected(session, self._now()))
        self._context.links.disconnect(session)

    def on_message(self, session: int, message: SourceMessage) -> None:
        if self._core is not None:
            self._perform(self._core.handle(session, message, self._now()))

    def on_piece(self, session: int, header: Piece, data: zmq.Frame) -> None:
        if isinstance(self._core, Download):
            self._frame = data
            self._perform(self._core.piece(session, header, len(data), self._now()))
            self._frame = None

    def on_misbehaved(self, session: int, reason: str) -> None:
        if self._core is not None:
            self._perform(self._core.misbehaved(session, reason, self._now()))
        self._context.links.disconnect(session)

    # --- what worker threads bring back ------------------------------------------------------------------

    def on_written(self, piece: int, result: bool | BaseException) -> None:
        """A `verify_and_write` ended."""
        self._writes -= 1
        download = self._download
        assert download is not None
        if isinstance(result, bool):
            effects = download.written(piece, result, self._now())
            if download is self._core:
                self._perform(effects)
        else:
            download.write_failed(piece)
            self._disk_trouble(result)
        self._settle()

    def on_chore(self, result: object) -> None:
        """The chore under way ended; an exception is its result too."""
        done, self._chore = self._chore, None
        assert done is not None
        if isinstance(result, Ready):
            self._ready = result
        if isinstance(result, BaseException):
            self._disk_trouble(result)
        elif not self._letting_go:
            done(result)
        self._settle()

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Do what is due; return when to be called at the latest."""
        if self.over:
            return None
        due = now + REPORT_SECONDS
        if self._core is not None:
            self._perform(self._core.tick(now))
        if self._core is not None:
            due = min(due, self._core.next_deadline(now) or due)
        if self._retry_at is not None and now >= self._retry_at and not self._letting_go:
            self._retry_at = None
            assert self._place is not None
            self._prepare(self._place.seed_path)
        self._sync_when_due(now)
        if now >= self._report_at:
            self._report(now)
        return due

    # --- phases ------------------------------------------------------------------------------------------

    def _prepare(self, seed_path: Path) -> None:
        fetch = self.fetch
        self._place = Place(fetch.digest, seed_path, Path(fetch.dest), fetch.force)
        self._checked_bytes = 0
        self._enter("checking")
        journal = self._context.journal
        self._do(partial(job_work.prepare, self._place, journal, self._progress, self._is_cancelled), self._prepared)

    def _prepared(self, result: Ready | Published) -> None:
        if isinstance(result, Published):
            self._resumed_bytes = result.manifest.length
            self._published(result)
            return
        self._manifest = manifest = result.manifest
        core = Download(
            manifest.digest,
            manifest.length,
            manifest.piece_length,
            result.have,
            self._context.budget,
            self._context.sessions,
            self._context.rng,
            self.fetch.sequential,
        )
        if self._download is not None:
            self._received_before += self._download.received_bytes
        self._core = self._download = core
        self._resumed_bytes = core.done_bytes
        self._synced_at = self._now()
        self._enter("downloading")
        self.serve()
        self._perform(core.start(self._now()))
        if self._away:
            self.set_away(True)
        else:
            self.found(list(self._sources.values()))

    def serve(self) -> None:
        """Tell the piece server what there is to give; said again when either process was restarted."""
        if self._ready is None or self._place is None or not isinstance(self._core, Download):
            return
        root, bits = str(self._ready.partial.root), self._core.have.to_bytes()
        self._context.tell_pieces(Serve(self.fetch.digest, self.fetch.manifest, str(self._place.seed_path), root, bits))

    def serving(self) -> None:
        """The piece server acknowledged `serve`: from now on this peer is a source."""
        if self._ready is None or self._place is None or self._phase in ("done", "failed"):
            return
        manifest = self._ready.manifest
        self._context.tell_agent(
            DownloadStarted(
                self.fetch.digest, str(self._place.seed_path), self.fetch.manifest, manifest.name, manifest.length
            )
        )

    def _complete(self) -> None:
        """Every piece is there: check the whole and publish it, once the last chore is done."""
        assert self._place is not None
        assert self._ready is not None
        self._checked_bytes = 0
        self._enter("verifying")
        self._perform(self._core.close(self._now()) if isinstance(self._core, Download) else [])
        work = partial(
            job_work.finish, self._place, self._ready, self._context.journal, self._progress, self._is_cancelled
        )
        self._do(work, self._published)

    def _published(self, result: Published) -> None:
        self._manifest = manifest = result.manifest
        place = self._place
        assert place is not None
        if self._ready is not None:
            self.serve()
        self._enter("done")
        self._context.tell_agent(
            DownloadFinished(
                self.fetch.digest,
                self.fetch.manifest,
                manifest.name,
                manifest.length,
                str(result.path),
                str(place.seed_path),
                result.stamps,
                self._context.wall_clock(),
            )
        )
        log.info("%s is complete and verified at %s", short(self.fetch.digest), result.path)
        self.over = True

    def _fail(self, error: BaseException) -> None:
        code = error.code if isinstance(error, ZswarmError) else "internal"
        detail = str(error) or type(error).__name__
        log.warning("download of %s failed: %s", short(self.fetch.digest), detail)
        if not isinstance(error, (ZswarmError, OSError)):
            log.error("unexpected error", exc_info=error)
        self._stop_core()
        self._context.tell_pieces(Unserve(self.fetch.digest))
        self._enter("failed", detail)
        self._context.tell_agent(DownloadFailed(self.fetch.digest, code, detail))
        self._let_go()

    def _disk_trouble(self, error: BaseException) -> None:
        """Something could not be written or read. A full disk pauses a download that had begun; the rest ends it."""
        if self._letting_go:
            return
        if not isinstance(error, NoSpaceError) or self._download is None:
            self._fail(error)
            return
        log.warning("download of %s is paused: %s", short(self.fetch.digest), error)
        self._stop_core()
        self._retry_at = self._now() + DISK_RETRY_SECONDS
        self._enter("paused", str(error))
        self._let_go()

    def _let_go(self) -> None:
        """Close the files as soon as no thread uses them."""
        self._letting_go = True
        self._settle()

    def _settle(self) -> None:
        if not self._letting_go or self._writes or self._chore is not None:
            return
        self._letting_go = False
        if self._ready is not None and self._place is not None:
            put_away = job_work.abandon if self._cancelled else job_work.put_away
            put_away(self._place, self._ready, self._context.journal)
        self._ready = None
        self.over = self._retry_at is None

    # --- effects -----------------------------------------------------------------------------------------

    def _perform(self, effects: Sequence[object]) -> None:
        """Carry out what a core decided, in order."""
        for effect in effects:
            if isinstance(effect, Send):
                self._context.links.send(effect.session, effect.message)
            elif isinstance(effect, Write):
                self._write(effect.piece)
            elif isinstance(effect, Gained):
                self._gained(effect.piece)
            elif isinstance(effect, Connect):
                self._context.links.connect(effect.session, effect.endpoint, self._frame_bytes(), self)
            elif isinstance(effect, Disconnect):
                self._context.links.disconnect(effect.session)
            elif isinstance(effect, Banned):
                log.warning("%s: banned %s: it %s", short(self.fetch.digest), effect.name or effect.peer, effect.reason)
            else:
                self._perform_rare(effect)

    def _perform_rare(self, effect: object) -> None:
        if isinstance(effect, NeedSources):
            self._context.tell_agent(NeedSourcesMessage(self.fetch.digest))
        elif isinstance(effect, Completed):
            self._complete()
        elif isinstance(effect, GotManifest):
            self._core = None
            keep = partial(job_work.keep_seed, self._context.data_dir, effect.data, self.fetch.digest)
            self._do(keep, self._prepare)
        elif isinstance(effect, NoManifest):
            self._fail(VerificationError(f"no source has manifest {short(self.fetch.manifest)}: {effect.detail}"))

    def _frame_bytes(self) -> int:
        return REPLY_BYTES_MAX if self._ready is None else self._ready.manifest.piece_length

    def _write(self, piece: int) -> None:
        assert self._frame is not None
        assert self._ready is not None
        self._writes += 1
        work = partial(verify_and_write, self._ready.partial, self._ready.manifest, piece, self._frame.buffer)
        self._context.writers.submit((self, piece), work)

    def _gained(self, piece: int) -> None:
        assert self._ready is not None
        self._unsynced_bytes += self._ready.manifest.piece_size(piece)
        self._context.tell_pieces(Held(self.fetch.digest, [piece]))

    # --- chores ------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], object], done: Callable[[Any], None]) -> None:
        """Run ``work`` on a thread, after the chore under way, then call ``done`` with its result."""
        if self._chore is not None:
            before = self._chore

            def chained(result: Any) -> None:
                before(result)
                self._do(work, done)

            self._chore = chained
            return
        self._chore = done
        self._context.chores.submit(self, work)

    def _sync_when_due(self, now: float) -> None:
        """Make written pieces durable in groups, so that a crash costs little and fsync little too."""
        full = self._unsynced_bytes >= JOURNAL_GROUP_BYTES
        old = self._unsynced_bytes and now - self._synced_at >= JOURNAL_GROUP_SECONDS
        if not (full or old) or self._chore is not None or self._phase != "downloading":
            return
        assert self._place is not None
        assert self._ready is not None
        self._unsynced_bytes = 0
        self._synced_at = now
        work = partial(job_work.sync, self._place, self._ready, self._context.journal)
        self._do(work, lambda _: None)

    def _progress(self, count: int) -> None:
        self._checked_bytes = count

    def _is_cancelled(self) -> bool:
        return self._cancelled

    def _stop_core(self) -> None:
        core, self._core = self._core, None
        if core is not None:
            self._perform(core.close(self._now()))

    # --- reports -----------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, detail: str = "") -> None:
        self._phase, self._detail = phase, detail
        self._report(self._now())

    def _report(self, now: float) -> None:
        """Tell the agent how it goes, when that has changed."""
        self._report_at = now + REPORT_SECONDS
        report = self._make_report(now)
        if report != self._reported:
            self._reported = report
            self._context.tell_agent(report)

    def _make_report(self, now: float) -> DownloadReport:
        download = self._download
        manifest = self._manifest
        received = self._received_before + (download.received_bytes if download is not None else 0)
        waiting = waiting_for(download) if download is not None and self._phase == "downloading" else ""
        return DownloadReport(
            digest=self.fetch.digest,
            phase=self._phase,
            length=manifest.length if manifest is not None else self.fetch.length,
            pieces=manifest.piece_count if manifest is not None else 0,
            done_pieces=download.have.count_set if download is not None else 0,
            done_bytes=download.done_bytes if download is not None else 0,
            checked_bytes=self._checked_bytes,
            received_bytes=received,
            resumed_bytes=self._resumed_bytes,
            rate=self._rate.rate(received, now),
            sources=source_reports(download, self._sources),
            banned=list(download.banned) if download is not None else [],
            detail=self._detail or waiting,
        )

    def _now(self) -> float:
        return self._context.loop.now()
