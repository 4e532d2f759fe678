"""What all downloads of a downloader process share: the ports through which they act.

The process hands in its sockets, threads, disk and clock; whoever else does, a simulated world too, runs the same
downloads. What the ports bring back reaches a download on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from node.disk.store import Buffer, Store
from node.downloader.download import SourceMessage
from node.local_messages import DownloadTotals
from node.rate_limit import Budget
from node.work_queue import WorkQueue
from protocol.messages import Message, Piece


class Listener(Protocol):
    """Whose session it is: hears what comes over it."""

    def on_connected(self, session: int) -> None: ...
    def on_lost(self, session: int, reason: str) -> None: ...
    def on_message(self, session: int, message: SourceMessage) -> None: ...
    def on_piece(self, session: int, header: Piece, data: Buffer) -> None: ...
    def on_misbehaved(self, session: int, reason: str) -> None: ...


class Links(Protocol):
    """Connections to sources, by session number. As `links.FetchLinks`, which has the contract."""

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener, key: str = "") -> None: ...
    def send(self, session: int, message: Message) -> None: ...
    def disconnect(self, session: int) -> None: ...


@dataclass(frozen=True, slots=True)
class JobContext:
    """``now`` is monotonic, in seconds. ``writers`` verify and write pieces, ``chores``
    do what takes long, ``readers`` read other content of this machine; all use ``store``."""

    now: Callable[[], float]
    links: Links
    writers: WorkQueue
    chores: WorkQueue
    readers: WorkQueue
    store: Store
    budget: Budget
    sessions: Iterator[int]
    rng: Random
    tell_agent: Callable[[Message], None]
    tell_pieces: Callable[[Message], None]
    totals: DownloadTotals = field(default_factory=DownloadTotals)
    """Counted by the downloads."""
