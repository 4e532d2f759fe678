"""The hidden directory beside a destination in which a download takes shape (ARCHITECTURE.md, "On disk").

::

    DIR/.NAME.part/lock        flock: one download at a time for one destination, whoever runs it
                  /claim       whose content this is: the manifest digest
                  /content     the file or directory that becomes DIR/NAME
                  /replacing   only while a directory is being replaced, or a file of which the old one is kept: the
                               inode of the new one, and how many old ones are kept
                  /replaced    only then: the old one, until it is deleted or kept as DIR/NAME.TIME
                  /left-1      what of an old one could not be deleted, and is tried again by the next download

It is a directory for a single file too, so that lock and claim have a place and the bytes can have their final
modes at once: it is itself closed to everybody else. What it holds is ours: a claim of other content is given up
and its bytes deleted. A ``.NAME.part`` without lock and claim is somebody else's and never touched.

Everything is done relative to directory descriptors: it does not matter what happens to the path meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import stat
import time
from itertools import count
from pathlib import Path

from node.disk import durable
from node.disk.errors import AwayError, disk_error
from node.disk.share_options import KEPT_MARK, KEPT_TIME
from protocol.errors import DiskError
from protocol.limits import NAME_BYTES_MAX

CONTENT = "content"
_REPLACING = "replacing"
_REPLACED = "replaced"
_LEFT = "left-"
_PROBE = 'probe \x01\\:<>"|?*. '
_ATTEMPTS = 5
_OLD = ".20261130T210405Z.99"
_SAME_TIME_COUNT_MAX = 100
"""Of one second."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

log = logging.getLogger(__name__)


def staging_path(dest: Path) -> Path:
    """Where the partial content of ``dest`` lies. A name too long for the decoration is cut and told apart by hash."""
    name = f".{dest.name}.part"
    if len(os.fsencode(name)) > NAME_BYTES_MAX:
        mark = hashlib.sha256(os.fsencode(dest.name)).hexdigest()[:16]
        name = f".{os.fsencode(dest.name)[:200].decode('utf-8', 'ignore')}-{mark}.part"
    return dest.parent / name


def bytes_on_disk(root: Path) -> int:
    """What the directory ``root`` takes, as far as it can be read: for people. Links are not followed."""
    found = (os.path.join(place, name) for place, _, names in os.walk(root) for name in names)  # noqa: PTH118 - many
    return sum(os.lstat(path).st_blocks * 512 for path in found if os.path.lexists(path))


def open_directory(path: Path) -> int:
    """A descriptor of the directory a destination lies in; `DiskError` when there is none."""
    try:
        return os.open(path, _DIRECTORY)
    except FileNotFoundError:
        raise AwayError(f"the directory {path} does not exist; create it or choose another destination") from None
    except NotADirectoryError:
        raise DiskError(f"{path} is not a directory") from None
    except OSError as error:
        raise disk_error(error, "open the directory", path) from error


class Staging:
    """A locked staging directory; ``fd`` is its descriptor, ``parent_fd`` that of the directory it lies in.

    ``fresh``: there was none before. ``left_behind``: why `remove` could not delete all of an old directory, and where
    the rest of it is.
    """

    def __init__(self, dest: Path) -> None:
        """Make or find the staging directory of ``dest``, lock it, and put right what a killed publish left.

        Raises `DiskError` when another download has it, when it is not ours, or when nothing can be written there.
        """
        self.dest = dest
        self.left_behind = ""
        self.path = staging_path(dest)
        self.parent_fd = open_directory(dest.parent)
        self.fd = self._lock_fd = -1
        try:
            self.fresh = self._enter()
            self._recover()
        except OSError as error:
            self.close()
            raise disk_error(error, "write to", self.path) from error
        except DiskError:
            self.close()
            raise

    def claim(self, claim: str) -> bool:
        """Take the directory for the content ``claim`` names. True when it holds content of that claim already;
        content of another claim is deleted."""
        if durable.read_small_at("claim", self.fd) == claim:
            return durable.exists_at(CONTENT, self.fd)
        remove_at(CONTENT, self.fd)
        durable.write_small_at("claim", claim, self.fd)
        os.fsync(self.parent_fd)
        return False

    def takes_posix_names(self) -> bool:
        """Whether the file system has all names of POSIX, which are any bytes and differ when their bytes do: one of
        Windows has not, and some do not tell upper and lower case apart."""
        try:
            os.close(os.open(_PROBE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd))
            distinct = not durable.exists_at(_PROBE.upper(), self.fd)
            os.unlink(_PROBE, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EILSEQ, errno.ENOENT, errno.EPERM, errno.EACCES, errno.EIO):
                return False
            raise
        return distinct

    def is_spare(self, claim: str) -> bool:
        """Whether nothing is in here but what belongs to ``claim``. Content has a claim as long as it is there."""
        return durable.read_small_at("claim", self.fd) in (claim, "")

    def publish(self, replace: bool, keep: int = 0) -> None:
        """Give the content its final name, atomically, and make that durable. ``FileExistsError`` when the name is
        taken and not to be replaced; whatever else goes wrong, the old content keeps or gets back its name. Of what is
        replaced, and what was before, ``keep`` stay beside it, named after the times when they were written."""
        name = self.dest.name
        if keep and len(os.fsencode(name)) + len(_OLD) > NAME_BYTES_MAX:
            log.warning("%s: the name is too long to keep what it replaces under a longer one", self.dest)
            keep = 0
        if not replace or not durable.exists_at(name, self.parent_fd):
            durable.rename_new(CONTENT, self.fd, name, self.parent_fd)
        elif keep or stat.S_ISDIR(self._stat(CONTENT, self.fd).st_mode):
            self._replace(name, keep)
        else:
            os.rename(CONTENT, name, src_dir_fd=self.fd, dst_dir_fd=self.parent_fd)
        os.fsync(self.parent_fd)

    def remove(self) -> None:
        """Delete the directory and close. What cannot be deleted is left with a line in the log."""
        try:
            remove_at(CONTENT, self.fd)
            for name in (*self._left(), _REPLACED):
                self._delete_old(name)
            for name in (_REPLACING, "claim.new", "claim", "replacing.new", _PROBE):
                remove_at(name, self.fd)
            if not self._left():
                remove_at("lock", self.fd)
                os.rmdir(self.path.name, dir_fd=self.parent_fd)
            os.fsync(self.parent_fd)
        except OSError as error:
            log.warning("cannot delete all of %s: %s", self.path, error.strerror)
        self.close()

    def _left(self) -> list[str]:
        return sorted(name for name in os.listdir(self.fd) if name.startswith(_LEFT))  # noqa: PTH208 - of a descriptor

    def _delete_old(self, name: str) -> None:
        """Delete an old directory, or get what cannot be deleted out of the way of the next download."""
        try:
            remove_at(name, self.fd)
        except OSError as error:
            self.left_behind = f"{error.strerror}: {self.path}"
            log.warning("an old directory cannot be deleted: %s", self.left_behind)
            if not name.startswith(_LEFT):
                taken = self._left()
                free = next(left for number in count(1) if (left := f"{_LEFT}{number}") not in taken)
                os.rename(name, free, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def close(self) -> None:
        """Unlock; what is in the directory stays."""
        for fd in (self._lock_fd, self.fd, self.parent_fd):
            if fd >= 0:
                os.close(fd)
        self._lock_fd = self.fd = self.parent_fd = -1

    # --- entering -----------------------------------------------------------------------------------------

    def _enter(self) -> bool:
        for _ in range(_ATTEMPTS):
            fresh = self._make()
            try:
                if self._lock():
                    return fresh
            except FileNotFoundError:
                pass  # its last owner is deleting it: make it again
            for fd in (self._lock_fd, self.fd):
                if fd >= 0:
                    os.close(fd)
            self._lock_fd = self.fd = -1
        raise DiskError(f"{self.path} is made and deleted by somebody else all the time; is another download at work?")

    def _make(self) -> bool:
        name = self.path.name
        try:
            os.mkdir(name, 0o700, dir_fd=self.parent_fd)
            fresh = True
        except FileExistsError:
            fresh = False
        try:
            self.fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.parent_fd)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise DiskError(f"{self.path} is in the way and not ours; move it elsewhere") from None
            raise
        if not fresh:
            self._check_ours()
        return fresh

    def _check_ours(self) -> None:
        if os.fstat(self.fd).st_uid != os.geteuid():
            raise DiskError(f"{self.path} belongs to another user; delete it or choose another destination")
        names = os.listdir(self.fd)  # noqa: PTH208 - of a descriptor
        if names and "lock" not in names and "claim" not in names:
            raise DiskError(f"{self.path} is in the way and not ours; move it elsewhere")

    def _lock(self) -> bool:
        """False when the directory was deleted while we came to lock it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock_fd = os.open("lock", flags, 0o600, dir_fd=self.fd)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DiskError(f"another download is writing to {self.dest}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: the file system has no locks, two downloads to one place go unnoticed", self.path.parent)
        same_lock = self._stat("lock", self.fd).st_ino == os.fstat(self._lock_fd).st_ino
        return same_lock and self._stat(self.path.name, self.parent_fd).st_ino == os.fstat(self.fd).st_ino

    def _stat(self, name: str, dir_fd: int) -> os.stat_result:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    # --- replacing a directory, or what is kept -----------------------------------------------------------

    def _replace(self, name: str, keep: int) -> None:
        durable.write_small_at(_REPLACING, f"{self._stat(CONTENT, self.fd).st_ino} {keep}", self.fd)
        if durable.exchange(CONTENT, self.fd, name, self.parent_fd):
            os.rename(CONTENT, _REPLACED, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        elif stat.S_ISDIR(self._stat(CONTENT, self.fd).st_mode):
            self._replace_in_two_steps(name)
        else:
            os.link(name, _REPLACED, src_dir_fd=self.parent_fd, dst_dir_fd=self.fd, follow_symlinks=False)
            os.rename(CONTENT, name, src_dir_fd=self.fd, dst_dir_fd=self.parent_fd)
        self._keep_replaced(keep)

    def _replace_in_two_steps(self, name: str) -> None:
        os.rename(name, _REPLACED, src_dir_fd=self.parent_fd, dst_dir_fd=self.fd)
        try:
            durable.rename_new(CONTENT, self.fd, name, self.parent_fd)
        except OSError:
            durable.rename_new(_REPLACED, self.fd, name, self.parent_fd)
            raise

    def _keep_replaced(self, keep: int) -> None:
        """Have what was replaced beside what took its place, and no more than ``keep`` such; 0: leave them."""
        if not keep:
            return
        old = f"{self.dest.name}.{time.strftime(KEPT_TIME, time.gmtime(self._stat(_REPLACED, self.fd).st_mtime))}"
        names = [old, *(f"{old}.{number}" for number in range(1, _SAME_TIME_COUNT_MAX))]
        there = set(os.listdir(self.parent_fd))  # noqa: PTH208 - of a descriptor
        free = next((name for name in names if name not in there), names[-1])
        durable.rename_new(_REPLACED, self.fd, free, self.parent_fd)
        ours = [name for name in (*there, free) if KEPT_MARK.sub("", name) == self.dest.name != name]
        kept = [name for name in ours if self._was_put_aside(name)]
        for name in sorted(kept)[:-keep]:
            try:
                remove_at(name, self.parent_fd)
            except OSError as error:
                log.warning("cannot delete all of %s: %s", self.dest.parent / name, error.strerror)

    def _was_put_aside(self, name: str) -> bool:
        """Whether ``name`` has the time of what it names, as what is kept has: a person's file hardly has."""
        changed = time.strftime(KEPT_TIME, time.gmtime(self._stat(name, self.parent_fd).st_mtime))
        return name.removeprefix(f"{self.dest.name}.").startswith(changed)

    def _is_in_place(self, name: str) -> bool:
        """Whether ``name`` is what stands at the destination."""
        if not durable.exists_at(self.dest.name, self.parent_fd):
            return False
        return os.path.samestat(self._stat(name, self.fd), self._stat(self.dest.name, self.parent_fd))

    def _recover(self) -> None:
        """After a kill in `_replace`: the old content is either back in its place or superseded."""
        inode, _, keep = durable.read_small_at(_REPLACING, self.fd).partition(" ")
        if inode:
            if durable.exists_at(CONTENT, self.fd) and str(self._stat(CONTENT, self.fd).st_ino) != inode:
                # The exchange was done: what is called content here is the old one.
                os.rename(CONTENT, _REPLACED, src_dir_fd=self.fd, dst_dir_fd=self.fd)
            self._recover_replaced(int(keep or 0))
            remove_at(_REPLACING, self.fd)

    def _recover_replaced(self, keep: int) -> None:
        if not durable.exists_at(_REPLACED, self.fd):
            return
        if not durable.exists_at(CONTENT, self.fd):
            self._keep_replaced(keep)
            self._delete_old(_REPLACED)
            return
        if self._is_in_place(_REPLACED):
            remove_at(_REPLACED, self.fd)  # another name of what was not replaced yet
            return
        try:
            durable.rename_new(_REPLACED, self.fd, self.dest.name, self.parent_fd)
        except FileExistsError:
            raise DiskError(
                f"what a download was replacing at {self.dest} is now {self.path / _REPLACED}; move it elsewhere"
            ) from None
        log.warning("%s has its old content back: the download that was replacing it was killed", self.dest)


def remove_at(name: str, dir_fd: int) -> None:
    """Delete a file, a link or a whole directory; nothing happens when there is none."""
    try:
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        _remove_tree(name, dir_fd)
    else:
        os.unlink(name, dir_fd=dir_fd)


def _remove_tree(name: str, dir_fd: int) -> None:
    """Delete a directory however deep it is: ``shutil.rmtree`` takes a frame and a descriptor for each level."""
    above: list[tuple[str, list[str], os.stat_result]] = []
    """Of each directory on the way down: the name gone down by, the others still to be deleted, its own status."""
    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        inner = _remove_files(fd)
        while inner or above:
            if inner:
                child = inner.pop()
                below = os.open(child, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                above.append((child, inner, os.fstat(fd)))
                os.close(fd)
                fd = below
                inner = _remove_files(fd)
            else:
                child, inner, parent = above.pop()
                up = os.open("..", _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = up
                if not os.path.samestat(os.fstat(fd), parent):
                    raise OSError(errno.ESTALE, "somebody moved a part of it meanwhile", child)
                os.rmdir(child, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)


def _remove_files(fd: int) -> list[str]:
    """Delete all but the directories in ``fd``; return the names of these."""
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
    return [name for name, is_directory in found if is_directory]
