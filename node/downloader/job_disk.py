"""The disk side of one download: its files, its journal, and the worker threads that use them.

Has `job_work` done on threads, through the ports of its context, and brings the results back to the loop. Pieces are
written by several threads at once; what takes long is a chore, one at a time. Files are let go only when no thread uses
them any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from node.disk.piece_work import WorkTimes, verify_and_write_each
from node.disk.store import Buffer
from node.downloader import job_work
from node.downloader.job_context import JobContext
from node.downloader.job_work import Place, Published, Ready
from node.downloader.recording import Recording
from node.downloader.reuse import Reuse
from protocol.digest import short
from protocol.errors import ZswarmError
from protocol.limits import JOURNAL_GROUP_BYTES, JOURNAL_GROUP_SECONDS

log = logging.getLogger(__name__)


class Owner(Protocol):
    """The download whose disk it is."""

    def on_verified(self, piece: int, good: bool) -> None:
        """A piece was hashed and, if ``good``, written."""

    def on_unwritten(self, piece: int, error: BaseException) -> None:
        """A piece could not be written."""

    def on_missed(self, pieces: list[int]) -> None:
        """Pieces that were to be reused cannot be read."""

    def on_disk_error(self, error: BaseException) -> None:
        """A chore failed."""

    def on_let_go(self) -> None:
        """The files are closed, or deleted: what `JobDisk.let_go` asked for is done."""


class JobDisk:
    """Files and threads of one download. ``ready`` is set between the end of `prepare` and `let_go`."""

    def __init__(self, context: JobContext, owner: Owner) -> None:
        self.place: Place | None = None
        self.ready: Ready | None = None
        self.checked_bytes = 0
        self.recording = Recording()
        self.work_seconds = 0.0, 0.0
        """Of threads: what hashing and writing of pieces took so far."""
        self._context = context
        self._owner = owner
        self.reuse = Reuse(context.readers, context.store, self.write, owner.on_missed)
        self._arrived: list[tuple[int, Buffer]] = []
        self._writes = 0
        self._chore: Callable[[Any], None] | None = None
        self._next: list[tuple[str, Callable[[], object], Callable[[Any], None]]] = []
        self._letting_go = False
        self._discard = False
        self._releasing = False
        self._unsynced_bytes = 0
        self._synced_at = 0.0

    @property
    def idle(self) -> bool:
        """No thread works for this download and nothing is being let go."""
        return not (self._writes or self._chore or self._letting_go)

    @property
    def writing(self) -> bool:
        """Whether pieces are being verified and written: a piece may be thousands of files."""
        return self._writes > 0

    def keep_seed(self, data: bytes, digest: str, done: Callable[[Any], None]) -> None:
        """Check and store the fetched manifest ``data``; ``done`` gets the path of the seed file."""
        self._do("manifest", partial(job_work.keep_seed, self._context.store, data, digest), done)

    def prepare(self, place: Place, done: Callable[[Any], None]) -> None:
        """Look at the destination and make ready to write; ``done`` gets `Ready` or `Published`."""
        self.place = place
        self.checked_bytes = 0
        self._synced_at = self._context.now()
        self._do("check", partial(job_work.prepare, place, self._context.store, self._progress, self._stopped), done)

    def write(self, piece: int, data: Buffer) -> None:
        """Verify the data of ``piece`` and write it, once `begin_writing` is called; the owner hears of it."""
        self._arrived.append((piece, data))

    def begin_writing(self) -> None:
        """Give a thread all that `write` was called with since: what comes in one turn costs one hand-over."""
        if not self._arrived:
            return
        assert self.ready is not None
        pieces, self._arrived = self._arrived, []
        self._writes += 1
        times = WorkTimes(self._context.now)
        work = partial(verify_and_write_each, self.ready.partial, self.ready.manifest, pieces, times)
        self._context.writers.submit(partial(self._on_written, tuple(piece for piece, _ in pieces), times), work)

    def sync_when_due(self, now: float) -> None:
        """Make written pieces durable in groups, so that a crash costs little and syncing little too."""
        full = self._unsynced_bytes >= JOURNAL_GROUP_BYTES
        old = self._unsynced_bytes > 0 and now - self._synced_at >= JOURNAL_GROUP_SECONDS
        if not (full or old) or self._chore is not None or self.ready is None or self.place is None:
            return
        self._unsynced_bytes = 0
        self._synced_at = now
        self._do("sync", partial(job_work.sync, self.place, self.ready, self._context.store), lambda _: None)

    def finish(self, done: Callable[[Any], None]) -> None:
        """Check the whole and publish it, after the chore under way; ``done`` gets `Published`, or `Ready` when some
        of it has to be written again."""
        assert self.place is not None
        assert self.ready is not None
        self.checked_bytes = 0
        work = partial(job_work.finish, self.place, self.ready, self._context.store, self._progress, self._stopped)
        self._do("verify", work, done)

    def let_go(self, discard: bool) -> None:
        """Close the files, or with ``discard`` delete what there is, as soon as no thread uses them. That takes long
        too, so it is the last chore; the owner hears of its end."""
        self.reuse.stop()
        self.begin_writing()
        self._letting_go = True
        self._discard = self._discard or discard
        self._next.clear()
        self._settle()

    def stop(self) -> None:
        """The process ends: threads that check something give up, and those that write do after the file at hand."""
        self.reuse.stop()
        self.begin_writing()
        self._letting_go = True
        if self.ready is not None:
            self.ready.partial.interrupt()

    def save(self, ended: bool) -> None:
        """Note in the journal what is on disk, or do what `let_go` was asked for. ``ended``: no thread runs any more;
        what one did already is done again to no effect. Else nothing happens where one may be at work: as after a kill,
        what the journal names is on disk."""
        if ended or not (self._writes or self._chore):
            self._release(self._discard)
            self.ready = None

    # --- what threads bring back -------------------------------------------------------------------------

    def _on_written(
        self, pieces: Sequence[int], times: WorkTimes, results: list[bool | ZswarmError] | BaseException
    ) -> None:
        """A `verify_and_write_each` of ``pieces`` ended: each was written, is not what it should be, or failed."""
        hashing, writing = self.work_seconds
        self.work_seconds = hashing + times.hashing, writing + times.writing
        each = [results] * len(pieces) if isinstance(results, BaseException) else results
        for piece, span, result in zip(pieces, times.spans, each, strict=False):  # fewer if the thread itself failed
            self.recording.written(piece, *span, result is True)
        for piece, result in zip(pieces, each, strict=True):
            self.reuse.written(piece, result is True)
            if isinstance(result, BaseException):
                self._owner.on_unwritten(piece, result)
            else:
                if result and self.ready is not None:
                    self._unsynced_bytes += self.ready.manifest.piece_size(piece)
                self._owner.on_verified(piece, result)
        self._writes -= 1
        self._settle()

    def _on_chore(self, result: object) -> None:
        """The chore under way ended; an exception is its result too."""
        done, self._chore = self._chore, None
        self.recording.chores.turn(None, self._context.now())
        assert done is not None
        if isinstance(result, Ready):
            self.ready = result
        elif isinstance(result, Published):
            self.ready = None
        if self._releasing:
            done(result)
            return
        if not self._letting_go:
            if isinstance(result, BaseException):
                self._owner.on_disk_error(result)
            else:
                done(result)
        if self._next and self._chore is None:
            self._do(*self._next.pop(0))
        self._settle()

    def _do(self, name: str, work: Callable[[], object], done: Callable[[Any], None]) -> None:
        """Have a thread do ``work``, which a trace calls ``name``, after the chore under way."""
        if self._chore is not None:
            self._next.append((name, work, done))
            return
        self._chore = done
        self.recording.chores.turn(name, self._context.now())
        self._context.chores.submit(self._on_chore, work)

    def _settle(self) -> None:
        if not self._letting_go or self._writes or self._chore is not None:
            return
        self._releasing = True
        self._do("close", partial(self._release, self._discard), partial(self._let_go, self._discard))

    def _release(self, discard: bool) -> None:
        """What `let_go` is for; on a thread. Whoever asked cannot help what goes wrong."""
        if self.place is not None:
            try:
                job_work.release(self.place, self.ready, self._context.store, discard)
            except ZswarmError as error:
                log.warning(
                    "the partial download of %s beside %s: %s", short(self.place.digest), self.place.dest, error
                )

    def _let_go(self, discarded: bool, result: object) -> None:
        """`_release` ended."""
        if isinstance(result, BaseException):
            log.error("unexpected error", exc_info=result)
        self._releasing = False
        self.ready = None
        if self._discard and not discarded:  # cancelled while it was put away
            self._settle()
            return
        self._letting_go = False
        self._owner.on_let_go()

    def _progress(self, count: int) -> None:
        self.checked_bytes = count

    def _stopped(self) -> bool:
        return self._letting_go
