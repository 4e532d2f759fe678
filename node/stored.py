"""What a data directory holds while no peer runs on it: to be listed, and to be removed without taking anything up.

What a removal means is decided by the agent's core, which has no peer around it here; carried out is what concerns
the disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from node.agent.core import AgentCore
from node.agent.effects import ForgetDownload, ForgetItem, ReplyApi, ToDownloader
from node.agent.library import LIBRARY_NAME, Library
from node.agent.state import AgentTerms
from node.agent.status import interrupted_status, item_status
from node.api_messages import ApiCollected, ApiDone, ApiRemove, ApiReply, JobStatus, SharedStatus
from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.disk.staging import staging_path
from node.disk.unused import collect_unused
from node.downloader.abandoned import find_abandoned
from node.downloader.job_work import Place, sweep
from node.identity import IDENTITY_NAME, DataDirLock, await_last_run
from node.local_messages import DeleteFetch
from protocol.digest import split_digest

DELETED = "cancelled the download of {name}; what was fetched of it is deleted"
LEFT = "cancelled the download of {name}; what was fetched of it is left where it is"
STAYS = "{path} is not in use, and cannot be deleted"
NOBODY = AgentTerms("", "", {"": b""}, "", "blake3", (), 1.0, instance=0, pid=0, foreground=True)


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


def collect_stored(data_dir: Path, dry_run: bool, tell: Callable[[str], None]) -> ApiReply:
    """Do what ``gc`` does, and answer as the agent would. Raises as `remove_stored` does."""
    if not (data_dir / IDENTITY_NAME).exists():
        return ApiCollected(0, [], [])  # no peer ever ran there: what there is is somebody else's
    with DataDirLock(data_dir):
        await_last_run(data_dir, tell)
        with Library(data_dir) as library:
            downloads, items = library.downloads(), library.items()
        with closing(Journal(data_dir)) as journal:
            store = DiskStore(data_dir, journal)
            unused = find_abandoned(store, {(download.digest, download.dest) for download in downloads})
            places = [Place(entry.digest, entry.seed_path, entry.dest, force=False) for entry, _ in unused]
            kept = [] if dry_run else [place for place in places if not sweep(place, store)]
        removed = [found for place, (_, found) in zip(places, unused, strict=True) if place not in kept]
        left = [STAYS.format(path=staging_path(Path(place.dest))) for place in kept]
        digests = [*(item.manifest for item in items), *(download.manifest for download in downloads)]
        digests += [item.digest for item in items if item.state]  # a mend of them may have been killed
        used = {split_digest(digest)[1].hex() for digest in digests}
        used.update(Path(place.seed_path).stem for place in kept)
        return ApiCollected(0, [*removed, *collect_unused(data_dir, used, dry_run, drafts=True)], left)


def _delete(data_dir: Path, message: DeleteFetch) -> bool:
    """False when something of it is left."""
    with closing(Journal(data_dir)) as journal:
        place = Place(message.digest, message.seed_path, message.dest, force=False)
        return sweep(place, DiskStore(data_dir, journal))
