"""The file that tells scripts that the tracker serves, and where (docs/HACKING.md): written completely, or not at
all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from protocol.errors import DiskError


def check_ready_file(path: Path) -> None:
    """Remove the file of an earlier run; `DiskError` if the file could not be written later. Leaves nothing at
    ``path``: somebody may already be waiting for it.
    """
    try:
        if path.exists() and not path.is_file():  # a device has this name, and root could remove it
            raise DiskError(f"cannot write the ready file {path}: it exists and is not a regular file")
        path.unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def write_ready_file(path: Path, endpoints: Mapping[str, object]) -> None:
    """``endpoints`` as JSON, so that a reader sees all of it or nothing. Raises `DiskError`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(endpoints) + "\n")
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> DiskError:
    return DiskError(f"cannot write the ready file {path}: {error.strerror}")
