"""Digests: the hash algorithms of the system and how a digest is written, ``algorithm:hex`` (PROTOCOL.md, section 3.1).

Content, its pieces and its manifest are all digested with the same algorithm. Reading files is `node.disk.hashing`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Protocol

from blake3 import blake3

from protocol.errors import SeedError
from protocol.limits import DIGEST_BYTES

Data = bytes | bytearray | memoryview


class Hasher(Protocol):
    """A running hash, as hashlib has them. ``update`` of a large buffer releases the GIL."""

    def update(self, data: Data, /) -> object: ...

    def digest(self) -> bytes: ...


_MAKERS: dict[str, Callable[..., Hasher]] = {"blake3": blake3, "sha256": hashlib.sha256}

ALGORITHMS: tuple[str, ...] = tuple(_MAKERS)
"""The default first."""

START_DIGITS_MIN = 12
"""As many digits as tables show are enough to name a content, if no other begins with the same."""

_DIGEST = re.compile(r"([a-z0-9]+):([0-9a-f]{%d})" % (2 * DIGEST_BYTES))  # noqa: UP031 - braces are the regex's

_START = re.compile(r"(?:%s):[0-9a-f]{%d,%d}" % ("|".join(_MAKERS), START_DIGITS_MIN, 2 * DIGEST_BYTES))  # noqa: UP031

_DIGITS = re.compile(r"[0-9a-f]{%d,%d}" % (START_DIGITS_MIN, 2 * DIGEST_BYTES))  # noqa: UP031


def new_hasher(algorithm: str) -> Hasher:
    """A hasher that has seen nothing yet; `SeedError` when there is no such algorithm."""
    return _maker(algorithm)()


def raw_digest(algorithm: str, data: Data) -> bytes:
    """The 32 bytes of the digest of ``data``."""
    return _maker(algorithm)(data).digest()


def format_digest(algorithm: str, raw: bytes) -> str:
    """``blake3:<64 hex digits>``, from the 32 bytes."""
    return f"{algorithm}:{raw.hex()}"


def split_digest(text: str) -> tuple[str, bytes]:
    """(algorithm, 32 bytes) of a written digest; `SeedError` when it is none."""
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise SeedError(f"{text!r:.90} is not a digest: expected algorithm:{2 * DIGEST_BYTES} lower-case hex digits")
    algorithm, digits = match.groups()
    _maker(algorithm)
    return algorithm, bytes.fromhex(digits)


def is_digest_start(text: str) -> bool:
    """Whether ``text`` is a written digest, or the beginning of one with `START_DIGITS_MIN` digits or more."""
    return _START.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether ``text`` is a written digest, all of it."""
    return is_digest_start(text) and len(text.partition(":")[2]) == 2 * DIGEST_BYTES


def begins_digest(text: str, digest: str) -> bool:
    """Whether ``text`` names ``digest``: by all of it or by its beginning."""
    return digest.startswith(text) and is_digest_start(text)


def advice_on(text: str) -> str:
    """What to add where nothing is called ``text``, as the end of a sentence: a digest without its algorithm could be a
    name, and is taken for one. Empty if it is none."""
    return f"; a digest is given with its algorithm, such as {ALGORITHMS[0]}:{text}" if _DIGITS.fullmatch(text) else ""


def check_same_algorithm(digest: str, manifest: str) -> None:
    """`SeedError` when a content's digest and its manifest's are of different algorithms; both are written ones."""
    algorithm, of_manifest = digest.partition(":")[0], manifest.partition(":")[0]
    if algorithm != of_manifest:
        raise SeedError(
            f"its digest is {algorithm} and that of its manifest {of_manifest}; both must have the same algorithm"
        )


def short(text: str) -> str:
    """The first 12 hex digits of a written digest: what logs and tables show of it."""
    return text.rpartition(":")[2][:START_DIGITS_MIN]


def _maker(algorithm: str) -> Callable[..., Hasher]:
    maker = _MAKERS.get(algorithm)
    if maker is None:
        raise SeedError(f"unknown hash algorithm {algorithm!r:.40}; known are {', '.join(ALGORITHMS)}")
    return maker
