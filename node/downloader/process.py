"""The downloader process: fetches what the agent orders, from many sources at once.

Shell that owns the process's connections and worker threads, and hands what comes in to the `core`. It speaks to the
agent (orders, reports) and to the piece server (what there is to serve while it grows).
"""

from __future__ import annotations

from itertools import count
from random import Random

from node.disk.store import Store
from node.downloader.core import DownloaderCore
from node.downloader.job_context import JobContext
from node.downloader.links import FetchLinks
from node.host import Host
from node.local_messages import AGENT_SOCKET, PIECES_SOCKET, AgentToDownloader, PieceServerToDownloader
from node.rate_limit import Budget
from node.workers import END_SECONDS
from protocol.codec import Decoder
from protocol.limits import LOCAL_BYTES_MAX, UNDER_WAY_BYTES_MAX

CHORE_THREADS = 2
"""For checks, syncs and final digests: two, so that one large check does not hold up every journal."""
READER_THREADS = 2
"""For content that pieces are reused from: two, so that a disk that hangs leaves one to the others."""


class Downloader:
    """One run on ``host``. ``writers`` is how many threads verify and write; ``instance`` and ``pid`` name the run."""

    def __init__(
        self, host: Host, links: FetchLinks, store: Store, writers: int, rng: Random, instance: int, pid: int
    ) -> None:
        self._links = links
        self.budget = Budget(UNDER_WAY_BYTES_MAX, 0.0, host.now())
        self._writers, self._chores = host.workers(writers), host.workers(CHORE_THREADS)
        self._readers = host.workers(READER_THREADS)
        agent = host.dial_local(AGENT_SOCKET)
        pieces = host.dial_local(PIECES_SOCKET)
        context = JobContext(
            now=host.now,
            links=links,
            writers=self._writers,
            chores=self._chores,
            readers=self._readers,
            store=store,
            budget=self.budget,
            sessions=count(1),
            rng=rng,
            tell_agent=agent.send,
            tell_pieces=pieces.send,
        )
        self.core = DownloaderCore(context, instance, pid)
        agent.listen(Decoder(AgentToDownloader, LOCAL_BYTES_MAX), self.core.order)
        pieces.listen(Decoder(PieceServerToDownloader, LOCAL_BYTES_MAX), self.core.pieces_say)

    def close(self) -> None:
        """Say goodbye, wait a moment for the threads, note in the journal what is on disk."""
        self.core.stop()
        self._readers.close(END_SECONDS)
        written = self._writers.close(END_SECONDS)
        self.core.save(self._chores.close(END_SECONDS) and written)
        self._links.close()

    def tick(self, now: float) -> float:
        """Called after every turn; returns when to be called at the latest."""
        return self.core.tick(now)
