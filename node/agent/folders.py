"""Shared content as seen on disk: decides when an entry of a folder is to be shared, and when an item has changed, is
missing, is back, or was deleted.

Each file or directory at the top of a shared folder is an item. It is shared once two scans in a row found it the same,
so files still being copied in are left alone. An item that looks different is hashed again once it stops changing;
until then it stays as it was. Entries with ignored names, partial downloads, special files, and symbolic links to
disallowed places are not items.

An absent item counts as deleted only if its shared folder is present. Otherwise it is missing, as on a disk that is not
mounted, and is looked for again at each scan.

Pure. `node.agent.share_scan` makes the scans that are compared here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from node.disk.share_options import Skipped
from protocol.names import is_partial

SCAN_SHARE = 10
"""After a scan that took t seconds the next waits at least 10 t: watching costs at most a tenth of a core."""

RETRY_SECONDS = 10.0
"""An unchanged entry that could not be shared is tried again after this time, which doubles each time."""
RETRY_SECONDS_MAX = 640.0
AWAY = "it is not there"
HOLLOW = "an empty directory is in its place, as when a disk is not mounted"
_UNKNOWN = b""
"""The fingerprint of an item that is to be hashed."""


def is_ignored(name: str, ignore: Iterable[str]) -> bool:
    """Whether an entry ``name`` of a shared folder is not an item: it matches one of the shell patterns ``ignore``, or
    is a partial download of our own."""
    return is_partial(name) or any(fnmatchcase(name, pattern) for pattern in ignore)


class Found(Struct, frozen=True):
    """The entry at absolute ``path`` is new or different, and has stopped changing: hash it. ``fingerprint`` is what it
    looks like now."""

    path: str
    fingerprint: bytes


class Gone(Struct, frozen=True):
    """An entry that `Found` (or `FolderWatch.adopt`) named was deleted from its folder: stop sharing it."""

    path: str


class Missing(Struct, frozen=True):
    """An entry that `Found` (or `FolderWatch.adopt`) named is absent, as ``why`` says, but not known to be deleted."""

    path: str
    why: str


class Back(Struct, frozen=True):
    """A `Missing` entry is back, unchanged."""

    path: str


class Unreadable(Struct, frozen=True):
    """The folder or entry at ``path`` cannot be read; reported once for each ``reason``."""

    path: str
    reason: str


class LeftOut(Struct, frozen=True):
    """The ``skipped`` entries of the folder at ``path``; reported when they change."""

    path: str
    skipped: Skipped


Change = Found | Gone | Missing | Back | Unreadable | LeftOut


class Listing(Struct, frozen=True):
    """One scan of everything shared: ``entries`` has a fingerprint by absolute path.

    Paths in ``unknown``, with a reason, could not be read (empty reason: they were changing); everything at or below
    them stays as it was. Paths in ``missing`` should be shared, but are absent. ``folders`` are the shared folders
    present, with what distinguishes one from another at the same path. ``hollow`` entries are empty directories.
    ``skipped``: what is left out, by folder.
    """

    entries: Mapping[str, bytes]
    unknown: Mapping[str, str] = {}
    missing: tuple[str, ...] = ()
    folders: Mapping[str, tuple[int, int]] = {}
    hollow: tuple[str, ...] = ()
    skipped: Mapping[str, Skipped] = {}


class _Failure(Struct, frozen=True):
    """Sharing an entry failed while it had ``fingerprint``; ``delay`` is the last wait."""

    fingerprint: bytes
    delay: float
    retry_at: float


class FolderWatch:
    """Compares every `Listing` with the previous one. ``period_seconds`` is the usual time between the starts of
    scans."""

    def __init__(self, period_seconds: float) -> None:
        self._period = period_seconds
        self._next_scan = float("-inf")
        self._seen: dict[str, bytes] = {}
        self._found: dict[str, bytes] = {}
        self._missing: dict[str, None] = {}
        self._folders: dict[str, tuple[int, int]] = {}
        self._failures: dict[str, _Failure] = {}
        self._unreadable: dict[str, str] = {}
        self._skipped: Mapping[str, Skipped] = {}

    @property
    def paths(self) -> list[str]:
        """What is watched: all that was found or adopted."""
        return list(self._found)

    def adopt(self, path: str, fingerprint: bytes, missing: bool = False) -> None:
        """What is at ``path`` is an item already, hashed as ``fingerprint`` (empty: not known), or ``missing``."""
        self._found[path] = fingerprint
        if missing:
            self._missing[path] = None

    def forget(self, path: str) -> None:
        """``path`` is not an item any more, and was not found in a folder."""
        self._found.pop(path, None)
        self._missing.pop(path, None)

    def failed(self, path: str, now: float) -> None:
        """``path`` cannot be shared. `Found` follows when it looks different, or else after a while: the reason may be
        invisible here, such as its permissions, and a new attempt may have to read all of it."""
        fingerprint = self._found.get(path, _UNKNOWN)
        if fingerprint == _UNKNOWN:
            return
        self._found[path] = _UNKNOWN
        last = self._failures.get(path)
        again = last is not None and last.fingerprint == fingerprint
        delay = min(2 * last.delay, RETRY_SECONDS_MAX) if last is not None and again else RETRY_SECONDS
        self._failures[path] = _Failure(fingerprint, delay, now + delay)

    def next_deadline(self) -> float:
        """When to look next."""
        return self._next_scan

    def compare(self, listing: Listing, began: float, now: float) -> list[Change]:
        """Take in the listing made from ``began`` until ``now``; say what is to be done."""
        self._next_scan = max(began + self._period, now + SCAN_SHARE * (now - began))
        unreadable = {path: reason for path, reason in listing.unknown.items() if reason}
        unreadable |= dict.fromkeys(listing.missing, "there is no such file or directory")
        changes: list[Change] = [
            Unreadable(path, reason) for path, reason in unreadable.items() if self._unreadable.get(path) != reason
        ]
        self._unreadable = unreadable
        news = [item for item in listing.skipped.items() if self._skipped.get(item[0]) != item[1]]
        changes += [LeftOut(path, skipped) for path, skipped in news]
        self._skipped = listing.skipped
        self._recognise(listing)
        for path in list(self._found):
            change = self._compare_item(path, listing)
            if change is not None:
                changes.append(change)
        for path, fingerprint in listing.entries.items():
            is_new = self._found.get(path) != fingerprint and path not in self._missing
            if is_new and self._seen.get(path) == fingerprint and not self._must_wait(path, fingerprint, now):
                self._found[path] = fingerprint
                changes.append(Found(path, fingerprint))
        self._seen = dict(listing.entries)
        self._failures = {path: failure for path, failure in self._failures.items() if path in self._seen}
        return changes

    def _recognise(self, listing: Listing) -> None:
        """Record which folders are those in which the items were found: a mount point without its disk is not."""
        there: dict[str, bool] = {}
        for path in self._found:
            folder = posixpath.dirname(path)
            there[folder] = there.get(folder, False) or path in listing.entries
        for folder, identity in listing.folders.items():
            if there.get(folder, True):
                self._folders[folder] = identity

    def _compare_item(self, path: str, listing: Listing) -> Change | None:
        before, now = self._found[path], listing.entries.get(path)
        hollow = path in listing.hollow and before not in (now, _UNKNOWN)
        if now is not None and not hollow:
            if now != before:
                self._found[path] = _UNKNOWN
            if path not in self._missing:
                return None
            del self._missing[path]
            return Back(path) if now == before else None
        if _hidden_from(listing, path):
            return None
        folder = posixpath.dirname(path)
        if now is None and folder in listing.folders and self._folders.get(folder) == listing.folders[folder]:
            self.forget(path)
            return Gone(path)
        if path in self._missing:
            return None
        self._missing[path] = None
        return Missing(path, HOLLOW if hollow else AWAY)

    def _must_wait(self, path: str, fingerprint: bytes, now: float) -> bool:
        failure = self._failures.get(path)
        return failure is not None and failure.fingerprint == fingerprint and now < failure.retry_at


def _hidden_from(listing: Listing, path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in listing.unknown)
