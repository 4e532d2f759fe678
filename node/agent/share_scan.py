"""One look at all that is shared, for the agent's threads: it takes time in large trees.

Whatever the disk answers, a look ends with a `node.agent.folders.Listing`; what could not be seen is in it with the
reason. What follows from it is decided by `node.agent.folders`.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from node.agent.disk_work import explained
from node.agent.folders import Listing
from node.disk.tree_scan import UnstableContentError, scan
from protocol.errors import DiskError, NotFoundError

_NO_UTF8 = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes in a file name that are no UTF-8."""


class Scanned(Struct, frozen=True):
    """One look from ``began`` on."""

    listing: Listing
    began: float


def look(share: Iterable[Path], items: Iterable[str], clock: Callable[[], float] = time.monotonic) -> Scanned:
    """See what the configured shares are now, and what is at the paths of ``items``."""
    began = clock()
    return Scanned(list_shares(share, items), began)


def list_shares(share: Iterable[Path], items: Iterable[str] = ()) -> Listing:
    """Look at ``share`` (absolute): at the entries of folders, and at files; and at each of ``items``."""
    entries: dict[str, bytes] = {}
    unknown: dict[str, str] = {}
    hollow: list[str] = []
    missing: list[str] = []
    folders: dict[str, tuple[int, int]] = {}
    for path in share:
        try:
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                _look(path, entries, unknown, hollow)
            elif stat.S_ISDIR(found.st_mode):
                _look_into(path, entries, unknown, hollow)
                folders[str(path)] = (found.st_dev, found.st_ino)
            else:
                unknown[str(path)] = "is neither a file nor a directory"
        except (FileNotFoundError, NotADirectoryError):
            missing.append(str(path))
        except OSError as error:
            unknown[str(path)] = f"cannot be read: {error.strerror}"
    for item in items:
        _look(Path(item), entries, unknown, hollow)
    return Listing(entries, unknown, tuple(missing), folders, tuple(hollow))


def _look_into(folder: Path, entries: dict[str, bytes], unknown: dict[str, str], hollow: list[str]) -> None:
    """Look at the entries of ``folder``; an `OSError` is of the folder itself."""
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
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            continue
        if _NO_UTF8.search(text):
            unknown[ascii(text)] = "has a name that is not valid UTF-8"
        else:
            _look(path, entries, unknown, hollow)


def _look(path: Path, entries: dict[str, bytes], unknown: dict[str, str], hollow: list[str]) -> None:
    text = str(path)
    try:
        found = scan(path)
        entries[text] = found.fingerprint()
        if found.is_tree and not found.files and not found.empty_dirs:
            hollow.append(text)
    except NotFoundError:
        return
    except UnstableContentError:
        unknown[text] = ""
    except DiskError as error:
        unknown[text] = explained(error)


def _utf8(text: str) -> str:
    return ascii(text) if _NO_UTF8.search(text) else text
