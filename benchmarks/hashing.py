"""How fast content is hashed to be shared: pieces and whole, beside BLAKE3 of the same bytes on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from benchmarks.contenders.contender import ContenderError
from benchmarks.small_cases import Hashing
from cluster.content import Original, check_space, make_random
from node.disk.hashing import BLOCK_BYTES, hash_content
from protocol.limits import MIB

WARM_ROUNDS_COUNT = 1


def measure(size: int, rounds: int, work: Path, tell: Callable[[str], None]) -> Hashing:
    """Hash a file of ``size`` random bytes in both ways, ``rounds`` times."""
    check_space(work, size, 1)
    path = work / "hashed.bin"
    make_random(Original(path, path.name, size))
    found = Hashing(size, [], [])
    for number in range(WARM_ROUNDS_COUNT + rounds):
        began = time.monotonic()
        ours = hash_content(path, "blake3").manifest.digest
        middle = time.monotonic()
        plain = _plain(path)
        ended = time.monotonic()
        if ours != f"blake3:{plain}":
            raise ContenderError(f"{path} is {ours} to one, {plain} to the other")
        if number >= WARM_ROUNDS_COUNT:
            found.ours.append(round(size / MIB / (middle - began), 1))
            found.plain.append(round(size / MIB / (ended - middle), 1))
            label = f"round {number - WARM_ROUNDS_COUNT + 1} of {rounds}"
            tell(f"hashing, {label}: MiB/s {found.ours[-1]:.0f} to share, {found.plain[-1]:.0f} BLAKE3 alone")
    path.unlink()
    return found


def _plain(path: Path) -> str:
    hasher = blake3()
    block = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(block[:count])
    return hasher.hexdigest()
