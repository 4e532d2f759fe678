"""Paths as people write them, made absolute."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import UsageError


def expanded(path: str) -> Path:
    """``path`` with ``~`` expanded; `UsageError` when it cannot be a path of this user."""
    if not path:
        raise UsageError("a path is empty; for the current directory give .")
    if "\0" in path:
        raise UsageError(f"the path {path!r} contains a NUL")
    try:
        if path.partition("/")[0] == "~" and not os.environ.get("HOME", "/").startswith("/"):
            raise RuntimeError("HOME is empty or relative")
        return Path(path).expanduser()
    except RuntimeError:
        user = path.removeprefix("~").partition("/")[0]
        if user:
            raise UsageError(f"{path}: there is no user {user}, or it has no home directory") from None
        raise UsageError(
            f"{path}: this user's home directory is not known; set HOME to an absolute path, or give one here"
        ) from None


def absolute_path(path: str) -> Path:
    """``path`` with ``~`` expanded, from the current directory, symlinks kept: a shared link keeps its name. An empty
    one is a `UsageError`: no name of the current directory, but a shell variable that is not set."""
    try:
        return Path(os.path.abspath(expanded(path)))  # noqa: PTH100 - Path.resolve would follow symlinks
    except FileNotFoundError:
        raise UsageError(f"{path}: the current directory was deleted; change to another one") from None
