"""The downloader process: fetches what the agent orders, from many sources at once.

Shell that owns the process's sockets, worker threads and journal, and hands what comes in to the `core`. DEALERs lead
to the agent (orders, reports) and to the piece server (what there is to serve while it grows).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import zmq

from node.config import DownloaderSettings
from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.downloader.core import DownloaderCore
from node.downloader.job_context import JobContext
from node.downloader.links import FetchLinks
from node.local_messages import (
    AGENT_SOCKET,
    PIECES_SOCKET,
    AgentToDownloader,
    PieceServerToDownloader,
)
from node.rate_limit import Budget
from node.workers import END_SECONDS, Workers
from protocol.codec import Decoder, encode
from protocol.limits import LOCAL_BYTES_MAX, UNDER_WAY_BYTES_MAX
from protocol.messages import Message
from transport.loop import Loop
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, connect, drain, open_socket, send_or_drop

CHORE_THREADS = 2
"""For checks, syncs and final digests: two, so that one large check does not hold up every journal."""


class Downloader:
    """Sockets and threads of the downloader, around its core."""

    def __init__(self, settings: DownloaderSettings, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._loop = loop
        self._writers: Workers[Callable[[Any], None], object] = Workers(settings.workers)
        self._chores: Workers[Callable[[Any], None], object] = Workers(CHORE_THREADS)
        self._journal = Journal(Path(settings.data_dir))
        self._links = FetchLinks(loop, context)
        self._agent = _dial(context, settings.runtime_dir, AGENT_SOCKET)
        self._pieces = _dial(context, settings.runtime_dir, PIECES_SOCKET)
        self._from_agent: Decoder[AgentToDownloader] = Decoder(AgentToDownloader, LOCAL_BYTES_MAX)
        self._from_pieces: Decoder[PieceServerToDownloader] = Decoder(PieceServerToDownloader, LOCAL_BYTES_MAX)
        shared = JobContext(
            now=loop.now,
            links=self._links,
            writers=self._writers,
            chores=self._chores,
            store=DiskStore(Path(settings.data_dir), self._journal),
            budget=Budget(UNDER_WAY_BYTES_MAX, settings.download_rate, loop.now()),
            sessions=count(1),
            rng=Random(secrets.randbits(64)),
            tell_agent=self._tell_agent,
            tell_pieces=self._tell_pieces,
        )
        self._core = DownloaderCore(shared, secrets.randbits(48), os.getpid())
        loop.add(self._agent, self._on_agent)
        loop.add(self._pieces, self._on_pieces)
        for workers in (self._writers, self._chores):
            loop.add(workers.fd, partial(self._on_done, workers))

    def close(self) -> None:
        """Say goodbye, wait a moment for the threads, note in the journal what is on disk."""
        self._core.stop()
        self._loop.remove(self._writers.fd)
        self._loop.remove(self._chores.fd)
        written = self._writers.close(END_SECONDS)
        self._core.save(self._chores.close(END_SECONDS) and written)
        self._links.close()
        self._journal.close()
        for socket in (self._agent, self._pieces):
            self._loop.remove(socket)
            socket.close()

    def tick(self, now: float) -> float:
        """Called by the loop after every turn; returns when to be called at the latest."""
        return self._core.tick(now)

    def _on_agent(self) -> None:
        for frames in drain(self._agent):
            self._core.order(self._from_agent.decode(frames[0].buffer))

    def _tell_agent(self, message: Message) -> None:
        send_or_drop(self._agent, [encode(message, LOCAL_BYTES_MAX)])

    def _on_pieces(self) -> None:
        for frames in drain(self._pieces):
            self._core.pieces_say(self._from_pieces.decode(frames[0].buffer))

    def _tell_pieces(self, message: Message) -> None:
        send_or_drop(self._pieces, [encode(message, LOCAL_BYTES_MAX)])

    @staticmethod
    def _on_done(workers: Workers[Callable[[Any], None], object]) -> None:
        for done, result in workers.results():
            done(result)


def _dial(context: zmq.Context[zmq.Socket[bytes]], runtime_dir: str, name: str) -> zmq.Socket[bytes]:
    socket = open_socket(context, Role.LOCAL_DEALER)
    connect(socket, ipc_endpoint(Path(runtime_dir), name))
    return socket
