"""Seeds in both formats: there and back, recognised by content, and what is wrong with a bad one."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.digest import format_digest, raw_digest
from protocol.errors import SeedError
from protocol.manifest import Manifest, encode_manifest
from protocol.seed_formats import FORMATS, Seed, format_seed, parse_seed, seed_format, seed_link
from protocol.signature import sign
from tests.protocol.strategies import seeds

SHA256 = "sha256:" + "ab" * 32
MANIFEST = Manifest(75_000, 65_536, SHA256, bytes.fromhex("01" * 32 + "02" * 32), None, ())
SEED = Seed("data.bin", MANIFEST)
TEXT = "\n".join(["data.bin", "75000", "ab" * 32, "01" * 32, "02" * 32])


@given(seeds())
def test_msgpack_and_back(seed: Seed) -> None:
    assert parse_seed(format_seed(seed, "msgpack")) == seed


@given(seeds(trees=False).filter(lambda seed: not seed.name.startswith(" ")))
def test_text_and_back(seed: Seed) -> None:
    data = format_seed(seed, "text")
    assert parse_seed(data) == seed
    assert parse_seed(data.replace(b"\n", b" \r\n\t") + b"\r\n\n") == seed


def signed(seed: Seed, moment: int = 7) -> Seed:
    return msgspec.structs.replace(seed, signature=sign(b"s" * 32, seed_link(seed), moment))


def test_a_signature_is_in_the_seed_and_of_that_content_under_that_name_alone() -> None:
    whole = signed(SEED)
    assert parse_seed(format_seed(whole, "msgpack")) == whole
    for other in (Seed("other.bin", MANIFEST), Seed("data.bin", msgspec.structs.replace(MANIFEST, pieces=b"3" * 64))):
        forged = msgspec.structs.replace(other, signature=whole.signature)
        with pytest.raises(SeedError, match="its signature is not of this content under this name"):
            parse_seed(format_seed(forged, "msgpack"))
    for signature in (whole.signature[:-1], whole.signature * 10_000, b"s"):
        with pytest.raises(SeedError, match="its signature is not of"):
            parse_seed(format_seed(msgspec.structs.replace(SEED, signature=signature), "msgpack"))
    with pytest.raises(SeedError, match="no room for a signature; use msgpack"):
        format_seed(whole, "text")
    fields = msgpack.unpackb(format_seed(whole, "msgpack"))
    for version, present in ((2, True), (3, False)):
        wrong = {key: value for key, value in fields.items() if present or key != "signature"} | {"version": version}
        with pytest.raises(SeedError, match="only one of version 3 is signed"):
            parse_seed(msgpack.packb(wrong))
    assert [seed_format(name).takes_signatures for name in FORMATS] == [True, False]


def test_the_name_is_beside_the_manifest() -> None:
    for format in FORMATS:
        renamed = parse_seed(format_seed(Seed("other.bin", MANIFEST), format))
        assert (renamed.name, encode_manifest(renamed.manifest)) == ("other.bin", encode_manifest(MANIFEST))


def test_text_is_what_the_format_says() -> None:
    assert format_seed(SEED, "text").decode() == TEXT
    assert parse_seed(TEXT.encode()) == SEED


def test_other_algorithms_are_named_in_the_text() -> None:
    digest = format_digest("blake3", raw_digest("blake3", b""))
    empty = Seed("empty", Manifest(0, 65_536, digest, b"", None, ()))
    assert format_seed(empty, "text").decode() == f"empty\n0\n{digest}"
    assert parse_seed(f"data.bin\n75000\n{SHA256}\n{'01' * 32}\n{'02' * 32}".encode()) == SEED


@pytest.mark.parametrize("name", ["日本.bin", "ߞ߬ߊ", "ހަލޯ", "é" * 127])
def test_names_in_any_script_are_recognised_as_text(name: str) -> None:
    assert parse_seed(format_seed(Seed(name, MANIFEST), "text")) == Seed(name, MANIFEST)


def test_what_the_text_format_cannot_express_is_refused() -> None:
    with pytest.raises(SeedError, match="use msgpack for a directory"):
        format_seed(Seed("data", msgspec.structs.replace(MANIFEST, length=0, pieces=b"", files=())), "text")
    with pytest.raises(SeedError, match="spaces around the name"):
        format_seed(Seed(" data.bin", MANIFEST), "text")
    with pytest.raises(SeedError, match="control character"):
        format_seed(Seed("data\nbin", MANIFEST), "text")


def test_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(SeedError, match="unknown seed format 'torrent'; known are msgpack, text"):
        format_seed(SEED, "torrent")
    assert [seed_format(name).takes_trees for name in FORMATS] == [True, False]


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")))
def test_garbage_is_a_seed_error(data: bytes) -> None:
    with pytest.raises(SeedError):
        parse_seed(data)


def packed(**changes: object) -> bytes:
    fields = {"format": "zswarm-seed", "version": 2, "name": "data.bin", "manifest": encode_manifest(MANIFEST)}
    data: bytes = msgpack.packb(fields | changes)
    return data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packed(name=".."), "name '..' points elsewhere"),
        (packed(name="/etc/passwd"), "separator"),
        (packed(name=7), "seed: Expected `str`"),
        (packed(extra=1), "seed: Object contains unknown field `extra`"),
        (packed(version=1), "seed of format version 1; this program reads version 2"),
        (packed(manifest=b""), "manifest is truncated"),
        (packed(manifest=packed()), "not a zswarm manifest"),
        (encode_manifest(MANIFEST), "not a zswarm seed"),
        (packed()[:-1], "seed is truncated"),
    ],
)
def test_bad_msgpack_says_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        parse_seed(data)


@given(seeds(trees=False).filter(lambda seed: not seed.name.startswith(" ")), st.data())
def test_garbled_text_is_another_seed_or_a_seed_error(seed: Seed, data: st.DataObject) -> None:
    garbled = bytearray(format_seed(seed, "text"))
    garbled[data.draw(st.integers(0, len(garbled) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(SeedError):
        parse_seed(bytes(garbled))


@given(st.integers(0, len(TEXT) - 1))
def test_truncated_text_is_a_seed_error(cut: int) -> None:
    with pytest.raises(SeedError):
        parse_seed(TEXT[:cut].encode())


def line_changed(number: int, line: str) -> bytes:
    lines = TEXT.split("\n")
    lines[number - 1] = line
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the seed is empty"),
        (b"\n\n", "text seed has 1 of the lines name, length, digest"),
        (b"data.bin\n75000", "text seed has 2 of the lines"),
        (b"\xff\xfe\x00", "not a seed in any known format"),
        (b"data.bin\n3\n\xff", "not UTF-8 at byte 11"),
        (b"\x89PNG\r\n", "seed"),
        (line_changed(1, ""), "name '' is empty"),
        (line_changed(1, ".."), "name '..' points elsewhere"),
        (line_changed(1, "/etc/passwd"), "separator"),
        (line_changed(1, "a\0b"), "NUL"),
        (line_changed(1, "AUX"), "reserved"),
        (line_changed(1, "x" * 256), "over 255 bytes"),
        (line_changed(2, "-1"), "line 2 is not a length"),
        (line_changed(2, "3e5"), "line 2 is not a length"),
        (line_changed(2, "٣"), "line 2 is not a length"),
        (line_changed(2, "9" * 16), "at most"),
        (line_changed(2, "9" * 5_000), "line 2 is not a length"),
        (line_changed(2, "150000"), "has 3 pieces of 65536 bytes, not 2"),
        (line_changed(2, "65536"), "has 1 pieces of 65536 bytes, not 2"),
        (line_changed(3, "ab" * 31), "is not a digest"),
        (line_changed(3, "md5:" + "ab" * 32), "unknown hash algorithm 'md5'"),
        (line_changed(4, "01" * 31), "line 4, piece 0, is not 64 hex digits"),
        (line_changed(5, "zz" * 32), "line 5, piece 1, is not 64 hex digits"),
        (TEXT.encode() + b"\n" + b"03" * 32, "has 2 pieces of 65536 bytes, not 3"),
    ],
)
def test_bad_text_says_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        parse_seed(data)
