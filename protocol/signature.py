"""Signatures: which content a name means, according to a key (PROTOCOL.md, section 3.8). Pure.

A signature covers the digest, the manifest digest, the length and the name of a content, so it fits no other, and a
timestamp of the signer, so the order of two contents with one name is signed too. The algorithm is Ed25519 (RFC 8032),
by libsodium. Files with secret keys are read by `service.signing_keys`; `node.trust` decides whose signatures count.
"""

from __future__ import annotations

import re
from typing import Protocol

from protocol.errors import UsageError
from protocol.limits import SIGNATURE_BYTES, SIGNED_MOMENT_MAX, SIGNER_BYTES

KEY_PREFIX = "ed25519:"
SECRET_PREFIX = "ed25519-secret:"
_CONTEXT = "zswarm signed name 1"
_HEX = re.compile(r"[0-9a-f]{64}")
_MOMENT_BYTES = 8
_PROOF_AT = SIGNER_BYTES + _MOMENT_BYTES
SHORT_DIGITS = 12


class Named(Protocol):
    """A content under a name, such as a link, an entry of a list or an item of the library."""

    @property
    def digest(self) -> str: ...
    @property
    def manifest(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def length(self) -> int: ...


def statement(content: Named, moment: int) -> bytes:
    """The bytes to sign: one field a line. The name comes last and has no line break."""
    fields = (_CONTEXT, content.digest, content.manifest, content.length, moment, content.name)
    return "\n".join(map(str, fields)).encode(errors="surrogatepass")


def sign(secret: bytes, content: Named, moment: int) -> bytes:
    """The signature, in the form of messages and seeds, of ``content`` under its name by the secret key ``secret`` (32
    bytes). ``moment`` is its timestamp in microseconds since 1970."""
    from nacl.signing import SigningKey

    key = SigningKey(secret)
    proof = key.sign(statement(content, moment)).signature
    return bytes(key.verify_key) + moment.to_bytes(_MOMENT_BYTES, "big") + proof


def is_signed(signature: bytes, content: Named) -> bool:
    """Whether ``signature`` is a valid signature of ``content`` under its name by the key that it names."""
    moment = moment_of(signature)
    if not moment:
        return False
    from nacl.exceptions import CryptoError  # here, since it takes 4 MB and 25 ms
    from nacl.signing import VerifyKey

    try:
        VerifyKey(signer_of(signature)).verify(statement(content, moment), signature[_PROOF_AT:])
    except CryptoError:
        return False
    return True


def signer_of(signature: bytes) -> bytes:
    """The public key (32 bytes) that ``signature`` names."""
    return signature[:SIGNER_BYTES]


def moment_of(signature: bytes) -> int:
    """The timestamp in ``signature``; 0 if it has none that is possible."""
    moment = int.from_bytes(signature[SIGNER_BYTES:_PROOF_AT], "big")
    return moment if len(signature) == SIGNATURE_BYTES and moment <= SIGNED_MOMENT_MAX else 0


def split_signatures(signatures: bytes) -> list[bytes]:
    """The signatures that ``signatures`` is a concatenation of."""
    whole = len(signatures) - len(signatures) % SIGNATURE_BYTES
    return [signatures[at : at + SIGNATURE_BYTES] for at in range(0, whole, SIGNATURE_BYTES)]


def public_key(secret: bytes) -> bytes:
    from nacl.signing import SigningKey

    return bytes(SigningKey(secret).verify_key)


def format_key(key: bytes) -> str:
    """The one way a public key is written: ``ed25519:`` and 64 hex digits."""
    return KEY_PREFIX + key.hex()


def short_key(key: str) -> str:
    """The beginning of a written key, for tables: it tells keys apart, but is too short to identify one."""
    return key[: len(KEY_PREFIX) + SHORT_DIGITS]


def parse_key(text: str) -> bytes:
    """The public key that is written ``text``. `UsageError`, which repeats no secret."""
    digits = text.strip().lower()
    if SECRET_PREFIX in digits:
        raise UsageError("this is a secret key; the public one, which 'signing-key' prints, begins with ed25519:")
    if not digits.startswith(KEY_PREFIX) or not _HEX.fullmatch(digits.removeprefix(KEY_PREFIX)):
        raise UsageError(f"{text!a:.90} is no key: expected {KEY_PREFIX} and 64 hexadecimal digits")
    return bytes.fromhex(digits.removeprefix(KEY_PREFIX))


def format_secret(secret: bytes) -> str:
    """A secret key, 32 bytes, as its file has it."""
    return SECRET_PREFIX + secret.hex()


def parse_secret(text: str) -> bytes:
    """The secret key that is written ``text``. `UsageError`, which repeats nothing of it."""
    digits = text.strip()
    if not digits.startswith(SECRET_PREFIX) or not _HEX.fullmatch(digits.removeprefix(SECRET_PREFIX)):
        raise UsageError(f"is not a signing key: expected {SECRET_PREFIX} and 64 hexadecimal digits")
    return bytes.fromhex(digits.removeprefix(SECRET_PREFIX))
