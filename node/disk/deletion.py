"""Deleting content that was downloaded, if it is still just that: out of its name first, in one step, then for good."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from node.disk import durable
from node.disk.errors import ContentChangedError, disk_error
from node.disk.existing import extra_paths
from node.disk.staging import CONTENT, Staging, staging_path
from node.disk.stamps import STAMP_BYTES, take_stamps
from protocol.errors import DiskError
from protocol.manifest import Manifest


def delete_content(path: Path, manifest: Manifest, stamps: bytes) -> None:
    """Delete the content of ``manifest`` at ``path``, whose stamps are ``stamps``. It is moved into the staging
    directory beside it, so that nothing half deleted has its name, and looked at there once more. Raises `DiskError`,
    and has changed nothing, when it differs, holds anything else, or is in use by a download."""
    _check(path, manifest, stamps)
    staging = Staging(path)
    try:
        if not staging.is_spare("") or durable.exists_at(CONTENT, staging.fd):
            raise DiskError(f"an interrupted download has {staging.path}")
        os.rename(path.name, CONTENT, src_dir_fd=staging.parent_fd, dst_dir_fd=staging.fd)
        try:
            _check(staging.path / CONTENT, manifest, stamps, moved=True)
        except DiskError:
            durable.rename_new(CONTENT, staging.fd, path.name, staging.parent_fd)
            raise
    except OSError as error:
        _leave(staging)
        raise disk_error(error, "delete", path) from error
    except DiskError:
        _leave(staging)
        raise
    staging.remove()


def delete_rest(path: Path) -> None:
    """Delete what a `delete_content` that was killed left of what it had moved away from ``path``. Raises `DiskError`
    when it had not moved it yet, or something is at work there since."""
    if os.path.lexists(path):
        raise DiskError(f"{path} is there")
    if os.path.lexists(staging_path(path)):
        staging = Staging(path)
        if not staging.is_spare(""):
            staging.close()
            raise DiskError(f"an interrupted download has {staging.path}")
        staging.remove()


def _leave(staging: Staging) -> None:
    """A directory that was made for this is deleted."""
    if staging.fresh and not durable.exists_at(CONTENT, staging.fd):
        staging.remove()
    else:
        staging.close()


def _check(path: Path, manifest: Manifest, stamps: bytes, moved: bool = False) -> None:
    """A file that was ``moved`` has another change time; those in a directory that was have not."""
    if path.is_symlink():
        raise ContentChangedError(f"{path} is a symbolic link now")
    found = take_stamps(path, manifest)
    if moved and manifest.files is None:
        found, stamps = found[:8] + found[16:STAMP_BYTES], stamps[:8] + stamps[16:STAMP_BYTES]
    if found != stamps:
        raise ContentChangedError(f"{path} has changed since it was downloaded")
    extra = extra_paths(path, manifest)
    if extra:
        raise ContentChangedError(f"{path} also has {extra[0]}, which was not downloaded")
    try:
        _check_directories(path)
    except OSError as error:
        raise disk_error(error, "look at", path) from error


def _check_directories(root: Path) -> None:
    """No stamp shows what somebody did to those below ``root``: one that is protected could be deleted in part only."""
    device = root.lstat().st_dev
    for place, names, _ in os.walk(root):
        if not os.access(place, os.W_OK | os.X_OK):
            raise ContentChangedError(f"{place} may not be written to")
        for path in (f"{place}/{name}" for name in names):
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode):
                raise ContentChangedError(f"{path} is a symbolic link now")
            if found.st_dev != device:
                raise ContentChangedError(f"something is mounted at {path}")
