"""What can go wrong between us and a disk, as errors a person can act on.

All are `protocol.errors.DiskError` except `StoppedError`. `disk_error` is the one place where an ``OSError`` is
translated; callers name what they were doing.
"""

from __future__ import annotations

import errno
from pathlib import Path

from protocol.errors import DiskError, ZswarmError
from service.units import format_bytes


class PassingError(DiskError):
    """What the disk refuses now it may allow later, once somebody has made room: a download waits and tries again."""


class NoSpaceError(PassingError):
    """The file system of a download is full, or would be. What is verified is kept."""


class AwayError(PassingError):
    """A file system is read-only, or a directory not there: its disk may be away. It may be back later."""


class OpenFilesError(PassingError):
    """This process, or the machine, has as many files open as it may."""


class ContentChangedError(DiskError):
    """Shared content is no longer what was hashed: a file is gone, or its bytes are others."""


class NotThereError(DiskError):
    """Bytes of a growing download that are not on disk (yet)."""


class StoppedError(ZswarmError):
    """Long work ended early because its caller's ``cancelled`` said so."""

    code = "cancelled"


def disk_error(error: OSError, doing: str, path: Path | str) -> DiskError:
    """``error`` as a `DiskError` that says ``doing`` and ``path``, and what to do: `NoSpaceError` when the disk or a
    quota is full, `AwayError` when it is read-only or gone, `OpenFilesError` when no more files can be opened."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        kind = "quota is used up" if error.errno == errno.EDQUOT else "disk is full"
        return NoSpaceError(f"cannot {doing} {path}: the {kind}; free some space")
    if error.errno == errno.EROFS:
        return AwayError(f"cannot {doing} {path}: the file system is read-only; make it writable")
    if error.errno in (errno.ENODEV, errno.ENXIO, errno.ESTALE):
        return AwayError(f"cannot {doing} {path}: {error.strerror}; is its disk there?")
    if error.errno == errno.EMFILE:
        return OpenFilesError(f"cannot {doing} {path}: too many open files; raise the limit (ulimit -n) of the peer")
    if error.errno == errno.ENFILE:
        return OpenFilesError(f"cannot {doing} {path}: the machine has too many open files; raise fs.file-max")
    if error.errno == errno.EFBIG:
        return DiskError(f"cannot {doing} {path}: the file is too large for this file system")
    return DiskError(f"cannot {doing} {path}: {error.strerror or error}")


def no_space(directory: Path | str, needed: int, available: int) -> NoSpaceError:
    """``needed`` bytes do not fit into the ``available`` ones of ``directory``'s file system."""
    lacking = f"{format_bytes(needed - available)} more than is available"
    return NoSpaceError(f"not enough space in {directory}: {format_bytes(needed)} needed, {lacking}; free some space")
