"""The manifest: the piece rule, the canonical encoding, and every way a hostile one is refused."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits as lim
from protocol.digest import format_digest, raw_digest
from protocol.errors import SeedError
from protocol.manifest import (
    FileEntry,
    Manifest,
    check_manifest,
    decode_manifest,
    encode_manifest,
    manifest_digest,
    piece_length_for,
)
from tests.protocol.strategies import manifests

DIGEST = format_digest("blake3", bytes(32))


def single(length: int = 150_000) -> Manifest:
    piece_length = piece_length_for(length)
    return Manifest(length, piece_length, DIGEST, bytes(32) * -(-length // piece_length), None, ())


def tree(*paths: str, empty_dirs: tuple[str, ...] = ()) -> Manifest:
    """A tree of files of 10 bytes each, in the order given."""
    length = 10 * len(paths)
    files = tuple(FileEntry(path, 10, executable=False) for path in paths)
    return Manifest(length, lim.PIECE_BYTES_MIN, DIGEST, bytes(32 if paths else 0), files, empty_dirs)


def fields_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = msgpack.unpackb(encode_manifest(manifest))
    return found


def pack(fields: dict[str, Any]) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data


# --- the piece rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "piece_length"),
    [
        (0, 64 * lim.KIB),
        (1, 64 * lim.KIB),
        (64 * lim.MIB, 64 * lim.KIB),
        (128 * lim.MIB - 1, 64 * lim.KIB),
        (128 * lim.MIB, 128 * lim.KIB),
        (1 * lim.GIB, 1 * lim.MIB),
        (4 * lim.GIB - 1, 2 * lim.MIB),
        (4 * lim.GIB, 4 * lim.MIB),
        (256 * lim.GIB, 4 * lim.MIB),
        (256 * lim.GIB + 1, 8 * lim.MIB),
        (512 * lim.GIB, 8 * lim.MIB),
        (512 * lim.GIB + 1, 16 * lim.MIB),
        (4 * lim.TIB, 64 * lim.MIB),
    ],
)
def test_piece_length(length: int, piece_length: int) -> None:
    assert piece_length_for(length) == piece_length


@given(st.integers(0, lim.CONTENT_BYTES_MAX))
def test_piece_length_keeps_the_bounds(length: int) -> None:
    size = piece_length_for(length)
    count = -(-length // size)
    assert lim.PIECE_BYTES_MIN <= size <= lim.PIECE_BYTES_MAX
    assert size & (size - 1) == 0
    assert count <= lim.PIECES_COUNT_MAX
    assert count >= lim.PIECES_WANTED_COUNT or size == lim.PIECE_BYTES_MIN


@given(manifests())
def test_pieces_make_up_the_content(manifest: Manifest) -> None:
    sizes = [manifest.piece_size(index) for index in range(manifest.piece_count)]
    assert sum(sizes) == manifest.length
    assert all(0 < size <= manifest.piece_length for size in sizes)
    assert b"".join(manifest.piece_digest(index) for index in range(manifest.piece_count)) == manifest.pieces
    for outside in (-1, manifest.piece_count):
        with pytest.raises(IndexError):
            manifest.piece_size(outside)
        with pytest.raises(IndexError):
            manifest.piece_digest(outside)


# --- the encoding ----------------------------------------------------------------------------------------


@given(manifests())
def test_encoding_and_back(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert decode_manifest(data) == manifest
    assert encode_manifest(decode_manifest(data)) == data


def test_manifest_digest_is_of_the_encoding() -> None:
    data = encode_manifest(single())
    assert manifest_digest(data, "sha256") == format_digest("sha256", raw_digest("sha256", data))


@given(st.binary(max_size=200))
def test_garbage_is_a_seed_error(data: bytes) -> None:
    with pytest.raises(SeedError):
        decode_manifest(data)


@given(manifests(), st.data())
def test_truncated_is_a_seed_error(manifest: Manifest, data: st.DataObject) -> None:
    encoded = encode_manifest(manifest)
    with pytest.raises(SeedError, match="truncated"):
        decode_manifest(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(SeedError, match="goes on after its end"):
        decode_manifest(encoded + data.draw(st.binary(min_size=1, max_size=4)))


@given(manifests(), st.data())
def test_garbled_is_another_manifest_or_a_seed_error(manifest: Manifest, data: st.DataObject) -> None:
    garbled = bytearray(encode_manifest(manifest))
    garbled[data.draw(st.integers(0, len(garbled) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(SeedError):
        found = decode_manifest(bytes(garbled))
        assert encode_manifest(found) == bytes(garbled)
        assert found != manifest


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 2**64 - 1, 1.0, "", "x", b"", b"x", [], [[]], [None], {}, {"a": [1]}]
)


@given(st.sampled_from(sorted(fields_of(single()))), JUNK)
def test_field_of_any_type_is_read_as_it_is_or_a_seed_error(field: str, value: object) -> None:
    for manifest in (single(), tree("a", "b")):
        data = pack(fields_of(manifest) | {field: value})
        with suppress(SeedError):
            assert encode_manifest(decode_manifest(data)) == data
    with pytest.raises(SeedError):
        decode_manifest(pack(dict.fromkeys(fields_of(single()), value)))


@pytest.mark.parametrize("depth", [900, 1_000, 1_023, 5_000, 100_000])
def test_deep_nesting_is_a_seed_error(depth: int) -> None:
    nested = b"\x91" * depth + b"\xc0"
    for field in (b"\xa6format", b"\xa6format\xafzswarm-manifest\xa7version", b"\xa6length", b"\xa5files"):
        with pytest.raises(SeedError):
            decode_manifest(bytes([0x80 + field.count(b"\xa6format\xaf") + 1]) + field + nested)


# --- what a manifest may not say -----------------------------------------------------------------------------


def test_not_ours_and_other_versions_are_named() -> None:
    with pytest.raises(SeedError, match="not a zswarm manifest"):
        decode_manifest(pack({"info": {}}))
    with pytest.raises(SeedError, match="format version 2; this program reads version 1"):
        decode_manifest(pack(fields_of(single()) | {"version": 2}))
    with pytest.raises(SeedError, match="got `array`"):
        decode_manifest(msgpack.packb([1, 2]))


@pytest.mark.parametrize("change", [{"extra": 1}, {"files": None, "later": None}, {"posix_names": False}])
def test_a_second_way_to_say_the_same_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SeedError, match="canonical"):
        decode_manifest(pack(fields_of(single()) | change))


@pytest.mark.parametrize("where", ["extra", "files", "empty_dirs", "pieces"])
def test_what_is_no_manifest_takes_no_memory(where: str) -> None:
    """Maps that are empty take a byte each, and sixty in memory."""
    hostile = pack(fields_of(single()) | {where: 4 * [200_000 * [{}]]})
    tracemalloc.start()
    with pytest.raises(SeedError):
        decode_manifest(hostile)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(hostile)


def test_other_order_of_fields_is_refused() -> None:
    with pytest.raises(SeedError, match="canonical"):
        decode_manifest(pack(dict(reversed(fields_of(single()).items()))))


def test_names_of_posix_systems_alone_are_said() -> None:
    manifest = msgspec.structs.replace(tree("A", "a", "q?"), posix_names=True)
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert fields_of(manifest)["posix_names"] is True
    assert "posix_names" not in fields_of(tree("a"))


@pytest.mark.parametrize(
    "path",
    ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a/\0", "a/NUL.txt", "x" * 256, "a/" * 1600 + "a"],
)
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(SeedError, match="path"):
        decode_manifest(encode_manifest(tree(path)))
    with pytest.raises(SeedError, match="path"):
        decode_manifest(encode_manifest(tree(empty_dirs=(path,))))


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (tree("a", "a"), "is there twice"),
        (tree("A", "a"), "two spellings"),
        (tree("a", "a/b"), "lies inside"),
        (tree("a", empty_dirs=("a",)), "is there twice"),
        (tree("d/a", empty_dirs=("d",)), "lies inside"),
        (tree("b", "a"), "have to be sorted"),
        (tree("a", empty_dirs=("c", "b")), "have to be sorted"),
        (msgspec.structs.replace(single(), empty_dirs=("d",)), "a single file has no empty directories"),
        (msgspec.structs.replace(single(), posix_names=True), "a single file has no"),
        (msgspec.structs.replace(tree("a"), posix_names=True), "and all can"),
        (msgspec.structs.replace(tree("a\0"), posix_names=True), "NUL"),
        (msgspec.structs.replace(tree("a", "a"), posix_names=True), "is there twice"),
        (msgspec.structs.replace(tree("a"), files=(FileEntry("a", 9, executable=False),)), "do not add up"),
        (msgspec.structs.replace(single(), pieces=bytes(64)), "has 3 pieces of 65536 bytes, not 2"),
        (msgspec.structs.replace(single(), pieces=bytes(128)), "has 3 pieces of 65536 bytes, not 4"),
        (msgspec.structs.replace(single(), pieces=bytes(95)), "no multiple of 32"),
        (msgspec.structs.replace(single(0), pieces=bytes(32)), "has 0 pieces"),
        (msgspec.structs.replace(single(), piece_length=131_072), "has pieces of 65536 bytes, not 131072"),
        (msgspec.structs.replace(single(), piece_length=0), "has pieces of 65536 bytes, not 0"),
        (msgspec.structs.replace(single(), digest="md5:" + "0" * 64), "unknown hash algorithm"),
        (msgspec.structs.replace(single(), digest="0" * 64), "is not a digest"),
    ],
)
def test_parts_that_do_not_fit_are_refused(manifest: Manifest, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        decode_manifest(encode_manifest(manifest))


def test_too_much_is_refused() -> None:
    with pytest.raises(SeedError, match="length"):
        decode_manifest(pack(fields_of(single()) | {"length": lim.CONTENT_BYTES_MAX + 1}))
    with pytest.raises(SeedError, match="at most"):
        check_manifest(msgspec.structs.replace(single(), length=lim.CONTENT_BYTES_MAX + 1))
    with pytest.raises(SeedError, match="over the limit"):
        decode_manifest(bytes(lim.MANIFEST_BYTES_MAX + 1))


def test_negative_lengths_cannot_cancel_out() -> None:
    files = [["a", 30, False], ["b", -10, False]]
    with pytest.raises(SeedError, match=r">= 0 - at `\$.files\[1\]"):
        decode_manifest(pack(fields_of(tree("a", "b")) | {"files": files}))


def test_empty_contents() -> None:
    for manifest in (single(0), tree(), tree(empty_dirs=("d",))):
        assert decode_manifest(encode_manifest(manifest)) == manifest
        assert manifest.piece_count == 0
