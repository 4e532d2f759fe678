"""Every error this project raises on purpose, in one tree.

::

    ZswarmError
    |-- RemoteError             the other side is to blame, and pays: it is answered, dropped or banned
    |   |-- ProtocolError       bytes that are no message of ours (bad_message)
    |   |   `-- VersionError    a message of another protocol version (bad_version)
    |   `-- RefusedError        the other side answered our request with an Error
    |-- LocalError              our own bug or our own caller's mistake: crashes loudly
    |   `-- TooLargeError       we were about to send more than the receiver accepts
    |-- UsageError              a person asked for something that makes no sense (exit 2)
    |   |-- ConfigError         a configuration file: says file, key and what was expected
    |   `-- SeedError           a seed file, link or name that cannot be accepted
    |-- NotFoundError           nobody has it, no such name or path (exit 3)
    |-- NetworkError            tracker or peers cannot be reached, address in use (exit 4)
    |-- VerificationError       the bytes are not what the seed says (exit 5)
    |-- SignatureError          the keys that are believed have not signed it (exit 7)
    `-- DiskError               no space, not writable, exists with other content (exit 6)

``code`` is the word that names an error on the wire and in ``--json`` output; ``exit_code`` is what a
command that ends with the error returns. The text of an error says what to do about it.
"""

from __future__ import annotations


class ZswarmError(Exception):
    """Base of every deliberate error. ``str(error)`` is a sentence for a person."""

    code = "internal"
    exit_code = 1


class RemoteError(ZswarmError):
    """The other side is to blame."""

    code = "remote"
    exit_code = 4


class ProtocolError(RemoteError):
    """Bytes from the wire that are no message of this protocol. ``str(error)`` says where and why."""

    code = "bad_message"


class VersionError(ProtocolError):
    """A well-formed message of another protocol version."""

    code = "bad_version"


class RefusedError(RemoteError):
    """The other side answered a request with an ``Error``; ``code`` is the one it gave."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class LocalError(ZswarmError):
    """A mistake on our side of the wire."""


class TooLargeError(LocalError):
    """A message of ours is larger than its receiver accepts; it was not sent."""

    code = "too_large"


class UsageError(ZswarmError):
    """What a person asked for makes no sense."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration file has an unknown key or a wrong value."""

    code = "config"


class SeedError(UsageError):
    """A seed, link or name that is malformed or unsafe."""

    code = "bad_seed"


class NotFoundError(ZswarmError):
    """No such swarm, path or item."""

    code = "not_found"
    exit_code = 3


class NetworkError(ZswarmError):
    """Tracker or peers cannot be reached, or an address cannot be used."""

    code = "network"
    exit_code = 4


class VerificationError(ZswarmError):
    """Content differs from its seed."""

    code = "verification"
    exit_code = 5


class DiskError(ZswarmError):
    """The disk is full, a destination cannot be written, or it holds something else."""

    code = "disk"
    exit_code = 6


class SignatureError(ZswarmError):
    """Content that is there under the name, and that no key signed which is believed."""

    code = "signature"
    exit_code = 7


_KINDS: dict[str, type[ZswarmError]] = {
    kind.code: kind
    for kind in (
        UsageError,
        ConfigError,
        SeedError,
        NotFoundError,
        NetworkError,
        VerificationError,
        DiskError,
        SignatureError,
    )
}
EXIT_CODES: dict[str, int] = {code: kind.exit_code for code, kind in _KINDS.items()}
"""Exit code by error code, for an error that came over a local socket as a word."""


def error_of(code: str, detail: str) -> ZswarmError:
    """The error that came over a local socket as ``code`` and ``detail``."""
    kind = _KINDS.get(code)
    return RefusedError(code, detail) if kind is None else kind(detail)
