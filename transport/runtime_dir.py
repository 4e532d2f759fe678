"""The directory of ipc sockets of a peer or a tracker: short, private, and the same for whoever knows whose it is.

A data directory can be too deep for a socket path (107 bytes), so the sockets lie elsewhere. The name is derived from
the directory itself, its device and inode: one that was moved, or is seen under another path, is the same, and a copy
is another. The directory is its user's alone (0700) and made anew at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from protocol.errors import ConfigError
from protocol.limits import IPC_PATH_BYTES_MAX

IPC_SCHEME = "ipc://"
POINTER_NAME = "sockets"


Owner = Path | str
"""Whose sockets: an existing data directory, or the name of something that has none."""


def runtime_dir(owner: Owner) -> Path:
    """Where the sockets of ``owner`` lie; nothing is created. `OSError` when its data directory does not exist,
    `ConfigError` when no directory can hold sockets."""
    return _base() / f"zswarm-{os.getuid()}-{_mark(owner)}"


def make_runtime_dir(owner: Owner) -> Path:
    """Create it, or take over the one a killed process left. Raises `ConfigError` when it is somebody else's."""
    path = runtime_dir(owner)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check_owned(path)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created for this peer's sockets: {error.strerror}") from None
    return path


def remove_runtime_dir(owner: Owner) -> None:
    """Remove it with the sockets in it. Nothing happens when it does not exist."""
    try:
        path = runtime_dir(owner)
        _check_owned(path)
    except FileNotFoundError:
        return
    for entry in path.iterdir():
        entry.unlink(missing_ok=True)
    path.rmdir()


def point_to_runtime_dir(data_dir: Path, path: Path) -> None:
    """Leave a link to ``path`` in the data directory, for whoever has another environment than the peer: a shell
    need not have the XDG_RUNTIME_DIR or TMPDIR of the service manager. Raises `ConfigError` when it cannot be made.
    """
    fresh = data_dir / f"{POINTER_NAME}.new"
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(path)
        fresh.replace(data_dir / POINTER_NAME)
    except OSError as error:
        raise ConfigError(f"{fresh}: cannot be created: {error.strerror}") from None


def find_runtime_dir(data_dir: Path) -> Path:
    """The runtime directory of the peer that runs on ``data_dir``, or of the last that did. `OSError` when there is no
    such data directory."""
    mark = _mark(data_dir)
    with contextlib.suppress(OSError):
        pointed = (data_dir / POINTER_NAME).readlink()
        if pointed.name.endswith(f"-{mark}"):  # a copy has the link of its original
            return pointed
    return runtime_dir(data_dir)


def ipc_endpoint(directory: Path, name: str) -> str:
    """The endpoint of socket ``name`` in ``directory``. Raises `ConfigError` when its path is too long for one."""
    path = directory / name
    if len(os.fsencode(path)) > IPC_PATH_BYTES_MAX:
        raise ConfigError(
            f"{path}: longer than the {IPC_PATH_BYTES_MAX} bytes a socket path may have; "
            "set XDG_RUNTIME_DIR or TMPDIR to a shorter directory"
        )
    return f"{IPC_SCHEME}{path}"


def _mark(owner: Owner) -> str:
    if isinstance(owner, Path):
        found = owner.stat()
        owner = f"{found.st_dev}:{found.st_ino}"
    return hashlib.sha256(owner.encode()).hexdigest()[:12]


def _base() -> Path:
    """The user's own runtime directory where there is one, else the temporary directory; `ConfigError` without both."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if own.startswith("/") and os.access(own, os.W_OK | os.X_OK):
        return Path(own)
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ConfigError(
            f"no directory for sockets: XDG_RUNTIME_DIR is {'not writable' if own else 'not set'} and no temporary "
            "directory is; set XDG_RUNTIME_DIR to a directory that this user can write"
        ) from None


def _check_owned(path: Path) -> None:
    """Anyone can make a directory of this name in /tmp first: a link or another's is refused."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{path}: exists and is not this user's directory; remove it, or set XDG_RUNTIME_DIR")
