"""What Python's ``os`` lacks for putting files in place safely: ``syncfs`` and ``renameat2``, and durable small files.

Names are relative to directory descriptors, so nothing that happens to the path above them matters.
"""

from __future__ import annotations

import ctypes
import errno
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def sync_file_system(fd: int) -> bool:
    """``syncfs(2)``: all that was written to the file system of ``fd`` is durable. False where there is no such call.

    Raises ``OSError`` when anything written back since ``fd`` was opened was lost (Linux 5.8 and later), so ``fd``
    has to be older than the writes it is to vouch for.
    """
    if not hasattr(_LIBC, "syncfs"):
        return False
    if _LIBC.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return True


def sync_at(name: str, dir_fd: int) -> None:
    """``fsync`` a file or directory by name."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename_new(old: str, old_fd: int, new: str, new_fd: int) -> None:
    """Rename, atomically, only if there is no ``new``; ``FileExistsError`` otherwise. Where the file system cannot
    promise that (the call is missing), a check comes just before the rename."""
    if _renameat2(old, old_fd, new, new_fd, _RENAME_NOREPLACE):
        return
    if exists_at(new, new_fd):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
    os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)


def exchange(one: str, one_fd: int, other: str, other_fd: int) -> bool:
    """Swap two names atomically. False, and nothing done, where the file system cannot."""
    return _renameat2(one, one_fd, other, other_fd, _RENAME_EXCHANGE)


def exists_at(name: str, dir_fd: int) -> bool:
    """Whether there is anything by that name, a dangling link included."""
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_small_at(name: str, text: str, dir_fd: int) -> None:
    """Create or replace a small file atomically and durably, readable by its owner alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(f"{name}.new", flags, 0o600, dir_fd=dir_fd)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(f"{name}.new", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    os.fsync(dir_fd)


def read_small_at(name: str, dir_fd: int) -> str:
    """The text of a small file; empty when there is none. Bytes that are no ASCII come out as ``?``."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 4096).decode("ascii", "replace")
    finally:
        os.close(fd)


def _renameat2(old: str, old_fd: int, new: str, new_fd: int, flags: int) -> bool:
    if not hasattr(_LIBC, "renameat2"):
        return False
    if _LIBC.renameat2(old_fd, os.fsencode(old), new_fd, os.fsencode(new), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), old, None, new)
