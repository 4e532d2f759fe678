"""The codec: every message survives the way there and back, and no bytes whatever raise more than `ProtocolError`."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import messages as m
from protocol.codec import ROSTER_DECODER, Decoder, encode, request_id
from protocol.errors import ProtocolError, TooLargeError, VersionError
from protocol.limits import CONTROL_BYTES_MAX, PROTOCOL_VERSION, REPLY_BYTES_MAX
from tests.protocol.strategies import MESSAGE_TYPES, structs

ALLOW_LISTS = {
    "registrar": Decoder[Any](m.RegistrarRequest),
    "peer, from a registrar": Decoder[Any](m.RegistrarReply, REPLY_BYTES_MAX),
    "lookup": Decoder[Any](m.LookupRequest),
    "peer, from a lookup": Decoder[Any](m.LookupReply, REPLY_BYTES_MAX),
    "piece server": Decoder[Any](m.PieceServerRequest),
    "downloader": Decoder[Any](m.PieceServerReply, REPLY_BYTES_MAX),
    "roster": ROSTER_DECODER,
}
any_message = st.one_of([structs(kind) for kind in MESSAGE_TYPES])
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def offer_to_all(data: bytes) -> None:
    """Every decoder gives a message or `ProtocolError`; anything else that is raised fails the test."""
    for decoder in ALLOW_LISTS.values():
        with suppress(ProtocolError):
            decoder.decode(data)


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_comes_back_the_same(kind: type[msgspec.Struct]) -> None:
    decoder: Decoder[Any] = Decoder(kind, REPLY_BYTES_MAX)

    @settings(max_examples=15)
    @given(structs(kind))
    def check(message: msgspec.Struct) -> None:
        data = encode(message, REPLY_BYTES_MAX)
        assert decoder.decode(data) == message
        assert decoder.decode(memoryview(data)) == message

    check()


@settings(max_examples=60)
@given(any_message, st.randoms(use_true_random=False))
def test_it_is_plain_msgpack_whose_fields_may_come_in_any_order(message: msgspec.Struct, rng: Random) -> None:
    decoder: Decoder[Any] = Decoder(type(message), REPLY_BYTES_MAX)
    data = encode(message, REPLY_BYTES_MAX)
    fields = list(msgpack.unpackb(data).items())
    assert fields[0] == ("v", PROTOCOL_VERSION)
    assert data == msgpack.packb(dict(fields))
    rng.shuffle(fields)
    assert decoder.decode(msgpack.packb(dict(fields))) == message


@pytest.mark.parametrize("count", [13, 14, 15, 16, 300])
def test_a_message_may_have_many_fields(count: int) -> None:
    kind = msgspec.defstruct("Wide", [(f"f{number}", int) for number in range(count)], tag_field="t", tag=True)
    message = kind(*range(count))
    data = encode(message)
    assert msgpack.unpackb(data) == {"v": PROTOCOL_VERSION, "t": "Wide"} | {f"f{n}": n for n in range(count)}
    assert Decoder[Any](kind).decode(data) == message


@given(structs(m.Roster))
def test_roster_comes_back_the_same(roster: msgspec.Struct) -> None:
    assert ROSTER_DECODER.decode(encode(roster)) == roster


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error(data: bytes) -> None:
    offer_to_all(data)
    assert request_id(data) >= 0


@settings(max_examples=60)
@given(any_message, st.data())
def test_damaged_message_is_decoded_or_a_protocol_error(message: msgspec.Struct, data: st.DataObject) -> None:
    damaged = bytearray(encode(message, REPLY_BYTES_MAX))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    offer_to_all(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    offer_to_all(bytes(damaged))


@settings(max_examples=60)
@given(st.sampled_from(MESSAGE_TYPES), st.data())
def test_message_with_fields_of_any_type_is_decoded_or_a_protocol_error(
    kind: type[msgspec.Struct], data: st.DataObject
) -> None:
    fields = {name: data.draw(plain_values) for name in kind.__struct_fields__}
    offer_to_all(msgpack.packb({"v": PROTOCOL_VERSION, "t": kind.__name__} | fields))


@given(plain_values, plain_values)
def test_any_version_and_type_is_a_protocol_error_or_known(version: Any, tag: Any) -> None:
    offer_to_all(msgpack.packb({"v": version, "t": tag}))
    offer_to_all(msgpack.packb({"v": PROTOCOL_VERSION, "t": tag}))


@pytest.mark.parametrize("field", [b"v", b"t", b"id", b"x"])
@pytest.mark.parametrize("depth", [100, 600, 1_000, 1_023, 2_000, 60_000])
def test_deep_nesting_is_a_protocol_error(field: bytes, depth: int) -> None:
    nested = b"\x91" * depth + b"\xc0"
    offer_to_all(b"\x81" + bytes([0xA0 + len(field)]) + field + nested)
    offer_to_all(b"\x83\xa1v\x01\xa1t\xa4Join" + bytes([0xA0 + len(field)]) + field + nested)


def test_huge_claimed_sizes_allocate_nothing() -> None:
    for claim in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        offer_to_all(claim)
        offer_to_all(b"\x81\xa1v" + claim)


def test_unknown_fields_are_ignored() -> None:
    data = msgpack.packb({"v": 1, "t": "Rejoin", "id": 7, "later": [1, {"a": b"b"}]})
    assert ALLOW_LISTS["peer, from a registrar"].decode(data) == m.Rejoin(7)


def test_message_of_another_list_is_refused_by_name() -> None:
    with pytest.raises(ProtocolError, match="'Rejoin' is not accepted here"):
        ALLOW_LISTS["registrar"].decode(encode(m.Rejoin(1)))


def test_wrong_type_says_where() -> None:
    with pytest.raises(ProtocolError, match=r"Rejoin: Expected `int`, got `str` - at `\$.id`"):
        ALLOW_LISTS["peer, from a registrar"].decode(msgpack.packb({"v": 1, "t": "Rejoin", "id": "7"}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it ends too early"),
        (b"\x82\xa1v\x01", "it ends too early"),
        (b"\xdb\xff\xff\xff\xffabc", "it ends too early"),
        (b"\xdf\xff\xff\xff\xff", "it ends too early"),
        (b"\xc1", "no value begins with the byte c1"),
        (b"\x81\xa1v\xc1", "no value begins with the byte c1"),
        (b"GET / HTTP/1.1\r\n", "bytes follow after its end"),
        (b"\x81\xa1v" + b"\x91" * 3_000 + b"\xc0", "nested too deep"),
        (b"\x81\xa1v\xa1\xff", "a text in it is not UTF-8"),
        (b"\x81\x01\x02", "a key in it is not text"),
        (b"\x81\xa1v\xd4\x05a", "extension types are not used"),
    ],
)
def test_garbage_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        ALLOW_LISTS["registrar"].decode(data)
    assert str(caught.value).startswith(f"not a msgpack message of {len(data)} bytes: ")
    assert reason in str(caught.value)


@given(st.binary(max_size=300))
def test_every_refusal_is_a_sentence(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        ALLOW_LISTS["registrar"].decode(data)
    assert not str(caught.value).rstrip().endswith(":")
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("version", [0, 2, True, "1", None, [1]])
def test_other_versions_are_named(version: object) -> None:
    with pytest.raises(VersionError, match="this side speaks 1"):
        ALLOW_LISTS["registrar"].decode(msgpack.packb({"v": version, "t": "Join", "id": 1}))


def test_oversize_is_refused_on_both_sides() -> None:
    huge = m.Error(1, "internal", "x" * 70_000)
    with pytest.raises(TooLargeError, match="Error of 7"):
        encode(huge)
    with pytest.raises(ProtocolError, match=f"over the limit of {CONTROL_BYTES_MAX}"):
        ALLOW_LISTS["registrar"].decode(encode(huge, 2 * CONTROL_BYTES_MAX))


def test_request_id_of_what_did_not_decode() -> None:
    assert request_id(msgpack.packb({"v": 9, "id": 41})) == 41
    for wrong in ({"id": -1}, {"id": True}, {"id": 2**60}, {"id": "1"}, {}):
        assert request_id(msgpack.packb(wrong)) == 0
