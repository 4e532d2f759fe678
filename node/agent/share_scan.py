"""One look at what the configuration shares, for the agent's threads: it takes time in large trees.

Whatever the disk answers, a look ends with a `node.agent.folders.Listing`; what could not be seen is in it with the
reason. What follows from it is decided by `node.agent.folders`.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from node.agent.disk_work import explained, item_problem
from node.agent.folders import Listing
from node.agent.library import LibraryItem
from node.disk.share_options import NOTHING, Skipped
from node.disk.tree_scan import UnstableContentError, link_target, scan
from protocol.errors import DiskError, NotFoundError

_NO_UTF8 = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes in a file name that are no UTF-8."""

LinkRoots = Callable[[str], Sequence[str]]
"""The directories that links in what is shared at a path may lead into."""


class Scanned(Struct, frozen=True):
    """One look at the configured shares from ``began`` on, and the items that are not as they were, with why."""

    listing: Listing
    changed: list[tuple[LibraryItem, str]]
    began: float


def look(
    share: Iterable[Path],
    items: Iterable[LibraryItem],
    clock: Callable[[], float] = time.monotonic,
    link_roots: LinkRoots = lambda _: (),
) -> Scanned:
    """See what the configured shares are now, and whether ``items`` are as they were hashed."""
    began = clock()
    listing = list_shares(share, link_roots)
    changed = [(item, problem) for item in items if (problem := item_problem(item))]
    return Scanned(listing, changed, began)


def list_shares(share: Iterable[Path], link_roots: LinkRoots = lambda _: ()) -> Listing:
    """Look at ``share`` (absolute): at the entries of folders, and at files."""
    entries: dict[str, bytes] = {}
    skipped: dict[str, Skipped] = {}
    unknown: dict[str, str] = {}
    missing: list[str] = []
    for path in share:
        try:
            mode = path.stat().st_mode
            if stat.S_ISREG(mode):
                _look(path, entries, unknown, link_roots)
            elif stat.S_ISDIR(mode):
                left_out = _look_into(path, entries, unknown, link_roots)
                if left_out:
                    skipped[str(path)] = left_out
            else:
                unknown[str(path)] = "is neither a file nor a directory"
        except (FileNotFoundError, NotADirectoryError):
            missing.append(str(path))
        except OSError as error:
            unknown[str(path)] = f"cannot be read: {error.strerror}"
    return Listing(entries, unknown, tuple(missing), skipped)


def _look_into(folder: Path, entries: dict[str, bytes], unknown: dict[str, str], link_roots: LinkRoots) -> Skipped:
    """Look at the entries of ``folder``; return what is left out. An `OSError` is of the folder itself."""
    skipped = NOTHING
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names, not paths
        if name.startswith("."):
            continue
        path = folder / name
        text = str(path)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            unknown[_utf8(text)] = f"cannot be read: {error.strerror}"
            continue
        if stat.S_ISLNK(mode) and link_target(text, link_roots(text)) is None:
            skipped = skipped.and_link(name)
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            skipped = skipped.and_special(name)
            continue
        if _NO_UTF8.search(text):
            unknown[ascii(text)] = "has a name that is not valid UTF-8"
        else:
            _look(path, entries, unknown, link_roots)
    return skipped


def _look(path: Path, entries: dict[str, bytes], unknown: dict[str, str], link_roots: LinkRoots) -> None:
    text = str(path)
    try:
        entries[text] = scan(path, link_roots(text)).fingerprint()
    except NotFoundError:
        return
    except UnstableContentError:
        unknown[text] = ""
    except DiskError as error:
        unknown[text] = explained(error)


def _utf8(text: str) -> str:
    return ascii(text) if _NO_UTF8.search(text) else text
