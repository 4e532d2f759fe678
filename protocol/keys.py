"""Keys as text, the peer id that belongs to one, and the line that invites a peer (PROTOCOL.md, section 4.8). Pure.

A key is a Curve25519 key as CurveZMQ has it (ZeroMQ RFC 26), written as 64 hexadecimal digits: ZeroMQ's own Z85 has
characters that mean something to a shell.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

from protocol.discreet import Discreet
from protocol.endpoints import TCP_SCHEME, is_wildcard, parse_endpoint
from protocol.errors import ProtocolError, UsageError
from protocol.limits import ENDPOINT_BYTES_MAX, PEER_ID_HEX_COUNT

SCHEME = "zswarm-invite://"
_KEY = re.compile(r"[0-9a-fA-F]{64}")
_INVITE = re.compile(SCHEME + r"([^/]{1,%d})/([^/]{64})/([^/]{64})" % ENDPOINT_BYTES_MAX)  # noqa: UP031


class Invite(Discreet, Struct, frozen=True):
    """The tracker at endpoint ``tracker`` has the public key ``key``, and lets whoever has the key ``secret`` bring a
    key of its own."""

    tracker: str
    key: str
    secret: str


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def parse_key(text: str) -> str:
    """The key in ``text``, in the one way it is written; `UsageError` when it is none. It may be a secret one, so the
    error does not repeat it."""
    key = text.strip().lower()
    if not is_key(key):
        raise UsageError(f"a key has 64 hexadecimal digits; this has {len(key)} characters")
    return key


def peer_id_of(key: str) -> str:
    """The id of the peer with the public ``key``."""
    return hashlib.sha256(bytes.fromhex(key)).hexdigest()[:PEER_ID_HEX_COUNT]


def format_invite(invite: Invite) -> str:
    """The one line that stands for ``invite``."""
    return f"{SCHEME}{invite.tracker.removeprefix(TCP_SCHEME)}/{invite.key}/{invite.secret}"


def parse_invite(text: str) -> Invite:
    """The invite in ``text``, spaces around it aside. `UsageError` that says what is wrong, and repeats no secret."""
    match = _INVITE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not an invite: expected one line {SCHEME}HOST:PORT/<64 digits>/<64 digits>; copy all of it")
    try:
        address = parse_endpoint(TCP_SCHEME + match[1])
    except ProtocolError as error:
        raise UsageError(f"not an invite: {error}") from None
    if is_wildcard(address.host):
        raise UsageError(f"not an invite: {address} names no host to dial")
    try:
        return Invite(str(address), parse_key(match[2]), parse_key(match[3]))
    except UsageError as error:
        raise UsageError(f"not an invite: {error}") from None
