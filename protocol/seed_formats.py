"""A seed is a manifest and a name, signed or not, in a file of one of two formats (PROTOCOL.md, section 3.5).

The formats are recognised by their content and never by a file's ending. ``msgpack`` has the canonical encoding of the
manifest in it, and it alone has room for a signature. ``text`` is the plain one, a single file only, one field a line::

    file name
    length in bytes
    digest of the content: algorithm:hex, or hex alone for SHA-256
    hex digest of piece 0
    ...

To add a format is to add a line to ``_FORMATS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgpack
import msgspec
from msgspec import Struct

from protocol import limits as lim
from protocol.digest import format_digest, split_digest
from protocol.errors import SeedError
from protocol.link import Link
from protocol.manifest import (
    Manifest,
    check_manifest,
    decode_fields,
    decode_manifest,
    encode_manifest,
    manifest_digest,
    piece_length_for,
)
from protocol.names import check_name
from protocol.signature import is_signed

FORMAT = "zswarm-seed"
VERSION, SIGNED_VERSION = 2, 3
"""Of seeds without a signature, and with one."""

_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_LENGTH = re.compile(r"[0-9]{1,16}")
_AROUND = " \t\r"
"""What a line of the text format may have around it: other writers put spaces there, or end lines as Windows does."""


class Seed(Struct, frozen=True):
    """A content and what it is called. ``signature`` is one of just that, or empty."""

    name: str
    manifest: Manifest
    signature: bytes = b""


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    """A seed as msgpack has it."""

    format: str
    version: int
    name: str
    manifest: bytes
    signature: bytes = b""


class SeedFormat(Struct, frozen=True):
    """``recognises`` looks at the first bytes only; ``parse`` and ``render`` raise `SeedError`."""

    recognises: Callable[[bytes], bool]
    parse: Callable[[bytes], Seed]
    render: Callable[[Seed], bytes]
    takes_trees: bool
    takes_signatures: bool


def parse_seed(data: bytes) -> Seed:
    """The seed in ``data``, of any known format, checked in full; `SeedError` that says what is wrong with it."""
    if not data:
        raise SeedError("the seed is empty")
    for known in _FORMATS.values():
        if known.recognises(data):
            return known.parse(data)
    raise SeedError(f"not a seed in any known format ({', '.join(_FORMATS)})")


def format_seed(seed: Seed, format: str) -> bytes:
    """``seed`` as the bytes of a file; `SeedError` when ``format`` is unknown or cannot express it."""
    return seed_format(format).render(seed)


def seed_format(format: str) -> SeedFormat:
    """What is known of a format; `SeedError` when there is none of that name."""
    known = _FORMATS.get(format)
    if known is None:
        raise SeedError(f"unknown seed format {format!r:.40}; known are {', '.join(_FORMATS)}")
    return known


def seed_link(seed: Seed) -> Link:
    """The link to what ``seed`` describes."""
    manifest = seed.manifest
    pinned = manifest_digest(encode_manifest(manifest), manifest.algorithm)
    return Link(manifest.digest, pinned, seed.name, manifest.length)


def format_big_hash(digest: str) -> str:
    """A content digest as the text format writes it."""
    return digest.removeprefix("sha256:")


def small_hashes(manifest: Manifest) -> list[str]:
    """The digests of the pieces as the text format writes them."""
    return [manifest.piece_digest(index).hex() for index in range(manifest.piece_count)]


def _is_msgpack(data: bytes) -> bool:
    return 0x80 <= data[0] <= 0x8F  # a map of up to 15 fields; no UTF-8 text begins with such a byte


_DECODER = msgspec.msgpack.Decoder(_Written)


def _parse_msgpack(data: bytes) -> Seed:
    written = decode_fields(data, _DECODER, "seed", FORMAT, VERSION, SIGNED_VERSION)
    if bool(written.signature) != (written.version == SIGNED_VERSION):
        raise SeedError(f"seed of format version {written.version}: only one of version {SIGNED_VERSION} is signed")
    seed = Seed(check_name(written.name), decode_manifest(written.manifest), written.signature)
    if seed.signature and not is_signed(seed.signature, seed_link(seed)):
        raise SeedError("its signature is not of this content under this name: one of them was changed afterwards")
    return seed


def _render_msgpack(seed: Seed) -> bytes:
    manifest = encode_manifest(seed.manifest)
    version = SIGNED_VERSION if seed.signature else VERSION
    fields = {"format": FORMAT, "version": version, "name": seed.name, "manifest": manifest}
    if seed.signature:
        fields["signature"] = seed.signature
    data: bytes = msgpack.packb(fields)
    return data


def _is_text(data: bytes) -> bool:
    try:
        data[: lim.NAME_BYTES_MAX].split(b"\n", 1)[0].decode()
    except UnicodeDecodeError as error:
        return "unexpected end" in error.reason  # the cut, not the text
    return True


def _parse_text(data: bytes) -> Seed:
    if len(data) > lim.SEED_TEXT_BYTES_MAX:
        raise SeedError(f"seed of {len(data)} bytes is over the limit of {lim.SEED_TEXT_BYTES_MAX}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise SeedError(f"text seed is not UTF-8 at byte {error.start}") from None
    lines = [line.strip(_AROUND) for line in text.rstrip(_AROUND + "\n").split("\n")]
    if len(lines) < 3:
        raise SeedError(f"text seed has {len(lines)} of the lines name, length, digest: truncated, or not a seed")
    name, length_line, big_hash, *hashes = lines
    if not _LENGTH.fullmatch(length_line):
        raise SeedError(f"text seed: line 2 is not a length in bytes: {length_line!r:.60}")
    length = int(length_line)
    if length > lim.CONTENT_BYTES_MAX:
        raise SeedError(f"text seed: content of {length} bytes; at most {lim.CONTENT_BYTES_MAX} are possible")
    for number, line in enumerate(hashes):
        if not _HEX_DIGEST.fullmatch(line):
            raise SeedError(f"text seed: line {number + 4}, piece {number}, is not 64 hex digits: {line!r:.80}")
    digest = format_digest("sha256", bytes.fromhex(big_hash)) if _HEX_DIGEST.fullmatch(big_hash) else big_hash
    split_digest(digest)
    pieces = bytes.fromhex("".join(hashes))
    manifest = check_manifest(Manifest(length, piece_length_for(length), digest, pieces, None, ()))
    return Seed(check_name(name), manifest)


def _render_text(seed: Seed) -> bytes:
    manifest = seed.manifest
    if manifest.files is not None:
        raise SeedError("the text format describes a single file; use msgpack for a directory")
    if seed.signature:
        raise SeedError("the text format has no room for a signature; use msgpack")
    if seed.name != seed.name.strip(_AROUND):
        raise SeedError(f"the text format cannot keep the spaces around the name {seed.name!a}; use msgpack")
    check_name(seed.name)
    check_manifest(manifest)
    fields = (seed.name, str(manifest.length), format_big_hash(manifest.digest), *small_hashes(manifest))
    return "\n".join(fields).encode()


_FORMATS: dict[str, SeedFormat] = {
    "msgpack": SeedFormat(_is_msgpack, _parse_msgpack, _render_msgpack, takes_trees=True, takes_signatures=True),
    "text": SeedFormat(_is_text, _parse_text, _render_text, takes_trees=False, takes_signatures=False),
}

FORMATS: tuple[str, ...] = tuple(_FORMATS)
