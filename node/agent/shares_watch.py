"""Keeps what is shared in step with the disk: the configuration's shares, and what became of other items. Pure.

`node.agent.folders` tells what came to rest and what went; hashing and withdrawing are for `node.agent.shares`. A
configured file is watched like an entry of a folder.
"""

from __future__ import annotations

import posixpath

from node.agent.catalogue import Catalogue
from node.agent.effects import Note, ScanShares, Wish
from node.agent.folders import FolderWatch, Found, Gone, LeftOut, Listing
from node.agent.library import LibraryItem
from node.agent.shares import Shares
from node.disk.share_options import ShareOptions


class SharesWatch:
    """``share`` are absolute paths of folders and files, looked at every ``period_seconds`` and shared with
    ``options``."""

    def __init__(
        self,
        share: tuple[str, ...],
        period_seconds: float,
        algorithm: str,
        options: ShareOptions,
        catalogue: Catalogue,
        shares: Shares,
    ) -> None:
        self._share = share
        self._options = options
        self._algorithm = algorithm
        self._catalogue = catalogue
        self._shares = shares
        self._watch = FolderWatch(period_seconds)
        self._scanning = False

    def start(self) -> list[Wish]:
        """Take up the library's items. What was found in a folder that is configured no longer is forgotten."""
        wishes: list[Wish] = []
        for item in self._catalogue.items():
            if self._watched(item):
                if item.fingerprint and (item.origin == "shared" or item.options == self._options):
                    self._watch.adopt(item.path, item.fingerprint)
            elif item.origin == "folder":
                wishes += self._catalogue.remove(item.path)
        return wishes

    def tick(self, now: float) -> list[Wish]:
        if self._scanning or now < self._watch.next_deadline():
            return []
        self._scanning = True
        items = self._catalogue.items()
        others = [item for item in items if item.origin != "folder" and item.options != self._options]
        options = {item.path: item.options for item in others}
        return [ScanShares([item for item in items if not self._watched(item)], options)]

    def next_deadline(self) -> float | None:
        return None if self._scanning else self._watch.next_deadline()

    def scanned(self, listing: Listing, began: float, now: float) -> list[Wish]:
        """Take in one look at the configured shares, made from ``began`` until ``now``."""
        self._scanning = False
        wishes: list[Wish] = []
        for change in self._watch.compare(listing, began, now):
            if isinstance(change, Found):
                wishes += self._shares.found(change.path, self._algorithm, "folder", self._options)
            elif isinstance(change, LeftOut):
                more = "; link_roots in the configuration names directories that links may lead into"
                what = change.skipped.described() + (more if change.skipped.links else "")
                wishes.append(Note("warning", f"left out of {change.path}: {what}"))
            elif isinstance(change, Gone):
                wishes += self._shares.gone(change.path, "it changed or was deleted")
            else:
                wishes.append(Note("warning", f"cannot share {change.path}: {change.reason}"))
        return wishes

    def distrust(self, path: str, why: str) -> list[Wish]:
        """Somebody found that ``path`` is not as it was hashed: withdraw it; watched, it is looked at afresh."""
        self._watch.forget(path)
        return self._shares.gone(path, why)

    def failed(self, path: str, now: float) -> None:
        """``path`` could not be hashed; it is tried again when it has changed, or after a while."""
        self._watch.failed(path, now)

    def _watched(self, item: LibraryItem) -> bool:
        return item.path in self._share or posixpath.dirname(item.path) in self._share
