"""What is shared, as it is seen on disk: when an entry of a folder is to be shared, and when an item has changed,
is away, is back, or was deleted.

Each file or directory right in a shared folder is an item. It is shared once two scans in a row found it the same,
so what is still being copied in is left alone. An item that looks different is to be hashed again once it has come to
rest; until then it stays what it was. Entries whose names are to be ignored, our own partial files, special files, and
symbolic links that lead where links may not lead are no items.

What is not there any more was deleted only if it lay in a shared folder that is there: anything else is away, as on a
disk that is not mounted, and is looked for again at each scan.

Pure. The looks it compares are made by `node.agent.share_scan`.
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
"""What could not be shared and has not changed since is tried again this much later, then twice as late each time."""
RETRY_SECONDS_MAX = 640.0
AWAY = "it is not there"
HOLLOW = "an empty directory is in its place, as when a disk is not mounted"
_UNKNOWN = b""
"""The fingerprint of an item that is to be hashed."""


def is_ignored(name: str, ignore: Iterable[str]) -> bool:
    """Whether an entry of a shared folder that is called ``name`` is no item: one of the shell patterns ``ignore``
    matches it, or it is a download of ours that is not complete."""
    return is_partial(name) or any(fnmatchcase(name, pattern) for pattern in ignore)


class Found(Struct, frozen=True):
    """What is at absolute ``path`` has come to rest as something new: hash it. ``fingerprint`` is what it looks like
    now."""

    path: str
    fingerprint: bytes


class Gone(Struct, frozen=True):
    """What `Found` (or `FolderWatch.adopt`) named was deleted from its folder: share it no longer."""

    path: str


class Missing(Struct, frozen=True):
    """What `Found` (or `FolderWatch.adopt`) named is not there, which is what ``why`` says; nobody saw it deleted."""

    path: str
    why: str


class Back(Struct, frozen=True):
    """What was `Missing` is there again, as it was."""

    path: str


class Unreadable(Struct, frozen=True):
    """The folder or entry at ``path`` cannot be looked at; said once for each ``reason``."""

    path: str
    reason: str


class LeftOut(Struct, frozen=True):
    """What is ``skipped`` of the entries of the folder at ``path``; said when it changes."""

    path: str
    skipped: Skipped


Change = Found | Gone | Missing | Back | Unreadable | LeftOut


class Listing(Struct, frozen=True):
    """One look at all that is shared: ``entries`` has a fingerprint by absolute path.

    What is ``unknown``, path and reason, could not be seen (no reason: it was changing): whatever is there or below
    stays as it was. What is ``missing`` should be there to be shared, and is not. ``folders`` are the shared folders
    that are there, with what tells one from another at the same path. Entries that are ``hollow`` are directories with
    nothing in them. ``skipped``: what is left out, by folder.
    """

    entries: Mapping[str, bytes]
    unknown: Mapping[str, str] = {}
    missing: tuple[str, ...] = ()
    folders: Mapping[str, tuple[int, int]] = {}
    hollow: tuple[str, ...] = ()
    skipped: Mapping[str, Skipped] = {}


class _Failure(Struct, frozen=True):
    """Sharing an entry failed while it looked like ``fingerprint``; ``delay`` is the last wait."""

    fingerprint: bytes
    delay: float
    retry_at: float


class FolderWatch:
    """Compares every `Listing` with the last. ``period_seconds`` is the usual time between the starts of scans."""

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
        """``path`` is no item any more, and was not found in a folder."""
        self._found.pop(path, None)
        self._missing.pop(path, None)

    def failed(self, path: str, now: float) -> None:
        """``path`` cannot be shared. `Found` follows when it looks different, or else after a while: the reason may be
        one that does not show, such as its permissions, and trying may mean to read all of it."""
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
        """Note which folders are those the items were found in: a mount point without its disk is not."""
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
