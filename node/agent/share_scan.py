"""One scan of everything shared, for the agent's threads: it takes time in large trees.

Whatever the disk answers, a scan ends with a `node.agent.folders.Listing`, which also has what could not be read, with
the reason. `node.agent.folders` decides what follows from it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from node.agent.folders import Listing, is_ignored
from node.disk.share_options import NOTHING, Skipped
from node.disk.tree_scan import UnstableContentError, link_target, scan
from protocol.errors import DiskError, NotFoundError
from service.text import as_utf8

LinkRoots = Callable[[str], Sequence[str]]
"""The directories that links inside the item at a path may lead into."""


class Scanned(Struct, frozen=True):
    """One scan, begun at ``began``."""

    listing: Listing
    began: float


def look(
    share: Iterable[Path],
    items: Iterable[str],
    clock: Callable[[], float] = time.monotonic,
    link_roots: LinkRoots = lambda _: (),
    ignore: Sequence[str] = (),
) -> Scanned:
    """Scan the configured shares, and the paths of ``items``."""
    began = clock()
    return Scanned(list_shares(share, items, link_roots, ignore), began)


def list_shares(
    share: Iterable[Path],
    items: Iterable[str] = (),
    link_roots: LinkRoots = lambda _: (),
    ignore: Sequence[str] = (),
) -> Listing:
    """Scan ``share`` (absolute paths): files, and the entries of folders, except those that match a pattern in
    ``ignore``; also each of ``items``."""
    seen = _Seen(link_roots, ignore)
    missing: list[str] = []
    folders: dict[str, tuple[int, int]] = {}
    for path in share:
        try:
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                seen.add(path)
            elif stat.S_ISDIR(found.st_mode):
                seen.add_entries_of(path)
                folders[str(path)] = (found.st_dev, found.st_ino)
            else:
                seen.unknown[str(path)] = "is neither a file nor a directory"
        except (FileNotFoundError, NotADirectoryError):
            missing.append(str(path))
        except OSError as error:
            seen.unknown[str(path)] = f"cannot be read: {error.strerror}"
    for item in items:
        seen.add(Path(item))
    return Listing(seen.entries, seen.unknown, tuple(missing), folders, tuple(seen.hollow), seen.skipped)


class _Seen:
    """The contents of a `Listing`, collected during a scan."""

    def __init__(self, link_roots: LinkRoots, ignore: Sequence[str]) -> None:
        self._link_roots = link_roots
        self._ignore = ignore
        self.entries: dict[str, bytes] = {}
        self.unknown: dict[str, str] = {}
        self.hollow: list[str] = []
        self.skipped: dict[str, Skipped] = {}

    def add_entries_of(self, folder: Path) -> None:
        """Raises `OSError` for the folder itself."""
        skipped = NOTHING
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, not paths
            if is_ignored(name, self._ignore):
                continue
            path = folder / name
            text = str(path)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            except OSError as error:
                self.unknown[as_utf8(text)] = f"cannot be read: {error.strerror}"
                continue
            if stat.S_ISLNK(mode) and link_target(text, self._link_roots(text)) is None:
                skipped = skipped.and_link(name)
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                skipped = skipped.and_special(name)
            elif as_utf8(text) != text:
                self.unknown[as_utf8(text)] = "has a name that is not valid UTF-8"
            else:
                self.add(path)
        if skipped:
            self.skipped[str(folder)] = skipped

    def add(self, path: Path) -> None:
        text = str(path)
        try:
            found = scan(path, self._link_roots(text))
        except NotFoundError:
            return
        except UnstableContentError:
            self.unknown[text] = ""
        except DiskError as error:
            self.unknown[text] = as_utf8(str(error))
        else:
            self.entries[text] = found.fingerprint()
            if found.is_tree and not (found.files or found.empty_dirs or found.skipped):
                self.hollow.append(text)
