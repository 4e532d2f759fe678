"""The downloader of a simulated peer: the real core over the simulated network and disk. Pure.

Here stands what the shells `node.downloader.process` and `node.downloader.links` do with sockets and threads.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from cluster.simulated.content import SentPiece
from cluster.simulated.network import Connection
from cluster.simulated.process import Process
from cluster.simulated.store import SimulatedStore
from node.downloader.core import DownloaderCore
from node.downloader.job_context import JobContext, Listener
from node.downloader.links import message_session
from node.rate_limit import Budget
from protocol.errors import ZswarmError
from protocol.limits import UNDER_WAY_BYTES_MAX
from protocol.messages import Message

if TYPE_CHECKING:
    from cluster.simulated.peer import Peer

WORK_SECONDS = 1e-4
"""What handing work to a thread takes, besides what the disk takes."""


class DownloaderProcess(Process):
    """``instance`` names this run; ``rng`` is its own."""

    def __init__(self, peer: Peer, instance: int, rng: Random) -> None:
        super().__init__(peer.network.clock, f"{peer.name} downloader", peer.turn_seconds)
        self.peer = peer
        self.links = SimulatedLinks(self)
        now = self.clock.now
        self.budget = Budget(UNDER_WAY_BYTES_MAX, peer.terms.download_rate, now)
        self.core = DownloaderCore(
            JobContext(
                now=self._now,
                links=self.links,
                writers=SimulatedWorkers(self),
                chores=SimulatedWorkers(self),
                store=SimulatedStore(peer.disk),
                budget=self.budget,
                sessions=count(1),
                rng=rng,
                tell_agent=self._tell_agent,
                tell_pieces=self._tell_pieces,
            ),
            instance,
            1,
        )
        self.wake(now)

    def tick(self, now: float) -> float:
        return self.core.tick(now)

    def order(self, message: Any) -> None:
        """The agent says something."""
        self.core.order(message)

    def pieces_say(self, message: Any) -> None:
        self.core.pieces_say(message)

    def _tell_agent(self, message: Message) -> None:
        self.peer.tell("downloader", "agent", message)

    def _tell_pieces(self, message: Message) -> None:
        self.peer.tell("downloader", "piece_server", message)

    def _now(self) -> float:
        return self.clock.now


class SimulatedLinks:
    """Connections to sources: the port of `JobContext`."""

    def __init__(self, process: DownloaderProcess) -> None:
        self._process = process
        self._sessions: dict[int, _Session] = {}

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener) -> None:
        del piece_bytes
        self._sessions[session] = _Session(self._process, self, session, endpoint, listener)

    def send(self, session: int, message: Message) -> None:
        found = self._sessions.get(session)
        if found is None:
            return
        tamper = self._process.peer.tamper_fetch
        said = message if tamper is None else tamper(message)
        if said is not None:
            found.connection.send(said)

    def disconnect(self, session: int) -> None:
        found = self._sessions.pop(session, None)
        if found is not None:
            found.connection.close()

    def has(self, session: int) -> bool:
        return session in self._sessions

    def connection(self, session: int) -> Connection | None:
        """What the session goes over."""
        found = self._sessions.get(session)
        return None if found is None else found.connection


class _Session:
    """One DEALER and its monitor."""

    def __init__(
        self, process: DownloaderProcess, links: SimulatedLinks, session: int, endpoint: str, listener: Listener
    ) -> None:
        self.process: Process = process
        self._links, self._session, self._listener = links, session, listener
        self._connected = False
        self.connection: Connection = process.peer.network.dial(process.peer.net, self, endpoint)

    def on_connected(self) -> None:
        if self._links.has(self._session):
            self._connected = True
            self._listener.on_connected(self._session)

    def on_lost(self) -> None:
        if self._links.has(self._session):
            self._listener.on_lost(self._session, "connection lost" if self._connected else "refused")

    def on_message(self, message: Any) -> None:
        if not self._links.has(self._session):
            return
        header: Any = message.header if isinstance(message, SentPiece) else message
        named = message_session(header)
        if named not in (self._session, None):
            what = f"a message for session {named} came over session {self._session}"
            self._listener.on_misbehaved(self._session, what)
        elif isinstance(message, SentPiece):
            self._listener.on_piece(self._session, header, message.data)
        else:
            self._listener.on_message(self._session, header)


class SimulatedWorkers:
    """Threads: work takes as long as the disk needs for it, one after another."""

    def __init__(self, process: DownloaderProcess) -> None:
        self._process = process
        self._free_at = 0.0

    def submit(self, done: Callable[[Any], None], work: Callable[[], object]) -> None:
        clock = self._process.clock
        clock.at(max(clock.now + WORK_SECONDS, self._free_at), self._work, done, work)

    def _work(self, done: Callable[[Any], None], work: Callable[[], object]) -> None:
        process = self._process
        if not process.alive:
            return
        result: object
        try:
            result = work()
        except ZswarmError as error:
            result = error
        self._free_at = process.clock.now + process.peer.disk.take_seconds()
        process.clock.at(self._free_at, process.receive, done, result)
