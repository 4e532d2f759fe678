"""What all downloads of a downloader process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from node.disk.journal import Journal
from node.downloader.links import FetchLinks
from node.rate_limit import Budget
from node.workers import Workers
from protocol.messages import Message
from transport.loop import Loop

if TYPE_CHECKING:
    from node.downloader.job_disk import JobDisk


@dataclass(frozen=True, slots=True)
class JobContext:
    """``writers`` verify and write pieces, ``chores`` do what takes long; ``wall_clock`` is `time.time`."""

    loop: Loop
    links: FetchLinks
    writers: Workers[tuple[JobDisk, int], bool]
    chores: Workers[JobDisk, object]
    journal: Journal
    budget: Budget
    sessions: Iterator[int]
    rng: Random
    data_dir: Path
    tell_agent: Callable[[Message], None]
    tell_pieces: Callable[[Message], None]
    wall_clock: Callable[[], float]
