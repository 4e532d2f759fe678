"""Disk work for the agent's threads: hash, compare, store seeds. Scans of folders are in `share_scan`.

Each function runs on a worker thread, touches only what it is given and returns its result or raises a
`ZswarmError`. When they run, and what follows from it, is the agent's.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from node.agent.effects import DELETED, Downloaded, HashPath, PrepareOrder, ScanShares, StoreSeed
from node.agent.library import Library, LibraryItem
from node.agent.order_places import free_bytes, prepare_place
from node.agent.share_scan import Scanned, look
from node.config import AgentSettings
from node.disk.deletion import delete_content, delete_rest
from node.disk.errors import disk_error
from node.disk.hashing import drop_cached, hash_content, rot_between
from node.disk.mend_notes import MendNote
from node.disk.seed_store import load_seed, store_seed
from node.disk.share_options import Skipped
from node.disk.stamps import is_unwritten, take_stamps
from node.disk.tree_scan import Scan, scan
from node.disk.unused import collect_unused
from node.local_messages import Unused
from node.rate_limit import TokenBucket
from node.schedule import Override
from protocol.errors import NotFoundError, ZswarmError
from protocol.link import Link
from protocol.manifest import Manifest, decode_manifest, encode_manifest, manifest_digest
from service.text import as_utf8

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, from the worker's thread."""
Cancelled = Callable[[], bool]


AWAY_NAME = "away"
"""File in the runtime directory while the peer has left the network by request: a restarted agent stays out too."""


LIMITS_NAME = "limits"
"""File in the runtime directory once a person has changed the rate limits: a restarted agent keeps them."""


DOWNLOADED_NAME = "downloaded.json"
"""File in the data directory: the downloads, for the quota."""


PACE_SECONDS = 0.1
"""How soon an audit that waits for its rate notices that it is cancelled."""


class AgentFiles(Library):
    """`node.agent.process.AgentDisk` on this machine, of an agent with ``settings``."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._data_dir = Path(settings.data_dir)
        self._away = Path(settings.runtime_dir) / AWAY_NAME
        self._limits = Path(settings.runtime_dir) / LIMITS_NAME
        self._downloaded = self._data_dir / DOWNLOADED_NAME
        super().__init__(self._data_dir, settings.run)

    @property
    def away(self) -> bool:
        """Whether an earlier run was told to leave."""
        return self._away.exists()

    def keep_away(self, away: bool) -> None:
        try:
            if away:
                self._away.touch()
            else:
                self._away.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, "write", self._away) from error

    @property
    def override(self) -> Override | None:
        """The rate limits that a person set in this run of the peer, if any."""
        try:
            return msgspec.json.decode(self._limits.read_bytes(), type=Override)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            log.warning("cannot read the limits that were set last, so those of the configuration apply: %s", error)
            return None

    def keep_limits(self, override: Override | None) -> None:
        fresh = self._limits.with_suffix(".new")
        try:
            if override is None:
                self._limits.unlink(missing_ok=True)
                return
            fresh.write_bytes(msgspec.json.encode(override))
            fresh.replace(self._limits)
        except OSError as error:
            raise disk_error(error, "write", self._limits) from error

    def hash_item(self, request: HashPath, progress: Progress, cancelled: Cancelled) -> HashedItem:
        return hash_item(request, self._data_dir, progress, cancelled)

    def keep_seed(self, request: StoreSeed) -> StoredSeed:
        return keep_seed(request, self._data_dir)

    def delete_item(self, item: LibraryItem, rest: bool) -> str:
        """The reason why it was not deleted; empty if it was. ``rest``: continue an interrupted deletion."""
        try:
            if rest:
                delete_rest(Path(item.path))
            else:
                delete_content(Path(item.path), load_seed(Path(item.seed_path)), item.stamps)
        except ZswarmError as error:
            return as_utf8(str(error))
        return ""

    @property
    def downloaded(self) -> list[Downloaded]:
        """What earlier runs downloaded, the least recently served first."""
        try:
            return msgspec.json.decode(self._downloaded.read_bytes(), type=list[Downloaded])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            log.warning(
                "%s cannot be read, so no earlier download is deleted for the quota: %s", self._downloaded, error
            )
            return []

    def keep_downloaded(self, items: list[Downloaded]) -> None:
        fresh = self._downloaded.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(items))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._downloaded)
        except OSError as error:
            raise disk_error(error, "write", self._downloaded) from error

    def collect_seeds(self, used: Collection[str], dry_run: bool) -> list[Unused]:
        return collect_unused(self._data_dir, used, dry_run)

    def item_problem(self, item: LibraryItem) -> str:
        return item_problem(item)

    def look(self, request: ScanShares) -> Scanned:
        def link_roots(path: str) -> Sequence[str]:
            return request.options.get(path, self._settings.options).link_roots

        settings = self._settings
        return look(map(Path, settings.share), request.paths, link_roots=link_roots, ignore=settings.ignore)

    def prepare_place(self, request: PrepareOrder) -> str:
        return str(prepare_place(Path(request.base), request.order.directory))

    def free_bytes(self, base: str) -> int:
        return free_bytes(Path(base))


class StoredSeed(Struct, frozen=True):
    link: Link
    path: str


class HashedItem(NamedTuple):
    """What is at a path, what is ``skipped`` of it, and how it has ``rotted`` since ``HashPath.before``: empty if it is
    the same content, or somebody wrote to it."""

    item: LibraryItem
    skipped: Skipped
    rotted: str


def hash_item(request: HashPath, data_dir: Path, progress: Progress, cancelled: Cancelled) -> HashedItem:
    """The item at the path; its content is read only if it is not as ``request.known`` says."""
    path, options = Path(request.path), request.options
    before = scan(path, options.link_roots)
    known = request.known
    if known is not None and known.options == options and _unchanged(known, before):
        return HashedItem(msgspec.structs.replace(known, fingerprint=before.fingerprint()), before.skipped, "")
    if known is not None and not options.posix_names and _has_posix_names(known):
        options = msgspec.structs.replace(options, posix_names=True)
    pace = None
    if request.rate is not None:
        drop_cached(before)
        pace = Pace(request.rate, cancelled)

    def told(done: int) -> None:
        progress(done, before.length)
        if pace is not None:
            pace.keep(done)

    hashed = hash_content(path, request.algorithm, told, cancelled, options)
    manifest = hashed.manifest
    data = encode_manifest(manifest)
    item = LibraryItem(
        path=request.path,
        origin=known.origin if known is not None else request.origin,
        digest=manifest.digest,
        manifest=manifest_digest(data, manifest.algorithm),
        name=before.name,
        length=manifest.length,
        seed_path=str(store_seed(data_dir, data)),
        stamps=hashed.stamps,
        fingerprint=hashed.fingerprint,
        options=options,
    )
    return HashedItem(item, hashed.skipped, _rotted(request.before, manifest, hashed.stamps, data_dir))


def _rotted(before: LibraryItem | None, found: Manifest, stamps: bytes, data_dir: Path) -> str:
    """How the content ``found`` has rotted since it was ``before``; empty if it has not. A mend of it that was killed
    within a write is no reason to think otherwise."""
    if before is None or before.digest == found.digest:
        return ""
    unwritten = is_unwritten(before.stamps, stamps)
    if not unwritten and before.state != "damaged":
        return ""
    try:
        was = load_seed(Path(before.seed_path))
        rot, note = rot_between(was, found), MendNote(data_dir, before.digest)
        if rot and not unwritten and not note.put_back(before.path, was, found, before.stamps, stamps):
            return ""
        return rot
    except ZswarmError as error:
        log.warning("%s: what is wrong with it cannot be told: %s", before.path, error)
        return "its bytes are others" if unwritten else ""


class Pace:
    """Work that goes on at ``rate`` bytes a second (0: as fast as it can), until it is ``cancelled``."""

    def __init__(self, rate: float, cancelled: Cancelled) -> None:
        self._bucket, self._cancelled = TokenBucket(rate, time.monotonic()), cancelled
        self._done = 0

    def keep(self, done: int) -> None:
        """``done`` bytes, in all, are done: return when more may be."""
        now = time.monotonic()
        self._bucket.spend(done - self._done, now)
        self._done = done
        while (left := self._bucket.ready_at(now) - now) > 0 and not self._cancelled():
            time.sleep(min(left, PACE_SECONDS))
            now = time.monotonic()


def keep_seed(request: StoreSeed, data_dir: Path) -> StoredSeed:
    """Check and store the manifest."""
    manifest = decode_manifest(request.seed)
    digest = manifest_digest(request.seed, manifest.algorithm)
    link = Link(manifest.digest, digest, request.name, manifest.length)
    return StoredSeed(link, str(store_seed(data_dir, request.seed)))


def item_problem(item: LibraryItem) -> str:
    """What is wrong with ``item`` on disk, without reading its content; empty when nothing is. One without a seed is
    not what is there."""
    if not os.path.lexists(item.path):
        return DELETED
    if not item.seed_path:
        return "something else is there"
    try:
        if item.fingerprint:
            seen = scan(Path(item.path), item.options.link_roots)
            return "" if seen.fingerprint() == item.fingerprint else "it changed"
        found = take_stamps(Path(item.path), load_seed(Path(item.seed_path)))
    except NotFoundError:
        return DELETED
    except ZswarmError as error:
        return as_utf8(str(error))
    return "" if found == item.stamps else "it changed"


def _unchanged(known: LibraryItem, found: Scan) -> bool:
    """Whether ``known`` is still valid: unchanged on disk, with a seed that can be served."""
    try:
        manifest = load_seed(Path(known.seed_path))
        if known.fingerprint:
            return found.fingerprint() == known.fingerprint
        return _same_structure(manifest, found) and take_stamps(Path(known.path), manifest) == known.stamps
    except ZswarmError:
        return False


def _has_posix_names(known: LibraryItem) -> bool:
    """Whether its paths were not portable before, as those of a download may be, whatever this peer allows."""
    try:
        return load_seed(Path(known.seed_path)).posix_names
    except ZswarmError:
        return False


def _same_structure(manifest: Manifest, found: Scan) -> bool:
    """The same files and empty directories; a download has no fingerprint yet that would say so."""
    if manifest.files is None:
        return not found.is_tree
    files = [(entry.path, entry.length, entry.executable) for entry in manifest.files]
    there = [(file.path, file.length, file.executable) for file in found.files]
    return found.is_tree and files == there and list(manifest.empty_dirs) == list(found.empty_dirs)
