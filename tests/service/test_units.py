"""`service.units`: what is shown can be typed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UsageError
from service.units import (
    format_bytes,
    format_link_rate,
    format_rate,
    format_seconds,
    parse_bytes,
    parse_rate,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1023.7, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (2**70, "1024.0 EiB"),
    ],
)
def test_bytes_are_shown(count: float, text: str) -> None:
    assert format_bytes(count) == text
    assert format_rate(count) == text + "/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (3_599.6, "1h 00m"),
        (7_500, "2h 05m"),
        (86_399, "1d 00h"),
        (273_600, "3d 04h"),
        (math.inf, "-"),
    ],
)
def test_seconds_are_shown(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [("512", 512), ("64MiB", 2**26), ("64m", 2**26), ("10GB", 10**10), ("1.5 GiB", 3 * 2**29), (7, 7), ("0", 0)],
)
def test_sizes_are_read(text: str | int, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(("40mbit", 5e6), ("40 Mbit/s", 5e6), ("1gbit", 1.25e8), ("2.5 Gbit/s", 3.125e8), ("8bit", 1)),
        *(("10 MiB/s", 10 * 2**20), ("100MiB/s", 100 * 2**20), ("10MB", 1e7), ("5", 5), (2.5, 2.5)),
    ],
)
def test_rates_are_read(text: str | float, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["40 Mb", "40Mb/s", "40 Mbps", "40mbps", "40 Mbit/s", "40mbits", "40000 kbps", "40000 Kb"]
)
def test_bits_are_bits(text: str) -> None:
    assert parse_rate(text) == 5e6


@pytest.mark.parametrize(
    ("text", "rate"),
    [("40 MB/s", 40e6), ("40MBps", 40e6), ("40 MiB/s", 40 * 2**20), ("40 mib", 40 * 2**20), ("8 B", 8)],
)
def test_bytes_are_bytes(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "bits", "bytes_"),
    [
        *(("40 mb", "40 Mbit/s", "40 MB/s"), ("1.5gb/s", "1.5 Gbit/s", "1.5 GB/s"), ("40MBPS", "40 Mbit/s", "40 MB/s")),
        *(("9 kb", "9 kbit/s", "9 kB/s"), ("512b", "512 bit/s", "512 B/s"), ("40 Mib", "40 Mbit/s", "40 MB/s")),
    ],
)
def test_what_may_be_either_is_refused_with_both(text: str, bits: str, bytes_: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rate(text)
    assert f"write {bits} for bits, {bytes_} for bytes" in str(caught.value)
    assert parse_rate(bits) != parse_rate(bytes_)


@pytest.mark.parametrize("value", ["0.1", "4 bit/s", 0.5, "0.0001 KiB/s"])
def test_a_rate_that_would_be_shown_as_none_is_refused(value: str | float) -> None:
    with pytest.raises(UsageError, match="less than 1 byte a second; expected 0 or at least 1"):
        parse_rate(value)
    assert parse_rate("8 bit/s") == parse_rate(1) == 1
    assert parse_rate("0.0") == 0


@pytest.mark.parametrize("text", ["64 Mb", "64Mbit", "64 MB/s", "64Mbps", "64 iB", "64 Mibit"])
def test_a_size_is_no_rate_and_has_no_bits(text: str) -> None:
    with pytest.raises(UsageError, match="64MiB, 10GB or 512"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("2m", 120), ("1h 30min", 5_400), ("1.5h", 5_400), ("5", 5), (" 4.2 s ", 4.2), (3, 3)],
)
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", " ", "x", "5x", "-1", "1e9", "5 s s", "٣", "1" * 30, "1.2.3", "5,5", -1, math.nan, math.inf, True, 10**400],
)
def test_nonsense_is_refused(value: str | float) -> None:
    for parse in (parse_bytes, parse_rate, parse_seconds):
        with pytest.raises(UsageError):
            parse(value)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        *((0, "0 bit/s"), (5e6, "40 Mbit/s"), (1.25e8, "1 Gbit/s"), (3.125e8, "2.5 Gbit/s")),
        *((100 * 2**20, "839 Mbit/s"), (124.99e6, "1 Gbit/s"), (1.25e15, "1e+04 Tbit/s")),
    ],
)
def test_link_rates_are_shown_in_bits(rate: float, text: str) -> None:
    assert format_link_rate(rate) == text


@given(st.floats(1, 1e14))
def test_a_link_rate_comes_back_within_its_last_digit(rate: float) -> None:
    assert parse_rate(format_link_rate(rate)) == pytest.approx(rate, rel=0.006)


@given(st.integers(0, 10**15))
def test_a_size_comes_back_within_its_last_digit(count: int) -> None:
    assert parse_bytes(str(count)) == count
    # One decimal of a value of at least 1 is 5 % at most.
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.05)
    assert parse_rate(format_rate(count)) == pytest.approx(count, rel=0.05)


@given(st.floats(1, 1e8))
def test_a_duration_comes_back_within_its_last_unit(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=0.05)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_bytes, parse_rate, parse_seconds):
        try:
            found: float | str = parse(text)
        except UsageError as error:
            found = str(error)
        assert "expected" in found if isinstance(found, str) else found >= 0
