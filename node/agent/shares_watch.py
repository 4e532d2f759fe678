"""Keeps the shared items in step with the disk: the configured shares, and changes of all items. Pure.

`node.agent.folders` reports what has stopped changing, gone or come back; `node.agent.shares` hashes, keeps and
withdraws. What a person shared or fetched is watched like an entry of a folder, but never counts as deleted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from node.agent.catalogue import Catalogue
from node.agent.effects import Note, ScanShares, Wish
from node.agent.folders import Back, FolderWatch, Found, Gone, LeftOut, Listing, Missing, is_ignored
from node.agent.library import LibraryItem
from node.agent.shares import Shares
from node.disk.share_options import KEPT_MARK, ShareOptions
from protocol.digest import split_digest


class SharesWatch:
    """``share`` are absolute paths of folders and files, scanned every ``period_seconds`` and shared with ``options``,
    except entries of folders that match a pattern in ``ignore``, and older versions of downloads that were kept.
    ``is_followed``: whether a name is followed to a path; ``is_mended``: whether this peer is writing to what is
    there."""

    def __init__(
        self,
        share: tuple[str, ...],
        ignore: Sequence[str],
        period_seconds: float,
        algorithm: str,
        options: ShareOptions,
        catalogue: Catalogue,
        shares: Shares,
        is_followed: Callable[[str], bool],
        is_mended: Callable[[str], bool],
    ) -> None:
        self._share = share
        self._ignore = ignore
        self._options = options
        self._algorithm = algorithm
        self._catalogue = catalogue
        self._shares = shares
        self._is_followed, self._is_mended = is_followed, is_mended
        self._watch = FolderWatch(period_seconds)
        self._scanning = False

    def start(self, now: float) -> list[Wish]:
        """Forget items found in folders that are not configured any more, or that are now ignored."""
        wishes: list[Wish] = []
        for item in self._catalogue.items():
            if item.origin == "folder" and not self._is_configured(item.path):
                wishes += self._shares.gone(item.path, "its folder is not shared any more, or it is to be ignored", now)
        return wishes

    def tick(self, now: float) -> list[Wish]:
        if self._scanning or now < self._watch.next_deadline():
            return []
        self._scanning = True
        self._take_up_items()
        items = self._catalogue.items()
        options = {item.path: item.options for item in items if self._options_of(item) != self._options}
        return [ScanShares([item.path for item in items if not self._is_configured(item.path)], options)]

    def next_deadline(self) -> float | None:
        return None if self._scanning else self._watch.next_deadline()

    def scanned(self, listing: Listing, began: float, now: float) -> list[Wish]:
        """Process one scan of everything shared, made from ``began`` until ``now``."""
        self._scanning = False
        wishes: list[Wish] = []
        for change in self._watch.compare(listing, began, now):
            if isinstance(change, Found):
                wishes += self._found(change.path)
            elif isinstance(change, LeftOut):
                more = "; link_roots in the configuration names directories that links may point into"
                what = change.skipped.described() + (more if change.skipped.links else "")
                wishes.append(Note("warning", f"left out of {change.path}: {what}"))
            elif isinstance(change, Gone):
                wishes += self._shares.gone(change.path, "it was deleted", now)
            elif isinstance(change, Missing):
                wishes += self._shares.missing(change.path, change.why, now)
            elif isinstance(change, Back):
                wishes += self._shares.back(change.path, now)
            else:
                wishes.append(Note("warning", f"cannot share {change.path}: {change.reason}"))
        return wishes

    def failed(self, path: str, now: float) -> None:
        """``path`` could not be hashed; it is tried again when it has changed, or after a while."""
        self._watch.failed(path, now)

    def _take_up_items(self) -> None:
        """Watch the present items and what the configuration names, and nothing else."""
        for path in self._watch.paths:
            if self._catalogue.at(path) is None and not self._is_configured(path):
                self._watch.forget(path)
        known = dict.fromkeys(self._watch.paths)
        for item in self._catalogue.items():
            if item.path not in known:
                anew = item.state == "changed" or item.options != self._options_of(item)
                fingerprint = b"" if anew else item.fingerprint
                self._watch.adopt(item.path, fingerprint, missing=item.state == "missing")

    def _found(self, path: str) -> list[Wish]:
        item = self._catalogue.at(path)
        if self._is_mended(path):
            return []
        if item is not None:
            return self._shares.found(path, split_digest(item.digest)[0], item.origin, self._options_of(item))
        if self._is_configured(path):
            return self._shares.found(path, self._algorithm, "folder", self._options)
        return []  # removed a moment ago

    def _is_configured(self, path: str) -> bool:
        folder, name = posixpath.split(path)
        if path in self._share:
            return True
        return folder in self._share and not is_ignored(name, self._ignore) and not self._was_replaced(path)

    def _was_replaced(self, path: str) -> bool:
        """Whether it is an older version, which a download has replaced and kept."""
        newer = KEPT_MARK.sub("", path)
        item = self._catalogue.known(newer)
        return newer != path and (self._is_followed(newer) or (item is not None and item.origin == "downloaded"))

    def _options_of(self, item: LibraryItem) -> ShareOptions:
        """The options to share it with: in a folder the configured ones, elsewhere those it had."""
        return self._options if item.origin == "folder" else item.options
