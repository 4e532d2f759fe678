"""Whether a download may go to a destination: what is there now, and whether it fits.

What stands at a destination is only ever replaced by its own kind, and only with ``force``: a file by a file, a
directory by a directory. Symbolic links and special files are never replaced or written through.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from node.disk.errors import disk_error, no_space
from node.disk.layout import Layout
from protocol.digest import raw_digest
from protocol.errors import DiskError
from protocol.limits import DIGEST_BYTES
from protocol.manifest import Manifest

PATH_MAX_BYTES = 4_096
"""Linux, its NUL included: content is served by path."""


def check_destination(dest: Path, parent_fd: int, is_tree: bool, force: bool) -> None:
    """Raise `DiskError` when content of this kind may not be put at ``dest``."""
    try:
        found = os.stat(dest.name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(error, "look at", dest) from error
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        raise DiskError(f"{dest} is a symbolic link; remove it or choose another destination")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DiskError(f"{dest} is neither a file nor a directory; choose another destination")
    if stat.S_ISDIR(mode) and not is_tree:
        raise DiskError(f"{dest} is a directory and the content is a file; remove it or choose another destination")
    if is_tree and not stat.S_ISDIR(mode):
        raise DiskError(f"{dest} is a file and the content is a directory; remove it or choose another destination")
    if not force:
        raise DiskError(f"{dest} exists with other content; use --force to replace it")
    if is_tree and not os.access(dest.name, os.W_OK, dir_fd=parent_fd, effective_ids=True):
        raise DiskError(f"{dest} cannot be replaced: it is not writable")


def check_paths(root: Path, layout: Layout) -> None:
    """Raise `DiskError` when a file's whole path would be too long to be opened."""
    base = os.fspath(root)
    for index in range(len(layout.files)):
        path = layout.path_under(base, index)
        if len(os.fsencode(path)) >= PATH_MAX_BYTES:
            raise DiskError(f"the path of {layout.files[index].path} under {root.parent} is too long")


def check_space(directory: Path, directory_fd: int, manifest: Manifest, on_disk: dict[int, int]) -> None:
    """Raise `NoSpaceError` when the content surely does not fit into ``directory``'s file system; one that turns out to
    be full later makes the download wait. ``on_disk``: bytes that each file which exists already takes there."""
    room = os.fstatvfs(directory_fd)
    files = Layout(manifest).files
    if room.f_blocks:  # ramfs has 0: it does not say how much it takes
        block = room.f_frsize
        needed = sum(max(0, -(-entry.length // block) * block - on_disk.get(i, 0)) for i, entry in enumerate(files))
        available = room.f_bavail * block
        if needed > available:
            needed -= _zero_bytes(manifest)
        if needed > available:
            raise no_space(directory, needed, available)
    new_files = len(files) - len(on_disk) + (0 if on_disk else len(manifest.empty_dirs))
    # f_files is 0 where inodes are made as needed.
    if room.f_files and new_files > room.f_favail:
        raise DiskError(
            f"not enough inodes in {directory}: {new_files} files and directories to create, {room.f_favail} free"
        )


def _zero_bytes(manifest: Manifest) -> int:
    """The bytes of all pieces that are zeros throughout: they take no room (`node.disk.sparse`)."""
    zeros = raw_digest(manifest.algorithm, bytes(manifest.piece_length))
    table = manifest.pieces
    same = sum(table[at : at + DIGEST_BYTES] == zeros for at in range(0, len(table), DIGEST_BYTES))
    return same * manifest.piece_length
