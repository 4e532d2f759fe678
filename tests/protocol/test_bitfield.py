"""Bitfields, against a set of integers as the model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitfield import Bitfield
from protocol.errors import ProtocolError

counts = st.integers(0, 70)


@st.composite
def sized_sets(draw: st.DrawFn) -> tuple[int, set[int]]:
    count = draw(counts)
    return count, draw(st.sets(st.integers(0, count - 1))) if count else set()


def bitfield(count: int, members: set[int]) -> Bitfield:
    bits = Bitfield(count)
    for index in members:
        bits.set(index)
    return bits


def check_is(bits: Bitfield, count: int, members: set[int]) -> None:
    assert bits.size == count
    assert bits.count_set == len(members)
    assert bits.full == (len(members) == count)
    assert list(bits.indices()) == sorted(members)
    assert list(bits.missing()) == sorted(set(range(count)) - members)
    assert [index in bits for index in range(-9, count + 9)] == [index in members for index in range(-9, count + 9)]


@given(sized_sets(), st.data())
def test_it_is_a_set(sized: tuple[int, set[int]], data: st.DataObject) -> None:
    count, members = sized
    bits = bitfield(count, members)
    check_is(bits, count, members)
    for index in data.draw(st.lists(st.integers(0, count - 1))) if count else ():
        bits.clear(index)
        members = members - {index}
    check_is(bits, count, members)


@given(sized_sets())
def test_bytes_and_back(sized: tuple[int, set[int]]) -> None:
    count, members = sized
    bits = bitfield(count, members)
    again = Bitfield.from_bytes(memoryview(bits.to_bytes()), count)
    assert again == bits
    check_is(again, count, members)


@given(counts, st.binary(max_size=10))
def test_any_bytes_are_a_bitfield_or_a_protocol_error(count: int, data: bytes) -> None:
    try:
        bits = Bitfield.from_bytes(data, count)
    except ProtocolError:
        return
    assert bits.to_bytes() == data


@given(counts)
def test_full_of(count: int) -> None:
    check_is(Bitfield.full_of(count), count, set(range(count)))


def test_layout_is_high_bit_first() -> None:
    assert bitfield(10, {0, 7, 9}).to_bytes() == bytes([0b1000_0001, 0b0100_0000])


@pytest.mark.parametrize(("data", "count"), [(b"", 1), (b"\0\0", 8), (b"\0", 0), (b"\xff", 7), (b"\xff\x01", 15)])
def test_wrong_length_or_spare_bits_are_refused(data: bytes, count: int) -> None:
    with pytest.raises(ProtocolError, match=f"a bitfield of {count} pieces has"):
        Bitfield.from_bytes(data, count)


@pytest.mark.parametrize("index", [-1, 8])
def test_outside_the_range_nothing_is_set(index: int) -> None:
    bits = Bitfield(8)
    with pytest.raises(IndexError):
        bits.set(index)
    with pytest.raises(IndexError):
        bits.clear(index)


def test_copy_is_its_own() -> None:
    bits = bitfield(9, {1})
    other = bits.copy()
    other.set(8)
    assert (8 in bits, 8 in other) == (False, True)
    assert bits != other
    assert bits != "bits"


@given(sized_sets(), st.data())
def test_set_algebra(sized: tuple[int, set[int]], data: st.DataObject) -> None:
    count, members = sized
    others = data.draw(st.sets(st.integers(0, count - 1))) if count else set()
    one, other = bitfield(count, members), bitfield(count, others)
    check_is(one.both(other), count, members & others)
    check_is(one.either(other), count, members | others)
    check_is(one.without(other), count, members - others)
    check_is(one, count, members)
