"""Bytes to messages and back (PROTOCOL.md, section 2).

A `Decoder` is made for the messages one socket may receive, its allow-list. It returns a message of that list
or raises `ProtocolError`, on any bytes whatever. Unknown fields are ignored, so a later version may add some; what is
in them is not looked at where a message has its version first.

Every piece of a content costs a dozen messages here and there, so both ways are short: msgspec, which reads and writes
MessagePack without a dictionary in between. What it does not take is looked at again by msgpack, which can say why.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgpack
import msgspec

from protocol.errors import ProtocolError, TooLargeError, VersionError
from protocol.limits import CONTROL_BYTES_MAX, PROTOCOL_VERSION
from protocol.messages import Roster

M = TypeVar("M")
_BYTES = (bytes,)
_ENCODER = msgspec.msgpack.Encoder()
_VERSION: bytes = msgpack.packb("v") + msgpack.packb(PROTOCOL_VERSION)
_FIXMAP, _FIXMAP_LARGEST, _MAP16 = 0x80, 0x8F, 0xDE
"""The first byte of a map of no fields, of 15, and of more."""
_HEADS = {first: bytes((first + 1,)) + _VERSION for first in range(_FIXMAP, _FIXMAP_LARGEST)}
"""What the first byte of a map becomes with the version before its fields."""


def encode(message: msgspec.Struct, limit: int = CONTROL_BYTES_MAX) -> bytes:
    """Encode ``message`` for a receiver that takes frames of at most ``limit`` bytes.

    Raises `TooLargeError` beforehand: libzmq would drop the connection of a sender who exceeds the limit.
    """
    packed = _ENCODER.encode(message)
    head = _HEADS.get(packed[0])
    data = head + packed[1:] if head is not None else _with_version(packed)
    if len(data) > limit:
        raise TooLargeError(f"{type(message).__name__} of {len(data)} bytes is over its limit of {limit}")
    return data


def _with_version(packed: bytes) -> bytes:
    """A map of 15 fields or more, and the version before them."""
    count, start = (15, 1) if packed[0] == _FIXMAP_LARGEST else (int.from_bytes(packed[1:3]), 3)
    return bytes((_MAP16,)) + (count + 1).to_bytes(2) + _VERSION + packed[start:]


class Decoder(Generic[M]):
    """Decodes the messages of one allow-list.

    ``kinds`` is a message type or a union of them, ``limit`` the largest frame accepted, in bytes.
    """

    def __init__(self, kinds: Any, limit: int = CONTROL_BYTES_MAX) -> None:
        self._limit = limit
        self._decode: Callable[[bytes | memoryview], M] = msgspec.msgpack.Decoder(kinds).decode
        members = typing.get_args(kinds) or (kinds,)
        # One type by its tag, rather than the union: msgspec looks a union over at every call, which took 6 us.
        self._kind_by_tag = {member.__struct_config__.tag: member for member in members}

    def decode(self, data: bytes | memoryview) -> M:
        """Return the message in ``data``; raise `ProtocolError` (or `VersionError`) that says what is wrong."""
        if data[1:4] == _VERSION and len(data) <= self._limit:  # where `encode` mostly puts it
            try:
                return self._decode(data)
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                return self._decode_slowly(data)
        return self._decode_slowly(data)

    def _decode_slowly(self, data: bytes | memoryview) -> M:
        """Also what has its fields in another order, and what is no message of this list."""
        fields = _unpack(data, self._limit)
        version = fields.get("v")
        if version != PROTOCOL_VERSION or isinstance(version, bool):
            raise VersionError(f"protocol version {_shown(version)}; this side speaks {PROTOCOL_VERSION}")
        tag = fields.get("t")
        kind = self._kind_by_tag.get(tag) if isinstance(tag, str | None) else None
        if kind is None:
            raise ProtocolError(f"message type {_shown(tag)} is not accepted here")
        try:
            message: M = msgspec.convert(fields, kind, builtin_types=_BYTES)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ProtocolError(f"{kind.__name__}: {error}") from None
        return message


def request_id(data: bytes | memoryview, limit: int = CONTROL_BYTES_MAX) -> int:
    """The ``id`` of a request that did not decode, so that its `Error` can name it; 0 when there is none."""
    try:
        found = _unpack(data, limit).get("id")
    except ProtocolError:
        return 0
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= 2**53 else 0


def _unpack(data: bytes | memoryview, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise ProtocolError(f"frame of {len(data)} bytes is over the limit of {limit}")
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_no_ext, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a msgpack message of {len(data)} bytes: {_reason(error)}") from None
    if not isinstance(fields, dict):
        raise ProtocolError(f"a message is a map, not {type(fields).__name__}")
    return fields


def _reason(error: Exception) -> str:
    """What is wrong with bytes that msgpack does not take, for a person. Its own errors speak of its parameters."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    text = str(error)
    return next((reason for part, reason in _REASONS_BY_TEXT if part in text), text[:200] or type(error).__name__)


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (msgpack.ExtraData, "bytes follow after its end"),
    (msgpack.FormatError, "no value begins with the byte c1"),  # the only one msgpack has no use for
    (msgpack.StackError, "it is nested too deep"),
    (RecursionError, "it is nested too deep"),
    (UnicodeDecodeError, "a text in it is not UTF-8"),
)
_REASONS_BY_TEXT = (
    ("max_ext_len", "extension types are not used"),
    ("incomplete", "it ends too early"),
    ("exceeds max_", "it ends too early"),  # a length in it is more than all bytes there are
    ("map key", "a key in it is not text"),
)


def _shown(value: Any) -> str:
    """A value from the wire as an error shows it. Containers may nest too deep for repr."""
    return f"{value!r:.60}" if isinstance(value, str | int | float | None) else f"of type {type(value).__name__}"


def _no_ext(code: int, _data: bytes) -> Any:
    raise ProtocolError(f"extension type {code} is not part of the protocol")


ROSTER_DECODER: Decoder[Roster] = Decoder(Roster)
