"""The memory of a process as Linux counts it: nothing between two looks is missed."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from protocol.errors import LocalError
from protocol.limits import KIB

RESET_PEAK = "5"
"""What ``clear_refs`` takes for: the peak begins anew with what is resident now (proc(5))."""


class Memory(Struct, frozen=True):
    """Bytes that are resident, and the most that ever were, or since `reset_peak`."""

    resident: int
    peak: int


def memory_of(pid: int) -> Memory:
    """Raises `LocalError` when process ``pid`` is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if name in _NAMES}
    if len(kib) != len(_NAMES):  # of a process that has ended and was not reaped there is no memory either
        raise LocalError(f"process {pid} has ended while its memory was measured")
    return Memory(*(kib[name] * KIB for name in _NAMES))


def reset_peak(pid: int) -> bool:
    """Forget the peak so far; False when that is not permitted."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


_NAMES = ("VmRSS", "VmHWM")
