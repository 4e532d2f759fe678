"""What `small` measures, the figures it gets, and what is asked of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from benchmarks.comparison import Case, Row, Target, row
from protocol.limits import KIB, MIB

OURS, RSYNC = "zswarm", "rsync"
ONE_FILE_BYTES = MIB
HASHED_BYTES = 1_024 * MIB
ONE_FILE_MS_MAX = 60
HASHING_PART_MIN = 0.9
READ_AGAIN_MIB_MAX = 4
"""The seed of 100 GiB has 0.8 MiB, and is read once or twice."""


class OneFile(Struct, frozen=True):
    """Milliseconds of each fetch, asked for over the local API and by a command."""

    size: int
    api_ms: list[float]
    command_ms: list[float]


class Hashing(Struct, frozen=True):
    """MiB/s of each round."""

    size: int
    ours: list[float]
    plain: list[float]


class Start(Struct, frozen=True):
    """``joined_s`` until it was in the network, ``listed_s`` until another peer found what it shares. ``read_bytes`` is
    what its processes read in all, ``disk_bytes`` what of it came from the disk."""

    joined_s: float
    listed_s: float
    read_bytes: int
    disk_bytes: int


class Restarts(Struct, frozen=True):
    """``size`` of the large file, and how long it took to be hashed and listed at first. A start for each round."""

    size: int
    first_s: float
    large: list[Start]
    small: list[Start]


def tree(files: int) -> Case:
    """So many ``files`` of 16 KiB to one receiver."""
    target = Target(f"MiB/s of {files} files over that of {RSYNC}", RSYNC, "mib_s", 1.0, at_least=True)
    return Case("tree", 1, files * 16 * KIB, (target,), files)


def one_file_row(found: OneFile) -> Row:
    return _row("one-file", "ms of a file of 1 MiB, median", ONE_FILE_MS_MAX, False, found.api_ms)


def hashing_row(found: Hashing) -> Row:
    ratios = [ours / plain for ours, plain in zip(found.ours, found.plain, strict=True)]
    return _row("hashing", "hashing over BLAKE3 on one thread", HASHING_PART_MIN, True, ratios)


def restart_row(found: Restarts) -> Row:
    more = [(one.read_bytes - other.read_bytes) / MIB for one, other in zip(found.large, found.small, strict=True)]
    return _row("restart", "MiB read again for the large file", READ_AGAIN_MIB_MAX, False, more)


def _row(case: str, text: str, limit: float, at_least: bool, values: Sequence[float]) -> Row:
    return row(case, Target(text, "", "", limit, at_least), values)
