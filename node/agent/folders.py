"""Shared folders: which of their entries are to be shared, and when one is to be withdrawn.

Each file or directory right in a shared folder is an item. It is shared once two scans in a row found it the same,
so what is still being copied in is left alone; what changed or went is withdrawn, and shared again when it has come
to rest. Hidden entries (our own partial files among them), special files, and symbolic links that lead where links may
not lead are no items.

Pure. The looks it compares are made by `node.agent.share_scan`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from node.disk.share_options import Skipped

SCAN_SHARE = 10
"""After a scan that took t seconds the next waits at least 10 t: watching costs at most a tenth of a core."""

RETRY_SECONDS = 10.0
"""What could not be shared and has not changed since is tried again this much later, then twice as late each time."""
RETRY_SECONDS_MAX = 640.0


class Found(Struct, frozen=True):
    """The entry at absolute ``path`` has come to rest: share it. ``fingerprint`` is what it looks like now."""

    path: str
    fingerprint: bytes


class Gone(Struct, frozen=True):
    """What `Found` (or `FolderWatch.adopt`) named is no longer there as it was: share it no longer."""

    path: str


class Unreadable(Struct, frozen=True):
    """The folder or entry at ``path`` cannot be looked at; said once for each ``reason``."""

    path: str
    reason: str


class LeftOut(Struct, frozen=True):
    """What is ``skipped`` of the entries of the folder at ``path``; said when it changes."""

    path: str
    skipped: Skipped


Change = Found | Gone | Unreadable | LeftOut


class Listing(Struct, frozen=True):
    """One look at all shared folders: ``entries`` has a fingerprint by absolute path.

    What is ``unknown``, path and reason, could not be seen (no reason: it was changing): whatever is there or below
    stays as it was. What is ``missing`` should be there to be shared, and is not. ``skipped``: what is left out, by
    folder.
    """

    entries: Mapping[str, bytes]
    unknown: Mapping[str, str] = {}
    missing: tuple[str, ...] = ()
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
        self._failures: dict[str, _Failure] = {}
        self._unreadable: dict[str, str] = {}
        self._skipped: Mapping[str, Skipped] = {}

    def adopt(self, path: str, fingerprint: bytes) -> None:
        """The entry ``path`` of a shared folder is shared as ``fingerprint`` already: it was before a restart, or it is
        a finished download. Paths outside the folders would be `Gone` at once."""
        self._found[path] = fingerprint

    def forget(self, path: str) -> None:
        """What is shared at ``path`` is not what is there: `Found` follows when it has come to rest again."""
        self._found.pop(path, None)
        self._seen.pop(path, None)

    def failed(self, path: str, now: float) -> None:
        """``path`` cannot be shared. `Found` follows when it looks different, or else after a while: the reason may be
        one that does not show, such as its permissions, and trying may mean to read all of it."""
        fingerprint = self._found.pop(path, None)
        if fingerprint is None:
            return
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
        for path, fingerprint in list(self._found.items()):
            if listing.entries.get(path) != fingerprint and not _hidden_from(listing, path):
                del self._found[path]
                changes.append(Gone(path))
        for path, fingerprint in listing.entries.items():
            at_rest = path not in self._found and self._seen.get(path) == fingerprint
            if at_rest and not self._must_wait(path, fingerprint, now):
                self._found[path] = fingerprint
                changes.append(Found(path, fingerprint))
        self._seen = dict(listing.entries)
        self._failures = {path: failure for path, failure in self._failures.items() if path in self._seen}
        return changes

    def _must_wait(self, path: str, fingerprint: bytes, now: float) -> bool:
        failure = self._failures.get(path)
        return failure is not None and failure.fingerprint == fingerprint and now < failure.retry_at


def _hidden_from(listing: Listing, path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in listing.unknown)
