"""The downloader process: fetches what the agent orders, from many sources at once.

Shell that owns the process's sockets, worker threads and journal, and hands what comes in to the `job` it
is for. DEALERs lead to the agent (orders, reports) and to the piece server (what there is to serve while it grows).
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from itertools import count
from pathlib import Path
from random import Random

import zmq

from node.config import DownloaderSettings
from node.disk.journal import Journal
from node.downloader.job import FetchJob
from node.downloader.job_context import JobContext
from node.downloader.job_disk import JobDisk
from node.downloader.links import FetchLinks
from node.local_messages import (
    AGENT_SOCKET,
    PIECES_SOCKET,
    AgentToDownloader,
    CancelFetch,
    Fetch,
    Hello,
    Pause,
    PieceServerToDownloader,
    SourceLost,
    Sources,
)
from node.rate_limit import Budget
from node.workers import Workers
from protocol.codec import Decoder, encode
from protocol.limits import LOCAL_BYTES_MAX, UNDER_WAY_BYTES_MAX
from protocol.messages import Message
from transport.loop import Loop
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

log = logging.getLogger(__name__)

HELLO_SECONDS = 1.0
CHORE_THREADS = 2
"""For checks, syncs and final digests: two, so that one large check does not hold up every journal."""


class Downloader:
    """Sockets and threads of the downloader; its downloads by content digest."""

    def __init__(self, settings: DownloaderSettings, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._instance = secrets.randbits(48)
        self._piece_server_instance = 0
        self._jobs: dict[str, FetchJob] = {}
        self._next: dict[str, Fetch] = {}
        self._away = False
        self._hello_at = 0.0
        self._writers: Workers[tuple[JobDisk, int], bool] = Workers(settings.workers)
        self._chores: Workers[JobDisk, object] = Workers(CHORE_THREADS)
        self._journal = Journal(Path(settings.data_dir))
        self._links = FetchLinks(loop, context)
        self._agent = _dial(context, settings.runtime_dir, AGENT_SOCKET)
        self._pieces = _dial(context, settings.runtime_dir, PIECES_SOCKET)
        self._from_agent: Decoder[AgentToDownloader] = Decoder(AgentToDownloader, LOCAL_BYTES_MAX)
        self._from_pieces: Decoder[PieceServerToDownloader] = Decoder(PieceServerToDownloader, LOCAL_BYTES_MAX)
        self._shared = JobContext(
            loop=loop,
            links=self._links,
            writers=self._writers,
            chores=self._chores,
            journal=self._journal,
            budget=Budget(UNDER_WAY_BYTES_MAX, settings.download_rate, loop.now()),
            sessions=count(1),
            rng=Random(secrets.randbits(64)),
            data_dir=Path(settings.data_dir),
            tell_agent=self._tell_agent,
            tell_pieces=self._tell_pieces,
            wall_clock=time.time,
        )
        loop.add(self._agent, self._on_agent)
        loop.add(self._pieces, self._on_pieces)
        loop.add(self._writers.fd, self._on_written)
        loop.add(self._chores.fd, self._on_chores)

    def close(self) -> None:
        """Say goodbye, wait for the threads, note in the journal what is on disk."""
        for job in self._jobs.values():
            job.stop()
        self._loop.remove(self._writers.fd)
        self._loop.remove(self._chores.fd)
        self._writers.close()
        self._chores.close()
        for job in self._jobs.values():
            job.save()
        self._links.close()
        self._journal.close()
        for socket in (self._agent, self._pieces):
            self._loop.remove(socket)
            socket.close()

    def tick(self, now: float) -> float | None:
        """Called by the loop after every turn; returns when to be called at the latest."""
        if now >= self._hello_at:
            self._hello_at = now + HELLO_SECONDS
            hello = Hello("downloader", self._instance, os.getpid())
            self._tell_agent(hello)
            self._tell_pieces(hello)
        due = self._hello_at
        for digest, job in list(self._jobs.items()):
            due = min(due, job.tick(now) or due)
            if job.over:
                del self._jobs[digest]
                if digest in self._next:
                    self._fetch(self._next.pop(digest))
        return due

    # --- agent -------------------------------------------------------------------------------------------

    def _on_agent(self) -> None:
        for frames in drain(self._agent):
            self.order(self._from_agent.decode(frames[0].buffer))

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

    def _to_job(self, message: Sources | CancelFetch) -> None:
        if isinstance(message, CancelFetch):
            self._next.pop(message.digest, None)
        job = self._jobs.get(message.digest)
        if job is None:
            return
        if isinstance(message, Sources):
            job.found(message.seeders)
        else:
            job.cancel()

    def _fetch(self, message: Fetch) -> None:
        """A new order; one that is being carried out already is an agent's that was restarted, and one for what was
        just cancelled waits until nothing of that is left."""
        job = self._jobs.get(message.digest)
        if job is None:
            self._jobs[message.digest] = job = FetchJob(message, self._shared)
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

    def _tell_agent(self, message: Message) -> None:
        send_or_drop(self._agent, [encode(message, LOCAL_BYTES_MAX)])

    # --- piece server ------------------------------------------------------------------------------------

    def _on_pieces(self) -> None:
        for frames in drain(self._pieces):
            message = self._from_pieces.decode(frames[0].buffer)
            if isinstance(message, Hello):
                if message.instance != self._piece_server_instance:
                    self._piece_server_instance = message.instance
                    for job in self._jobs.values():
                        job.serve()
            elif message.digest in self._jobs:
                self._jobs[message.digest].serving()

    def _tell_pieces(self, message: Message) -> None:
        send_or_drop(self._pieces, [encode(message, LOCAL_BYTES_MAX)])

    # --- worker threads ----------------------------------------------------------------------------------

    def _on_written(self) -> None:
        for (disk, piece), result in self._writers.results():
            disk.on_written(piece, result)

    def _on_chores(self) -> None:
        for disk, result in self._chores.results():
            disk.on_chore(result)


def _dial(context: zmq.Context[zmq.Socket[bytes]], runtime_dir: str, name: str) -> zmq.Socket[bytes]:
    socket = open_socket(context, Role.LOCAL_DEALER)
    connect(socket, ipc_endpoint(Path(runtime_dir), name))
    return socket
