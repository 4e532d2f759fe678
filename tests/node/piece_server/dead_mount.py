"""A file system whose server is dead: FUSE whose other end takes requests and answers none."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

MNT_DETACH = 2


class DeadMount:
    """Whatever touches ``point``, a new directory, waits until `abort`. Skips the test where nobody may mount."""

    def __init__(self, point: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._point = os.fsencode(point)
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        point.mkdir()
        options = f"fd={self._fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if self._libc.mount(b"dead", self._point, b"fuse", 0, options.encode()):
            os.close(self._fd)
            pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")

    def abort(self) -> None:
        """End it: what waits for it fails, and so does what comes after. Once."""
        os.close(self._fd)
        self._libc.umount2(self._point, MNT_DETACH)
