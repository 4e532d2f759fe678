"""Whether a destination already holds exactly what is to be downloaded there.

Names, lengths, kinds and executable bits are compared first, so that only a destination that may well be the
content is read. What differs in any of them is other content.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from node.disk.errors import NotThereError, disk_error
from node.disk.layout import Layout
from node.disk.open_files import OneOpenFile, read_chunks
from node.disk.piece_work import BUFFER_BYTES, digest_of
from node.disk.staging import staging_path
from node.disk.storage import remove_leftovers
from node.disk.store import Cancelled, Progress
from protocol.errors import DiskError
from protocol.manifest import Manifest


def existing_matches(
    dest: Path, manifest: Manifest, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> bool:
    """Whether ``dest`` holds the content of ``manifest``, every byte read and compared by digest.

    ``progress`` gets the bytes read so far. Raises `StoppedError` when cancelled, `DiskError` when something there
    cannot be read. When true, what a download killed during its publishing left beside ``dest`` is deleted.
    """
    layout = Layout(manifest)
    try:
        if not _same_structure(dest, layout, manifest.empty_dirs):
            return False
        if not _same_bytes(dest, manifest, layout, progress, cancelled):
            return False
    except OSError as error:
        raise disk_error(error, "read", dest) from error
    _clear_leftovers(dest, manifest)
    return True


def extra_paths(dest: Path, manifest: Manifest) -> list[str]:
    """Files and empty directories below ``dest`` that the content of ``manifest`` does not have, sorted: with them it
    is other content. None for a single file. Raises `DiskError` when a directory cannot be read."""
    if manifest.files is None:
        return []
    named = {*manifest.empty_dirs, *(file.path for file in manifest.files)}
    for path in list(named):  # a directory may be a symbolic link
        named.update(str(parent) for parent in PurePosixPath(path).parents)
    try:
        return sorted(path for path, _ in _walk(os.fspath(dest)) if path not in named)
    except OSError as error:
        raise disk_error(error, "read", dest) from error


def _same_structure(dest: Path, layout: Layout, empty_dirs: tuple[str, ...]) -> bool:
    try:
        found = dest.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not layout.is_tree:
        return stat.S_ISREG(found.st_mode) and found.st_size == layout.files[0].length
    if not stat.S_ISDIR(found.st_mode):
        return False
    files = {entry.path: entry for entry in layout.files}
    empty = set(empty_dirs)
    for path, entry in _walk(os.fspath(dest)):
        if entry is None:
            if path not in empty:
                return False
            empty.discard(path)
            continue
        expected = files.pop(path, None)
        if expected is None or not stat.S_ISREG(entry.st_mode) or entry.st_size != expected.length:
            return False
        if bool(entry.st_mode & stat.S_IXUSR) != expected.executable:
            return False
    return not files and not empty


def _walk(root: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Every non-directory below ``root`` with its status, and every empty directory with None (not the root)."""
    pending = [""]
    while pending:
        directory = pending.pop()
        is_empty = True
        with os.scandir(os.path.join(root, directory)) as entries:  # noqa: PTH118 - plain strings, hot for big trees
            for entry in entries:
                is_empty = False
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    yield path, entry.stat(follow_symlinks=False)
        if is_empty and directory:
            yield directory, None


def _same_bytes(
    dest: Path, manifest: Manifest, layout: Layout, progress: Progress | None, cancelled: Cancelled | None
) -> bool:
    base = os.fspath(dest)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    files = OneOpenFile(lambda index: os.open(layout.path_under(base, index), flags))
    chunks = read_chunks(files, layout.whole(), bytearray(BUFFER_BYTES))
    try:
        return digest_of(chunks, manifest.algorithm, progress, cancelled) == manifest.digest
    except NotThereError:
        return False  # it shrank under us


def _clear_leftovers(dest: Path, manifest: Manifest) -> None:
    if not os.path.lexists(staging_path(dest)):
        return
    with contextlib.suppress(DiskError):  # in use, or not ours: none of our business here
        remove_leftovers(manifest, dest)
