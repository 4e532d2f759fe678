"""Signatures: of exactly one content, under exactly one name, at exactly one moment."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UsageError
from protocol.limits import SIGNATURE_BYTES, SIGNED_MOMENT_MAX
from protocol.link import Link
from protocol.signature import (
    KEY_PREFIX,
    format_key,
    format_secret,
    is_signed,
    moment_of,
    parse_key,
    parse_secret,
    public_key,
    short_key,
    sign,
    signer_of,
    split_signatures,
    statement,
)

SECRET, OTHER = b"s" * 32, b"o" * 32
CONTENT = Link(f"blake3:{1:064x}", f"blake3:{2:064x}", "model.bin", 300)
SIGNATURE = sign(SECRET, CONTENT, 1_700_000_000_000_000)


def test_a_signature_says_who_signed_what_and_when() -> None:
    assert is_signed(SIGNATURE, CONTENT)
    assert signer_of(SIGNATURE) == public_key(SECRET)
    assert moment_of(SIGNATURE) == 1_700_000_000_000_000
    assert len(SIGNATURE) == SIGNATURE_BYTES
    assert sign(SECRET, CONTENT, 1_700_000_000_000_000) == SIGNATURE


def test_the_statement_is_as_the_protocol_has_it() -> None:
    assert statement(CONTENT, 5).decode().split("\n") == [
        "zswarm signed name 1",
        CONTENT.digest,
        CONTENT.manifest,
        "300",
        "5",
        "model.bin",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "model.bim"},
        {"name": "Model.bin"},
        {"digest": f"blake3:{3:064x}"},
        {"digest": f"sha256:{1:064x}"},
        {"manifest": f"blake3:{3:064x}"},
        {"length": 301},
    ],
)
def test_it_is_of_nothing_else(change: dict[str, object]) -> None:
    assert not is_signed(SIGNATURE, msgspec.structs.replace(CONTENT, **change))


def test_no_bit_of_it_can_be_changed() -> None:
    for bit in range(8 * SIGNATURE_BYTES):
        changed = bytearray(SIGNATURE)
        changed[bit // 8] ^= 1 << bit % 8
        assert not is_signed(bytes(changed), CONTENT)


@pytest.mark.parametrize("length", [0, 1, 32, 40, SIGNATURE_BYTES - 1, SIGNATURE_BYTES + 1, 2 * SIGNATURE_BYTES])
def test_one_of_another_length_is_none(length: int) -> None:
    wrong = (SIGNATURE + SIGNATURE)[:length]
    assert not is_signed(wrong, CONTENT)
    assert moment_of(wrong) == 0


def test_the_key_of_another_does_not_fit() -> None:
    assert not is_signed(public_key(OTHER) + SIGNATURE[32:], CONTENT)


def test_a_moment_that_no_json_reader_takes_counts_for_nothing() -> None:
    assert not is_signed(sign(SECRET, CONTENT, SIGNED_MOMENT_MAX + 1), CONTENT)
    assert is_signed(sign(SECRET, CONTENT, SIGNED_MOMENT_MAX), CONTENT)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_keys_of_small_order_sign_nothing(key: bytes) -> None:
    """With such a key, a proof of zeros would fit everything for a library that does not look."""
    for proof in (bytes(64), b"\x01" + bytes(63), key + bytes(32)):
        assert not is_signed(key + (5).to_bytes(8, "big") + proof, CONTENT)


@given(st.binary(max_size=3 * SIGNATURE_BYTES))
def test_any_bytes_are_a_signature_of_nothing(data: bytes) -> None:
    assert not is_signed(data, CONTENT)
    assert b"".join(split_signatures(data)) == data[: len(data) // SIGNATURE_BYTES * SIGNATURE_BYTES]


def test_keys_are_written_in_one_way() -> None:
    text = format_key(public_key(SECRET))
    assert text.startswith(KEY_PREFIX)
    assert parse_key(f" {text.upper()}\n".replace("ED25519", "ed25519")) == public_key(SECRET)
    assert short_key(text) == text[:20]
    assert parse_secret(format_secret(SECRET) + "\n") == SECRET


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:abc", "f" * 64, "blake3:" + "f" * 64, "ed25519:" + "g" * 64])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no key: expected ed25519: and 64"):
        parse_key(text)
    with pytest.raises(UsageError, match="not a signing key"):
        parse_secret(text)


def test_errors_repeat_no_secret() -> None:
    secret = format_secret(SECRET)
    for parse, text in ((parse_key, secret), (parse_key, f"'{secret}'"), (parse_secret, secret[:-1])):
        with pytest.raises(UsageError) as refused:
            parse(text)
        assert SECRET.hex()[:16] not in str(refused.value)
