"""Made-up files that light peers list, and made-up peers. Pure."""

from __future__ import annotations

from functools import lru_cache

from protocol.messages import Entry

LENGTH_BYTES = 1_000_000


def digest(number: int) -> str:
    """Of file ``number``."""
    return f"blake3:{number:064x}"


@lru_cache
def entries(count: int) -> tuple[Entry, ...]:
    """The first ``count`` files, whole. Peers of one process share them, which keeps a thousand of them small."""
    return tuple(
        Entry(digest(number), f"blake3:{~number & 2**256 - 1:064x}", f"file-{number:06}.bin", LENGTH_BYTES, "whole")
        for number in range(count)
    )


def peer_id(number: int) -> str:
    """As long as a real one."""
    return f"{number:032x}"


def token(number: int) -> bytes:
    """As long as a real one."""
    return number.to_bytes(32, "big")
