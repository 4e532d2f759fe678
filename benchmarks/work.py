"""The directory a benchmark works in: nothing is left of it, whatever happens."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.interrupts import shielded


@contextmanager
def work_directory(name: str, where: Path | None = None) -> Iterator[Path]:
    """A new directory in ``where`` (None: that for temporary files) for the benchmark ``name``, removed at the end.

    Its path is absolute: processes that run elsewhere are told of it.
    """
    with shielded():
        path = Path(tempfile.mkdtemp(prefix=f"zswarm-{name}-", dir=where)).resolve()
    try:
        yield path
    finally:
        with shielded():
            shutil.rmtree(path)
