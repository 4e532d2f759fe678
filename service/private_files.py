"""Files with secrets: private to their owner (0600), written completely or not at all, and on disk once written."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import ConfigError

SECRET_BYTES_MAX = 4_096
_NO_LINKS = errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS
"""What file systems without hard links say."""


def write_private(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, replacing what is there. Raises `OSError` about ``path``."""
    with _named(path):
        with _written_beside(path, data) as fresh:
            fresh.replace(path)
        sync_directory(path.parent)


def write_private_once(path: Path, data: bytes) -> bool:
    """Write ``data`` to ``path`` unless it exists; False if it does. Raises `OSError` about ``path``."""
    with _named(path):
        with _written_beside(path, data) as fresh:
            try:
                path.hardlink_to(fresh)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS or path.exists():
                    raise
                fresh.replace(path)
        sync_directory(path.parent)
    return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Any `OSError` is one about ``path``: that of a descriptor names no file, and others a temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    """A temporary file with ``data`` beside ``path``; it is gone at the end of the block."""
    descriptor, name = tempfile.mkstemp(".new", f"{path.name}.", path.parent)  # with mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Store on disk what was created, renamed or deleted in the directory ``path``. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path) -> bytes:
    """The content of ``path``, at most `SECRET_BYTES_MAX` of it. `ConfigError` if users other than its owner may read
    or change it, or if it is not a file. Raises `OSError`."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):  # reading a named pipe may wait for ever
            raise ConfigError(f"{path}: is not a file; expected one with a secret key")
        check_private(path, found, 0o077)
        return file.read(SECRET_BYTES_MAX)


def check_private_directory(path: Path, open_bits: int = 0o077) -> None:
    """`ConfigError` if users other than its owner have any of the rights ``open_bits`` to the directory ``path``.
    Raises `OSError`."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path}: is not a directory; expected a private one for secret keys")
    check_private(path, found, open_bits)


def check_private(path: Path, found: os.stat_result, open_bits: int) -> None:
    """`check_private_directory` for anything, as it was ``found``."""
    mode, wanted = stat.S_IMODE(found.st_mode), "700" if stat.S_ISDIR(found.st_mode) else "600"
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"{path}: holds a secret key and belongs to another user; run this as that user (sudo -u), or use another"
        )
    if mode & open_bits and mode & stat.S_ISVTX:
        raise ConfigError(f"{path}: all users share this directory; keep a secret key in one of your own (mode 700)")
    if mode & open_bits:
        what = f"is for a secret key and is open to other users (mode {mode:04o})"
        raise ConfigError(f"{path}: {what}; close it with: chmod {wanted} {path}")
