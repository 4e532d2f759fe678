"""What lies under a path, as the file system lists it: the regular files and empty directories of an item to share.

Nothing is opened. Special files inside a tree are left out and counted, and so are symbolic links, which may lead out
of what their owner meant to share, or nowhere: those are followed that lead into directories that a person named. The
path itself may be a link. Hashing is `node.disk.hashing`, deciding what of a shared folder to share is
`node.agent.folders`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from node.disk.share_options import Skipped
from protocol.errors import DiskError, NotFoundError
from protocol.limits import TREE_FILES_COUNT_MAX

FINGERPRINT_BYTES = 16
FOLLOWED_COUNT_MAX = 2 * TREE_FILES_COUNT_MAX
"""Directories and files of a tree whose links are followed: two links to the next directory in each of 30 directories
make a thousand million."""


class UnstableContentError(DiskError):
    """The content changed while it was looked at. Worth another try later."""

    code = "disk"


class ScannedFile(NamedTuple):
    """``path`` inside the tree (empty for a single file); ``executable`` by its owner; times in nanoseconds."""

    path: str
    length: int
    executable: bool
    mtime_ns: int
    ctime_ns: int
    inode: int


class Scan(NamedTuple):
    """``root`` has no link left in it, ``name`` is what the content is to be called. Both lists are sorted. What was a
    link that was followed is here what it leads to."""

    root: Path
    name: str
    is_tree: bool
    files: list[ScannedFile]
    empty_dirs: list[str]
    skipped: Skipped

    @property
    def length(self) -> int:
        return sum(file.length for file in self.files)

    def file_path(self, file: ScannedFile) -> Path:
        return self.root / file.path if self.is_tree else self.root

    def fingerprint(self) -> bytes:
        """16 bytes that change when a file is added, removed, renamed, written to, or replaced by another, and for some
        changes that leave every byte alone (touch, chmod, a further link)."""
        hasher = blake3()
        for file in self.files:
            times = f"{file.mtime_ns} {file.ctime_ns}"
            line = f"{file.path}\0{file.length} {file.executable:d} {times} {file.inode}\0"
            hasher.update(line.encode(errors="surrogateescape"))
        for path in self.empty_dirs:
            hasher.update(f"{path}\0\0".encode(errors="surrogateescape"))
        return hasher.digest(FINGERPRINT_BYTES)


def name_of(path: Path) -> str:
    """What the content at ``path`` is to be called: the last part of it once ``.`` and ``..`` are out; empty for /."""
    return Path(os.path.abspath(path)).name  # noqa: PTH100 - resolve() would give the name of a link's target


def scan(path: Path, link_roots: Iterable[str] = ()) -> Scan:
    """List what is at ``path``. Links in a tree are followed when what they lead to lies in one of ``link_roots``.

    Raises `NotFoundError` when nothing is there, `UnstableContentError` when something vanished on the way, `DiskError`
    when something cannot be read, ``path`` is no file or directory, or following links has no end."""
    name = name_of(path)
    try:
        root = path.resolve(strict=True)
        found = root.stat()
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise DiskError(f"cannot read {path}: {_reason(error)}") from None
    if stat.S_ISREG(found.st_mode):
        return Scan(root, name, False, [_scanned("", found)], [], Skipped())
    if not stat.S_ISDIR(found.st_mode):
        raise DiskError(f"{path} is neither a file nor a directory")
    return _TreeScan(root, link_roots).run(name)


class _Directory(NamedTuple):
    """``prefix`` is its path in the tree, ending in ``/``; ``real`` its path without links. ``above``: the real paths
    of directories whose links were followed on the way here."""

    prefix: str
    real: str
    above: tuple[str, ...]


class _TreeScan:
    def __init__(self, root: Path, link_roots: Iterable[str]) -> None:
        self._root = root
        self._link_roots = list(link_roots)
        self._files: list[ScannedFile] = []
        self._waiting = [_Directory("", os.fspath(root), ())]
        self._skipped = Skipped()

    def run(self, name: str) -> Scan:
        empty_dirs: list[str] = []
        count = 0
        while self._waiting:
            directory = self._waiting.pop()
            held = len(self._files) + len(self._waiting)
            self._list(directory)
            if directory.prefix and len(self._files) + len(self._waiting) == held:
                empty_dirs.append(directory.prefix[:-1])
            count += 1
            if self._link_roots and count + len(self._files) > FOLLOWED_COUNT_MAX:
                raise DiskError(f"{self._root} holds more than {FOLLOWED_COUNT_MAX} entries when links are followed")
        self._files.sort()
        empty_dirs.sort()
        return Scan(self._root, name, True, self._files, empty_dirs, self._skipped)

    def _list(self, directory: _Directory) -> None:
        try:
            with os.scandir(directory.real) as entries:
                for entry in entries:
                    self._add(entry, directory)
        except (FileNotFoundError, NotADirectoryError):
            what = f"something under {directory.prefix!a} just vanished"
            raise UnstableContentError(f"{self._root} is changing: {what}") from None
        except OSError as error:
            raise DiskError(f"cannot read {error.filename}: {_reason(error)}") from None

    def _add(self, entry: os.DirEntry[str], directory: _Directory) -> None:
        path = directory.prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            self._waiting.append(_Directory(f"{path}/", entry.path, directory.above))
        elif entry.is_file(follow_symlinks=False):
            self._files.append(_scanned(path, entry.stat(follow_symlinks=False)))
        elif entry.is_symlink():
            self._add_link(path, entry.path, directory)
        else:
            self._skipped = self._skipped.and_special(path)

    def _add_link(self, path: str, where: str, directory: _Directory) -> None:
        target = link_target(where, self._link_roots)
        if target is None:
            self._skipped = self._skipped.and_link(path)
            return
        found = os.lstat(target)  # without links: what follows is about what was found to lie in a root
        if stat.S_ISREG(found.st_mode):
            self._files.append(_scanned(path, found))
        elif stat.S_ISDIR(found.st_mode):
            above = (*directory.above, directory.real)
            if any(_lies_in(place, target) for place in above):
                what = "is a link to a directory that contains it, so following it would never end"
                raise DiskError(f"{self._root / path} {what}; remove it, or share without following links")
            self._waiting.append(_Directory(f"{path}/", target, above))
        else:
            self._skipped = self._skipped.and_special(path)


def link_target(where: str, link_roots: Iterable[str]) -> str | None:
    """The real path of what a link leads to; None when it leads nowhere, or into none of ``link_roots``."""
    roots = [os.path.realpath(root) for root in link_roots]
    if not roots:
        return None
    try:
        target = os.path.realpath(where, strict=True)
    except OSError:
        return None
    return target if any(_lies_in(target, root) for root in roots) else None


def _lies_in(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or below it; both without links."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _scanned(path: str, found: os.stat_result) -> ScannedFile:
    executable = bool(found.st_mode & stat.S_IXUSR)
    return ScannedFile(path, found.st_size, executable, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
