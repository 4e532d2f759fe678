"""The port through which work is done away from whoever asks for it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T_contra = TypeVar("T_contra", contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)


class WorkQueue(Protocol[T_contra, R_contra]):
    """Takes work to be done away from the caller, as `node.workers.Workers` does on threads."""

    def submit(self, tag: T_contra, work: Callable[[], R_contra]) -> None:
        """Have ``work`` done, not before this returns. ``tag`` and what it returned or raised go to whom
        `node.host.Host.workers` was given."""

    def close(self, patience: float) -> bool: ...
