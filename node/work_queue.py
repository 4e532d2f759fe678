"""The port through which work is done away from whoever asks for it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class WorkQueue(Protocol):
    """Takes work to be done away from the caller, as `node.workers.Workers` does on threads."""

    def submit(self, done: Callable[[Any], None], work: Callable[[], object], /) -> None:
        """Have ``work`` done, not before this returns; then call ``done`` with what it returned or raised, in a turn of
        this process."""

    def close(self, patience: float) -> bool: ...
