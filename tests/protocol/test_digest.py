"""Digests as text and as bytes."""

from __future__ import annotations

import hashlib

import pytest

from protocol.digest import (
    ALGORITHMS,
    advice_on,
    begins_digest,
    check_same_algorithm,
    format_digest,
    is_digest_start,
    new_hasher,
    raw_digest,
    short,
    split_digest,
)
from protocol.errors import SeedError

EMPTY_BLAKE3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_known_answers() -> None:
    assert raw_digest("blake3", b"").hex() == EMPTY_BLAKE3
    assert raw_digest("sha256", b"abc") == hashlib.sha256(b"abc").digest()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hashing_in_parts_is_hashing_the_whole(algorithm: str) -> None:
    hasher = new_hasher(algorithm)
    for part in (b"one ", bytearray(b"two "), memoryview(b"three")):
        hasher.update(part)
    assert hasher.digest() == raw_digest(algorithm, b"one two three")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_text_and_back(algorithm: str) -> None:
    text = format_digest(algorithm, bytes(range(32)))
    assert split_digest(text) == (algorithm, bytes(range(32)))
    assert short(text) == "000102030405"


ZEROS = "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blake3",
        "blake3:",
        ZEROS,
        f"blake3:{ZEROS[1:]}",
        f"blake3:{ZEROS}0",
        f"blake3:{'A' * 64}",
        f"blake3:{'٣' * 64}",
        f"blake3:{ZEROS}\n",
        f" blake3:{ZEROS}",
        f"Blake3:{ZEROS}",
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(SeedError, match="is not a digest"):
        split_digest(text)


def test_unknown_algorithm_names_the_known_ones() -> None:
    with pytest.raises(SeedError, match="unknown hash algorithm 'md5'; known are blake3, sha256"):
        split_digest(f"md5:{ZEROS}")
    with pytest.raises(SeedError, match="known are"):
        new_hasher("sha1")


def test_the_digests_of_a_content_and_its_manifest_have_one_algorithm() -> None:
    check_same_algorithm(f"sha256:{ZEROS}", f"sha256:{ZEROS}")
    with pytest.raises(SeedError, match="its digest is sha256 and that of its manifest blake3"):
        check_same_algorithm(f"sha256:{ZEROS}", f"blake3:{ZEROS}")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *((f"blake3:{ZEROS}", True), (f"blake3:{ZEROS[:12]}", True), (f"sha256:{ZEROS[:12]}", True)),
        *(
            (f"blake3:{ZEROS[:11]}", False),
            (f"blake3:{ZEROS}0", False),
            (f"md5:{ZEROS[:12]}", False),
            (ZEROS[:12], False),
        ),
    ],
)
def test_a_content_is_named_by_the_beginning_of_its_digest(text: str, is_one: bool) -> None:
    assert is_digest_start(text) == is_one
    assert begins_digest(text, f"blake3:{ZEROS}") == (is_one and text.startswith("blake3"))


def test_digits_that_no_content_is_called_may_be_meant_as_a_digest() -> None:
    assert advice_on(ZEROS[:12]) == "; a digest is given with its algorithm, such as blake3:000000000000"
    assert advice_on(ZEROS)
    for name in (ZEROS[:11], ZEROS + "0", "DEADBEEF0000", f"blake3:{ZEROS}", "model.bin"):
        assert advice_on(name) == ""
