"""Signing keys: files with a secret key that only their user can read (0600), in a directory of the same user (0700).

What they sign is in `protocol.signature`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from protocol.discreet import Discreet
from protocol.errors import ConfigError, DiskError, NotFoundError, UsageError
from protocol.signature import format_key, format_secret, parse_secret, public_key
from service.config import signing_folder
from service.paths import absolute_path
from service.private_files import check_private_directory, read_private, write_private_once

SUFFIX = ".key"
_SECRET_BYTES = 32


class SigningKey(Discreet, Struct, frozen=True):
    """``public`` is the written public key."""

    path: Path
    secret: bytes
    public: str


def signing_key_path(given: str) -> Path:
    """The file that ``given`` means: a path if it has a slash, otherwise a name in the user's folder of signing keys.
    Raises `UsageError`."""
    if not given.strip():
        raise UsageError("the name of the signing key is empty")
    if "/" in given:
        return absolute_path(given)
    return signing_folder() / f"{given}{SUFFIX}"


def load_signing_key(given: str) -> SigningKey:
    """The key in the file that ``given`` means. Raises `NotFoundError`, `DiskError`, and `ConfigError` if it is not a
    key or if others may read it."""
    path = signing_key_path(given)
    try:
        check_private_directory(path.parent)
        secret = parse_secret(read_private(path).decode())
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such signing key; make one with: signing-key {given}") from None
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a signing key") from None
    except ConfigError:
        raise
    except UsageError as error:
        raise ConfigError(f"{path}: {error}") from None
    return SigningKey(path, secret, format_key(public_key(secret)))


def make_signing_key(given: str) -> tuple[SigningKey, bool]:
    """The key in the file that ``given`` means, and whether it was just made; an existing key stays. Raises as
    `load_signing_key` does."""
    path = signing_key_path(given)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private_directory(path.parent)
        fresh = write_private_once(path, f"{format_secret(os.urandom(_SECRET_BYTES))}\n".encode())
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror}") from None
    return load_signing_key(given), fresh


def moment_now() -> int:
    """The timestamp for a signature made now, in microseconds since 1970, if no later one by the same key is known."""
    return int(time.time() * 1e6)
