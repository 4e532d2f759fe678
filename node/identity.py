"""Who this peer is, and that nobody else is it at the same time.

The peer id and the token that proves it are minted at the first start and kept in the data directory, readable
by their owner only. `DataDirLock` keeps a second peer out of a data directory; the supervisor holds it. Its processes
hold a `RunningMark`, because those of a supervisor that was killed outlive it for a moment.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from types import TracebackType

import msgspec

from protocol.errors import DiskError, UsageError
from protocol.messages import PeerId, Token

IDENTITY_NAME = "identity.json"
LOCK_NAME = "peer.lock"
MARK_NAME = "running.lock"
LAST_RUN_SECONDS = 6.0
"""Longer than a process takes to leave the network and end."""
POLL_SECONDS = 0.02
TELL_SECONDS = 0.5
ID_BYTES = 16
SECRET_BYTES = 32


class Identity(msgspec.Struct, frozen=True):
    """``peer`` is public and names the peer; ``token`` is known to this peer and its tracker only."""

    peer: PeerId
    token: Token


def load_identity(data_dir: Path) -> Identity:
    """The identity in ``data_dir``, minted if there is none. `DiskError` when it cannot be read or written."""
    path = data_dir / IDENTITY_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _mint(path)
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error
    try:
        return msgspec.json.decode(data, type=Identity)
    except msgspec.MsgspecError as error:
        raise DiskError(f"{path} is damaged ({error}); delete it to start as a new peer") from None


def _mint(path: Path) -> Identity:
    identity = Identity(peer=secrets.token_hex(ID_BYTES), token=secrets.token_bytes(SECRET_BYTES))
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(identity))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror}") from error
    return identity


class DataDirLock:
    """Exclusive use of ``data_dir`` by this process, for as long as it lives or until `release`."""

    def __init__(self, data_dir: Path) -> None:
        self._file = _open_lock(data_dir / LOCK_NAME)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read(32).decode(errors="replace").strip() or "unknown"
            self._file.close()
            raise UsageError(
                f"data directory {data_dir} is in use by the peer with pid {holder}; choose another with --data-dir"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())

    def release(self) -> None:
        """Let others have the directory."""
        self._file.close()

    def __enter__(self) -> DataDirLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    began = time.monotonic()
    told = False
    with _open_lock(data_dir / MARK_NAME) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - began
                if waited > patience:
                    raise UsageError(f"processes of an earlier peer on {data_dir} still run; end them first") from None
                if waited > TELL_SECONDS and not told:
                    told = True
                    tell(f"waiting for the processes of the last peer on {data_dir} to end, up to {patience:.0f} s")
                time.sleep(POLL_SECONDS)
            else:
                return


def _open_lock(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise DiskError(f"cannot use data directory {path.parent}: {error.strerror}") from error
