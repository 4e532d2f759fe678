"""What a data directory holds while no peer runs on it: to be listed, and to be removed without taking anything up.

What a removal means is decided by the agent's core, which has no peer around it here; carried out is what concerns
the disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from node.agent.core import AgentCore
from node.agent.effects import ForgetDownload, ForgetItem, ReplyApi, ToDownloader
from node.agent.library import LIBRARY_NAME, Library
from node.agent.state import AgentTerms
from node.agent.status import interrupted_status, item_status
from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.downloader.job_work import Place, sweep
from node.identity import DataDirLock, await_last_run
from node.local_messages import ApiDone, ApiRemove, ApiReply, DeleteFetch, JobStatus, SharedStatus

DELETED = "cancelled the download of {name}; what was fetched of it is deleted"
LEFT = "cancelled the download of {name}; what was fetched of it is left where it is"
NOBODY = AgentTerms("", b"", "", "", "", "blake3", (), 1.0, instance=0, pid=0, foreground=True)


class Stored(Struct, frozen=True):
    """Downloads that were interrupted, and what a peer run on the data directory would share."""

    jobs: list[JobStatus]
    shared: list[SharedStatus]


def read_stored(data_dir: Path) -> Stored:
    """What is in the library of ``data_dir``; a peer may start meanwhile. Changes nothing. Raises `DiskError`."""
    if not (data_dir / LIBRARY_NAME).exists():
        return Stored([], [])
    with Library(data_dir, read_only=True) as library:
        return Stored(list(map(interrupted_status, library.downloads())), list(map(item_status, library.items())))


def remove_stored(data_dir: Path, name: str, path: str, tell: Callable[[str], None]) -> ApiReply:
    """Do what ``remove NAME`` does, and answer as the agent would. ``path`` is what it means as a path; ``tell`` is
    told what it waits for. Raises `DiskError`, and `UsageError` when a peer runs."""
    with DataDirLock(data_dir):
        await_last_run(data_dir, tell)
        with Library(data_dir) as library:
            core = AgentCore(NOBODY, library.items(), 0.0, random.Random(0))
            core.start(library.downloads(), 0.0)
            reply: ApiReply = ApiDone(0)
            deleted: list[bool] = []
            for effect in core.api_says(b"", ApiRemove(0, name, path), 0.0):
                if isinstance(effect, ToDownloader) and isinstance(effect.message, DeleteFetch):
                    deleted.append(_delete(data_dir, effect.message))
                elif isinstance(effect, ForgetDownload):
                    library.remove_download(effect.dest)
                elif isinstance(effect, ForgetItem):
                    library.remove_item(effect.path)
                elif isinstance(effect, ReplyApi):
                    reply = effect.reply
            return ApiDone(0, (DELETED if all(deleted) else LEFT).format(name=name)) if deleted else reply


def _delete(data_dir: Path, message: DeleteFetch) -> bool:
    """False when something of it is left."""
    if not message.seed_path:
        return True
    journal = Journal(data_dir)
    try:
        place = Place(message.digest, message.seed_path, message.dest, force=False)
        return sweep(place, DiskStore(data_dir, journal))
    finally:
        journal.close()
