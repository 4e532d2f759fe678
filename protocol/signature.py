"""Signatures: what a key says that a name means (PROTOCOL.md, section 3.8). Pure.

The holder of an Ed25519 key (RFC 8032) signs which content has which name, as of a moment: digest, manifest digest,
length and name, so none of them can be exchanged, and the moment, so whoever believes the key knows which of two
contents with one name it said last. Libsodium does the arithmetic. Where secret keys are kept is
`service.signing_keys`; who believes whom is `node.trust`.
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
    """A content under a name: an entry, a link, an item."""

    @property
    def digest(self) -> str: ...
    @property
    def manifest(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def length(self) -> int: ...


def statement(content: Named, moment: int) -> bytes:
    """The bytes that are signed: one field a line, the name last, which has no line break."""
    fields = (_CONTEXT, content.digest, content.manifest, content.length, moment, content.name)
    return "\n".join(map(str, fields)).encode(errors="surrogatepass")


def sign(secret: bytes, content: Named, moment: int) -> bytes:
    """The signature, as it stands in messages and seeds, of the holder of ``secret``: ``content`` has its name as of
    ``moment``, microseconds since 1970."""
    from nacl.signing import SigningKey

    key = SigningKey(secret)
    proof = key.sign(statement(content, moment)).signature
    return bytes(key.verify_key) + moment.to_bytes(_MOMENT_BYTES, "big") + proof


def is_signed(signature: bytes, content: Named) -> bool:
    """Whether ``signature`` is one of exactly ``content``, name included, by the key that it names."""
    moment = moment_of(signature)
    if not moment:
        return False
    from nacl.exceptions import CryptoError  # 4 MB and 25 ms, for those who need it
    from nacl.signing import VerifyKey

    try:
        VerifyKey(signer_of(signature)).verify(statement(content, moment), signature[_PROOF_AT:])
    except CryptoError:
        return False
    return True


def signer_of(signature: bytes) -> bytes:
    """The public key that ``signature`` claims to be by."""
    return signature[:SIGNER_BYTES]


def moment_of(signature: bytes) -> int:
    """When ``signature`` claims to be made; 0 if it cannot be one."""
    moment = int.from_bytes(signature[SIGNER_BYTES:_PROOF_AT], "big")
    return moment if len(signature) == SIGNATURE_BYTES and moment <= SIGNED_MOMENT_MAX else 0


def split_signatures(signatures: bytes) -> list[bytes]:
    """Those that stand one after another in ``signatures``."""
    whole = len(signatures) - len(signatures) % SIGNATURE_BYTES
    return [signatures[at : at + SIGNATURE_BYTES] for at in range(0, whole, SIGNATURE_BYTES)]


def public_key(secret: bytes) -> bytes:
    from nacl.signing import SigningKey

    return bytes(SigningKey(secret).verify_key)


def format_key(key: bytes) -> str:
    """The one way a public key is written: ``ed25519:`` and 64 hex digits."""
    return KEY_PREFIX + key.hex()


def short_key(key: str) -> str:
    """What tables show of a written key: enough to tell keys apart, too little to believe one."""
    return key[: len(KEY_PREFIX) + SHORT_DIGITS]


def parse_key(text: str) -> bytes:
    """The public key that is written ``text``. `UsageError`, which repeats no secret."""
    digits = text.strip().lower()
    if digits.startswith(SECRET_PREFIX):
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
        raise UsageError(f"it is no signing key: expected {SECRET_PREFIX} and 64 hexadecimal digits")
    return bytes.fromhex(digits.removeprefix(SECRET_PREFIX))
