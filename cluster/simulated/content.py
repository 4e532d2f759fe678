"""Content of a simulated world: a real manifest whose pieces are short stand-ins for their bytes. Pure.

A piece of megabytes is represented by a few bytes that are hashed in its place, so every check of a digest is the
real one at no cost. Lengths and sizes are those the manifest states.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from msgspec import Struct

from protocol.digest import format_digest, raw_digest
from protocol.link import Link, format_link
from protocol.manifest import Manifest, encode_manifest, manifest_digest, piece_length_for
from protocol.messages import Piece

ALGORITHM = "blake3"


class StandIn(bytes):
    """The bytes of a piece on their way: a few bytes that are as long as the piece they stand for."""

    size: int

    @classmethod
    def of(cls, data: bytes, size: int) -> StandIn:
        one = cls(data)
        one.size = size
        return one

    def __len__(self) -> int:
        return self.size


class SentPiece(NamedTuple):
    """A message with the bytes of a piece, as it goes over a network."""

    header: Piece
    data: bytes


class SimulatedContent(Struct, frozen=True, dict=True):
    """One file. ``stand_ins`` has the bytes that stand for each piece."""

    name: str
    manifest: Manifest
    stand_ins: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @cached_property
    def seed(self) -> bytes:
        """The canonical manifest."""
        return encode_manifest(self.manifest)

    @cached_property
    def manifest_digest(self) -> str:
        return manifest_digest(self.seed, ALGORITHM)

    @property
    def link(self) -> str:
        manifest = self.manifest
        return format_link(Link(manifest.digest, self.manifest_digest, self.name, manifest.length))


def make_content(name: str, length: int, piece_length: int = 0) -> SimulatedContent:
    """``length`` bytes called ``name``, in pieces of ``piece_length`` bytes; 0: as the protocol has it, and only then
    can the seed be decoded."""
    piece_length = piece_length or piece_length_for(length)
    count = -(-length // piece_length)
    return described(name, length, piece_length, tuple(f"{name} {piece}".encode() for piece in range(count)))


def described(name: str, length: int, piece_length: int, stand_ins: tuple[bytes, ...]) -> SimulatedContent:
    """What content of these ``stand_ins`` is."""
    digest = format_digest(ALGORITHM, raw_digest(ALGORITHM, b"".join(stand_ins)))
    pieces = b"".join(raw_digest(ALGORITHM, one) for one in stand_ins)
    return SimulatedContent(name, Manifest(length, piece_length, digest, pieces, None, ()), stand_ins)
