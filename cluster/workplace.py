"""The directory that a run works in: new, and gone afterwards unless it is to be kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.interrupts import shielded
from cluster.progress import Screen
from protocol.errors import DiskError, UsageError


@contextmanager
def workplace(keep: Path | None, screen: Screen) -> Iterator[Path]:
    """The directory for everything: ``keep``, new or empty, or a temporary one that is removed."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
            if any(keep.iterdir()):
                raise UsageError(f"{keep} is not empty; --keep needs a new or an empty directory")
        except OSError as error:
            raise DiskError(f"cannot use {keep}: {error.strerror}") from None
        yield keep.resolve()
        return
    with shielded():
        root = Path(tempfile.mkdtemp(prefix="zswarm-cluster-"))
    try:
        yield root
    finally:
        screen.stage(f"removing {root}")
        with shielded():
            shutil.rmtree(root)
