"""The downloader process without its sockets and threads: its downloads by content digest, and who is told of them.

Decides which download an order is for, which order has to wait, and when to say hello. Acts only through the ports of
its `JobContext`: it has no sockets, threads, files or clock. What is done for one download is decided in `job`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from node.disk.store import JournalEntry
from node.downloader.abandoned import Abandoned
from node.downloader.job import FetchJob
from node.downloader.job_context import JobContext
from node.downloader.job_disk import JobDisk
from node.downloader.job_work import Place
from node.downloader.recording import EndedTraces
from node.local_messages import (
    HELLO_SECONDS,
    AgentToDownloader,
    Collect,
    Copies,
    DeleteFetch,
    Fetch,
    GetTrace,
    Hello,
    Limit,
    LocalCopy,
    Mend,
    Pause,
    PieceServerToDownloader,
    Room,
    SourceLost,
    Sources,
    StopFetch,
    Traced,
)
from node.trace import Trace


class _Deletion:
    """Owner of the disk of a download that is deleted and nothing else; ``on_let_go`` is called at the end."""

    def __init__(self, on_let_go: Callable[[], None]) -> None:
        self.on_let_go = on_let_go

    def on_verified(self, piece: int, good: bool) -> None:
        raise AssertionError(f"piece {piece} of a deletion was verified as {good}")

    def on_unwritten(self, piece: int, error: BaseException) -> None:
        raise AssertionError(f"piece {piece} of a deletion could not be written") from error

    def on_missed(self, pieces: list[int]) -> None:
        raise AssertionError(f"pieces {pieces} of a deletion were to be reused")

    def on_disk_error(self, error: BaseException) -> None:
        raise AssertionError("a deletion has no chore but its last") from error


class DownloaderCore:
    """All downloads of a process. ``instance`` and ``pid`` are what its hellos say."""

    def __init__(self, context: JobContext, instance: int, pid: int) -> None:
        self._context = context
        self._hello = Hello("downloader", instance, pid)
        self._hello_at = 0.0
        self._agent_instance = 0
        self._piece_server_instance = 0
        self._jobs: dict[str, FetchJob] = {}
        self._next: dict[str, Fetch | Mend] = {}
        self._copies: dict[str, list[LocalCopy]] = {}
        """Of downloads that are to begin."""
        self._deletions: dict[str, JobDisk] = {}
        """Of what earlier runs left, by destination."""
        self._abandoned = Abandoned(context, self._is_busy, self._delete)
        self._ended = EndedTraces()
        self._away = False

    @property
    def jobs(self) -> Mapping[str, FetchJob]:
        """The downloads that are under way or just ended, by content digest."""
        return self._jobs

    def order(self, message: AgentToDownloader) -> None:
        """Do what the agent says."""
        if isinstance(message, Fetch | Mend):
            self._fetch(message)
        elif isinstance(message, Copies):
            self._copies[message.digest] = message.copies
        elif isinstance(message, Pause):
            self._pause(message.paused)
        elif isinstance(message, SourceLost):
            for digest, job in self._jobs.items():
                if message.digest in ("", digest):
                    job.peer_lost(message.peer)
        elif isinstance(message, Sources | StopFetch):
            self._to_job(message)
        elif isinstance(message, DeleteFetch | Collect):
            self._remove(message)
        elif isinstance(message, GetTrace):
            self._context.tell_agent(Traced(message.tag, self._trace(message.digest)))
        elif isinstance(message, Limit):
            self._context.budget.bucket.set_rate(message.rate, self._context.now())
        elif message.instance != self._agent_instance:
            self._meet_agent(message)

    def pieces_say(self, message: PieceServerToDownloader) -> None:
        """The piece server said this; one that was started again is told what there is to serve."""
        if isinstance(message, Hello):
            if message.instance != self._piece_server_instance:
                self._piece_server_instance = message.instance
                for job in self._jobs.values():
                    job.serve()
        elif message.digest in self._jobs:
            job = self._jobs[message.digest]
            if isinstance(message, Room):
                job.set_room(message.count)
            else:
                job.serving()

    def tick(self, now: float) -> float:
        """Do what is due, and forget downloads that are over; return when to be called at the latest."""
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            self._context.tell_agent(replace(self._hello, totals=replace(self._context.totals)))
            self._context.tell_pieces(self._hello)
        due = self._hello_at
        for digest, job in list(self._jobs.items()):
            due = min(due, job.tick(now) or due)
            if job.over:
                self._ended.keep(job.trace())
                del self._jobs[digest]
                for waiting in list(self._next.values()):
                    if digest == waiting.digest or job.fetch.dest == waiting.dest:
                        self._fetch(self._next.pop(waiting.digest))
        return due

    def stop(self) -> None:
        """The process ends: say goodbye to all sources, make work under way give up."""
        for job in self._jobs.values():
            job.stop()
        for disk in self._deletions.values():
            disk.stop()

    def save(self, ended: bool) -> None:
        """Note in the journal what is on disk. ``ended``: no thread is at work any more; else a download for which one
        may be stays as it is."""
        for job in self._jobs.values():
            job.save(ended)
        for disk in self._deletions.values():
            disk.save(ended)

    def check_invariants(self) -> None:
        """Raise AssertionError when the books of a download do not agree with each other (for the simulator)."""
        for job in self._jobs.values():
            if job.download is not None:
                job.download.check_invariants()

    def _meet_agent(self, message: Hello) -> None:
        """It may know nothing of the downloads: they were cancelled before it was heard."""
        self._agent_instance = message.instance
        for job in self._jobs.values():
            job.report_again()

    def _to_job(self, message: Sources | StopFetch) -> None:
        if isinstance(message, StopFetch):
            self._next.pop(message.digest, None)
        job = self._jobs.get(message.digest)
        if job is None:
            return
        if isinstance(message, Sources):
            if message.cells:
                job.note_grid(message.cell, message.cells)
            job.found(message.seeders, message.listed)
        else:
            job.halt()

    def _remove(self, message: DeleteFetch | Collect) -> None:
        if isinstance(message, Collect):
            self._abandoned.order(message)
        else:
            self._delete(message)

    def _delete(self, message: DeleteFetch) -> None:
        """Have nothing of a download any more: the one that is under way, or what an earlier run left."""
        waiting, job = self._next.get(message.digest), self._jobs.get(message.digest)
        if waiting is not None and waiting.dest == message.dest:
            del self._next[message.digest]
        if job is not None and job.fetch.dest == message.dest:
            job.cancel()
        elif message.dest not in self._deletions:
            deletion = _Deletion(partial(self._deleted, message.dest))
            disk = self._deletions[message.dest] = JobDisk(self._context, deletion)
            disk.place = Place(message.digest, message.seed_path, message.dest, force=False)
            disk.let_go(discard=True)

    def _trace(self, digest: str) -> Trace | None:
        job = self._jobs.get(digest)
        return self._ended.get(digest) if job is None else job.trace()

    def _is_busy(self, entry: JournalEntry) -> bool:
        """Whether it is being fetched, is to be, or is being deleted."""
        return entry.digest in self._jobs or entry.digest in self._next or entry.dest in self._deletions

    def _deleted(self, dest: str) -> None:
        del self._deletions[dest]
        self._abandoned.deleted(dest)
        for digest, fetch in list(self._next.items()):
            if fetch.dest == dest and digest not in self._jobs:
                self._fetch(self._next.pop(digest))

    def _fetch(self, message: Fetch | Mend) -> None:
        """A new order. One that is being carried out already comes from an agent that was restarted. When it is for
        another manifest or place, the end of what is being carried out got lost on its way. An order for what has just
        ended, or for a place where something has just ended or is being deleted, waits until nothing of that is
        left."""
        job = self._jobs.get(message.digest)
        if job is not None and not job.ended:
            if job.fetch.dest != message.dest:
                job.halt()
            elif job.fetch.manifest != message.manifest:
                job.cancel()
        ends = any(other.ended and message.dest == other.fetch.dest for other in self._jobs.values())
        if message.dest in self._deletions or ends or (job is not None and job.ended):
            self._next[message.digest] = message
        elif job is None:
            copies = self._copies.pop(message.digest, [])
            self._jobs[message.digest] = job = self._job_for(message, copies)
            job.start(self._away)
        else:
            self._copies.pop(message.digest, None)
            job.report_again()

    def _job_for(self, order: Fetch | Mend, copies: list[LocalCopy]) -> FetchJob:
        if isinstance(order, Fetch):
            return FetchJob(order, self._context, copies)
        what = (order.digest, order.manifest, order.name, order.length, order.dest, order.seed_path)
        return FetchJob(Fetch(*what, force=False, sequential=False), self._context, copies, order.stamps)

    def _pause(self, paused: bool) -> None:
        if paused != self._away:
            self._away = paused
            for job in self._jobs.values():
                job.set_away(paused)
