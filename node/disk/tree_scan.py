"""What lies under a path, as the file system lists it: the regular files and empty directories of an item to share.

Nothing is opened. Symbolic links and special files inside a tree are skipped and counted: a link may lead out of what
its owner meant to share, or nowhere. The path itself may be a link. Hashing is `node.disk.hashing`, deciding what of a
shared folder to share is `node.agent.folders`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from protocol.errors import DiskError, NotFoundError

FINGERPRINT_BYTES = 16


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
    """``root`` has no link left in it, ``name`` is what the content is to be called. Both lists are sorted."""

    root: Path
    name: str
    is_tree: bool
    files: list[ScannedFile]
    empty_dirs: list[str]
    skipped: int

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


def scan(path: Path) -> Scan:
    """List what is at ``path``. Raises `NotFoundError` when nothing is, `UnstableContentError` when something vanished
    on the way, `DiskError` when something cannot be read or ``path`` is no file or directory."""
    name = name_of(path)
    try:
        root = path.resolve(strict=True)
        found = root.stat()
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise DiskError(f"cannot read {path}: {_reason(error)}") from None
    if stat.S_ISREG(found.st_mode):
        return Scan(root, name, False, [_scanned("", found)], [], 0)
    if not stat.S_ISDIR(found.st_mode):
        raise DiskError(f"{path} is neither a file nor a directory")
    return _scan_tree(root, name)


def _scan_tree(root: Path, name: str) -> Scan:
    files: list[ScannedFile] = []
    empty_dirs: list[str] = []
    skipped = 0
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        held = len(files) + len(waiting)
        try:
            with os.scandir(os.path.join(root, prefix)) as entries:  # noqa: PTH118 - Path costs too much here
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{prefix}{entry.name}/")
                    elif entry.is_file(follow_symlinks=False):
                        files.append(_scanned(prefix + entry.name, entry.stat(follow_symlinks=False)))
                    else:
                        skipped += 1
        except (FileNotFoundError, NotADirectoryError):
            raise UnstableContentError(f"{root} is changing: something under {prefix!a} just vanished") from None
        except OSError as error:
            raise DiskError(f"cannot read {error.filename}: {_reason(error)}") from None
        if prefix and len(files) + len(waiting) == held:
            empty_dirs.append(prefix[:-1])
    files.sort()
    empty_dirs.sort()
    return Scan(root, name, True, files, empty_dirs, skipped)


def _scanned(path: str, found: os.stat_result) -> ScannedFile:
    executable = bool(found.st_mode & stat.S_IXUSR)
    return ScannedFile(path, found.st_size, executable, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
