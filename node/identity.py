"""Who this peer is, and that nobody else is it at the same time.

The token and the key pair of the peer are minted at the first start and kept in the data directory, readable by their
owner only; the peer id is the digest of the key. `DataDirLock` keeps a second peer out of a data directory; the
supervisor holds it. Its processes hold a `RunningMark`, because those of a supervisor that was killed outlive it for a
moment.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import secrets
import socket
import stat
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import msgspec

from node.disk.errors import disk_error
from protocol.discreet import Discreet
from protocol.errors import DiskError, UsageError
from protocol.keys import is_key, peer_id_of
from protocol.messages import Token
from service.private_files import check_private, check_private_directory, write_private, write_private_once
from service.text import printable
from transport.curve import KeyPair, new_pair, pair_of
from transport.runtime_dir import find_runtime_dir

IDENTITY_NAME = "identity.json"
LOCK_NAME = "peer.lock"
MARK_NAME = "running.lock"
LAST_RUN_SECONDS = 6.0
"""Longer than a process takes to leave the network and end."""
LOOK_SECONDS = 0.1
"""`is_free` takes the lock for a moment."""
POLL_SECONDS = 0.02
TELL_SECONDS = 0.5
TOKEN_BYTES = 32
ELSEWHERE = "choose another with --data-dir"
_HOLDER_BYTES_MAX = 4_096

_logger = logging.getLogger(__name__)


class Identity(Discreet, msgspec.Struct, frozen=True):
    """``token`` and ``secret``, a key, are known to this peer only. That of an earlier version has no key."""

    token: Token
    secret: str = ""

    @property
    def keys(self) -> KeyPair:
        return pair_of(self.secret)

    @property
    def peer(self) -> str:
        """The id, which is public and names the peer."""
        return peer_id_of(self.keys.public)

    def token_for(self, tracker: str) -> bytes:
        """What the tracker at endpoint ``tracker`` is told: with it, one that a stranger named cannot take this peer's
        place at another."""
        return hashlib.sha256(self.token + tracker.encode()).digest()


def load_identity(data_dir: Path) -> Identity:
    """The identity in ``data_dir``, minted if there is none. `DiskError` when it cannot be read or written."""
    path = data_dir / IDENTITY_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = _mint(path)
    except OSError as error:
        raise disk_error(error, "read", path) from error
    try:
        identity = msgspec.json.decode(data, type=Identity)
        if identity.secret and not is_key(identity.secret):
            raise msgspec.ValidationError("its secret is not a key")
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DiskError(f"{path} is damaged ({error}); delete it to start as a new peer") from None
    if not identity.secret:
        _logger.info("%s is of an earlier version: this peer gets a key, and a new id with it", path)
        identity = msgspec.structs.replace(identity, secret=new_pair().secret)
        try:
            write_private(path, msgspec.json.encode(identity))
        except OSError as error:
            raise disk_error(error, "write", path) from error
    return identity


def check_identity_private(data_dir: Path) -> None:
    """`ConfigError` when others than this user may read the identity in ``data_dir``, or put another in its place."""
    path = data_dir / IDENTITY_NAME
    try:
        check_private(path, path.stat(), 0o077)
        check_private_directory(data_dir, 0o022)
    except OSError as error:
        raise disk_error(error, "read", path) from error


def _mint(path: Path) -> bytes:
    """What is at ``path`` once somebody has minted an identity there."""
    identity = Identity(secrets.token_bytes(TOKEN_BYTES), new_pair().secret)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private_once(path, msgspec.json.encode(identity))
        return path.read_bytes()
    except OSError as error:
        raise disk_error(error, "write", path) from error


class Holder(msgspec.Struct, frozen=True):
    """The process that holds a data directory, and where: a directory can be seen by several machines and containers
    at once. ``boot`` and ``pids`` say whether a process id means anything here, ``mounts`` whether files do."""

    pid: int
    host: str = ""
    boot: str = ""
    pids: str = ""
    mounts: str = ""

    def why_not(self, data_dir: Path) -> str:
        """Why another peer cannot have ``data_dir``, and what to do."""
        here = this_process()
        if not self.pid:
            who = "another peer"
        elif (self.boot, self.pids) == (here.boot, here.pids):
            who = f"the peer with pid {self.pid}"
            if self.mounts != here.mounts:
                who += ", which sees other file systems than this process (a container?)"
        else:
            who = f"a peer on host {printable(self.host)} (pid {self.pid} there)"
        return f"data directory {data_dir} is in use by {who}; {ELSEWHERE}"


def this_process() -> Holder:
    """What this process says of itself."""
    boot = _line_of(Path("/proc/sys/kernel/random/boot_id"))
    return Holder(os.getpid(), printable(socket.gethostname()), boot, _namespace("pid"), _namespace("mnt"))


class DataDirInUseError(UsageError):
    """Another process has the data directory."""


class DataDirLock:
    """Exclusive use of ``data_dir`` by this process, for as long as it lives or until `release`. Raises
    `DataDirInUseError` when another process has it for longer than it takes to look whether it is free."""

    def __init__(self, data_dir: Path) -> None:
        self._file = _open_lock(data_dir / LOCK_NAME)
        try:
            free = _try_to_lock(self._file, LOOK_SECONDS)
        except OSError as error:
            self._file.close()
            raise DiskError(f"cannot lock {data_dir / LOCK_NAME}: {error.strerror}; {ELSEWHERE}") from error
        if not free:
            holder = _read_holder(self._file)
            self._file.close()
            raise DataDirInUseError(holder.why_not(data_dir))
        own = this_process()
        last = _read_holder(self._file)
        if last.pid and last.host != own.host:
            # Without locks over the network both could be here.
            what = (
                "data directory %s was last used on host %s, whose peer did not shut down cleanly; make sure it is gone"
            )
            _logger.warning(what, data_dir, last.host or "another")
        try:
            self._file.truncate(0)
            self._file.write(msgspec.json.encode(own))
        except OSError as error:
            self._file.close()
            raise disk_error(error, "write", data_dir / LOCK_NAME) from error

    def release(self) -> None:
        """Let others have the directory."""
        self._file.truncate(0)
        self._file.close()

    def __enter__(self) -> DataDirLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class RunningMark:
    """Held by each process of a peer while it runs."""

    def __init__(self, data_dir: Path) -> None:
        self._file = _open_lock(data_dir / MARK_NAME)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        self._file.close()


def await_last_run(data_dir: Path, tell: Callable[[str], None], patience: float = LAST_RUN_SECONDS) -> None:
    """Wait until no process holds the mark, which ``tell`` is told if it takes long; only a killed supervisor leaves
    any. `UsageError` if they do not end."""
    with _open_lock(data_dir / MARK_NAME) as file:
        if _try_to_lock(file, min(TELL_SECONDS, patience)):
            return
        tell(f"waiting for the processes of the last peer on {data_dir} to end, up to {patience:.0f} s")
        if not _try_to_lock(file, patience):
            raise UsageError(f"processes of an earlier peer on {data_dir} still run; end them first")


def is_free(data_dir: Path) -> bool:
    """Whether no peer, not even one that starts or ends, has ``data_dir``; looking makes nothing. `DataDirInUseError`
    when one has it that cannot be reached from here, `UsageError` when it is another user's."""
    path = data_dir / LOCK_NAME
    if not os.access(path, os.R_OK | os.W_OK):
        _check_owner(data_dir, path)
        return True  # nobody ever ran there
    with _open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(file)
        else:
            return True
    here = this_process()
    same_files = holder.mounts == here.mounts or find_runtime_dir(data_dir).is_dir()
    if holder.pid and not ((holder.boot, holder.pids) == (here.boot, here.pids) and same_files):
        raise DataDirInUseError(holder.why_not(data_dir))
    return False


def _check_owner(data_dir: Path, path: Path) -> None:
    """`UsageError` when ``path`` in ``data_dir`` is another user's, or closed to this one."""
    try:
        owner = path.stat().st_uid
    except PermissionError:
        owner = data_dir.stat().st_uid
    except OSError:
        return
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        what = "and so does the peer that runs there, if any"
        raise UsageError(
            f"data directory {data_dir} belongs to user {name}, {what}; use it as that user (sudo -u {name}), or "
            f"{ELSEWHERE}"
        )


def _try_to_lock(file: FileIO, patience: float) -> bool:
    """Lock ``file`` for this process alone; False when somebody else had it for ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True


def _read_holder(file: FileIO) -> Holder:
    """What the lock file says; pid 0 when it says nothing, as in the moment before its holder has written it."""
    file.seek(0)
    try:
        return msgspec.json.decode(file.read(_HOLDER_BYTES_MAX), type=Holder)
    except (msgspec.MsgspecError, RecursionError):
        return Holder(0)


def _namespace(kind: str) -> str:
    try:
        return str(Path(f"/proc/self/ns/{kind}").readlink())
    except OSError:
        return ""


def _line_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _open_lock(path: Path) -> FileIO:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever could open it could hold it.
        lock = FileIO(path, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600))
        found = os.fstat(lock.fileno())
        if stat.S_IMODE(found.st_mode) != 0o600 and found.st_uid == os.geteuid():  # an older version made it
            os.fchmod(lock.fileno(), 0o600)
        return lock
    except OSError as error:
        raise DiskError(f"{disk_error(error, 'use data directory', path.parent)}; {ELSEWHERE}") from error
