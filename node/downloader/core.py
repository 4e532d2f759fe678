"""The downloader process without its sockets and threads: its downloads by content digest, and who is told of them.

Decides which download an order is for, which order has to wait, and when to say hello. Acts only through the ports of
its `JobContext`: it has no sockets, threads, files or clock. What is done for one download is decided in `job`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.downloader.job import FetchJob
from node.downloader.job_context import JobContext
from node.downloader.job_disk import JobDisk, Written
from node.local_messages import (
    AgentToDownloader,
    CancelFetch,
    Fetch,
    Hello,
    Pause,
    PieceServerToDownloader,
    SourceLost,
    Sources,
)

HELLO_SECONDS = 1.0


class DownloaderCore:
    """All downloads of a process. ``instance`` and ``pid`` are what its hellos say."""

    def __init__(self, context: JobContext, instance: int, pid: int) -> None:
        self._context = context
        self._hello = Hello("downloader", instance, pid)
        self._hello_at = 0.0
        self._agent_instance = 0
        self._piece_server_instance = 0
        self._jobs: dict[str, FetchJob] = {}
        self._next: dict[str, Fetch] = {}
        self._away = False

    @property
    def jobs(self) -> Mapping[str, FetchJob]:
        """The downloads that are under way or just ended, by content digest."""
        return self._jobs

    def order(self, message: AgentToDownloader) -> None:
        """Do what the agent says."""
        if isinstance(message, Fetch):
            self._fetch(message)
        elif isinstance(message, Pause):
            self._pause(message.paused)
        elif isinstance(message, SourceLost):
            for digest, job in self._jobs.items():
                if message.digest in ("", digest):
                    job.peer_lost(message.peer)
        elif isinstance(message, Sources | CancelFetch):
            self._to_job(message)
        elif message.instance != self._agent_instance:
            self._agent_instance = message.instance
            for job in self._jobs.values():
                job.report_again()  # it may know nothing of them: they were cancelled before it was heard

    def pieces_say(self, message: PieceServerToDownloader) -> None:
        """The piece server said this; one that was started again is told what there is to serve."""
        if isinstance(message, Hello):
            if message.instance != self._piece_server_instance:
                self._piece_server_instance = message.instance
                for job in self._jobs.values():
                    job.serve()
        elif message.digest in self._jobs:
            self._jobs[message.digest].serving()

    def written(self, disk: JobDisk, pieces: Sequence[int], results: Written | BaseException) -> None:
        """What ``writers`` were given for ``disk`` and ``pieces`` ended."""
        disk.on_written(pieces, results)

    def chore_done(self, disk: JobDisk, result: object) -> None:
        """What ``chores`` were given for ``disk`` ended; an exception is its result too."""
        disk.on_chore(result)

    def tick(self, now: float) -> float:
        """Do what is due, and forget downloads that are over; return when to be called at the latest."""
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            self._context.tell_agent(self._hello)
            self._context.tell_pieces(self._hello)
        due = self._hello_at
        for digest, job in list(self._jobs.items()):
            due = min(due, job.tick(now) or due)
            if job.over:
                del self._jobs[digest]
                if digest in self._next:
                    self._fetch(self._next.pop(digest))
        return due

    def stop(self) -> None:
        """The process ends: say goodbye to all sources, make work under way give up."""
        for job in self._jobs.values():
            job.stop()

    def save(self) -> None:
        """Note in the journal what is on disk. Nothing is at work any more."""
        for job in self._jobs.values():
            job.save()

    def check_invariants(self) -> None:
        """Raise AssertionError when the books of a download do not agree with each other (for the simulator)."""
        for job in self._jobs.values():
            if job.download is not None:
                job.download.check_invariants()

    def _to_job(self, message: Sources | CancelFetch) -> None:
        if isinstance(message, CancelFetch):
            self._next.pop(message.digest, None)
        job = self._jobs.get(message.digest)
        if job is None:
            return
        if isinstance(message, Sources):
            job.found(message.seeders, message.listed)
        else:
            job.cancel()

    def _fetch(self, message: Fetch) -> None:
        """A new order; one that is being carried out already is an agent's that was restarted, and one for what was
        just cancelled waits until nothing of that is left."""
        job = self._jobs.get(message.digest)
        if job is None:
            self._jobs[message.digest] = job = FetchJob(message, self._context)
            job.start(self._away)
        elif job.ended:
            self._next[message.digest] = message
        else:
            job.report_again()

    def _pause(self, paused: bool) -> None:
        if paused != self._away:
            self._away = paused
            for job in self._jobs.values():
                job.set_away(paused)
