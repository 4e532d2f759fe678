"""`protocol.endpoints`. What a registrar makes of a peer's endpoint is tested with the registrar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.endpoints import Address, host_of, is_loopback, is_wildcard, parse_endpoint, with_host, with_port
from protocol.errors import ProtocolError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://10.0.0.1:5550", Address("10.0.0.1", 5550)),
        ("tcp://[fd00::1]:5550", Address("[fd00::1]", 5550)),
        ("tcp://[FD00:0::1]:5550", Address("[fd00::1]", 5550)),
        ("tcp://[fe80::1%eth0]:5550", Address("[fe80::1%eth0]", 5550)),
        ("tcp://[::ffff:10.0.0.1]:5550", Address("10.0.0.1", 5550)),
        ("tcp://tracker.lab:5550", Address("tracker.lab", 5550)),
        ("tcp://*:5550", Address("*", 5550)),
        ("tcp://*:*", Address("*", 0)),
        ("tcp://a_b-c:0", Address("a_b-c", 0)),
    ],
)
def test_what_an_endpoint_says(text: str, address: Address) -> None:
    assert parse_endpoint(text, port_zero=True) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected something like tcp://host:5550"),
        ("10.0.0.1:5550", "expected something like tcp://host:5550"),
        ("tcp://host", "expected something like tcp://host:5550"),
        ("ipc:///tmp/x", "expected something like tcp://host:5550"),
        ("tcp://host:", "has no port"),
        ("tcp://host:65536", "has no port"),
        ("tcp://host:5a", "has no port"),
        ("tcp://host:0", "port 0"),
        ("tcp://[fd00::1]", "has no port"),
        ("tcp://fd00::1:5550", "IPv6 addresses stand in brackets"),
        ("tcp://[fd00::1:5550", "IPv6 addresses stand in brackets"),
        ("tcp://[fd00::g]:5550", "IPv6 addresses stand in brackets"),
        ("tcp://10.0.0.300:5550", "neither a name nor an IP address"),
        ("tcp://10.0.1:5550", "neither a name nor an IP address"),
        ("tcp://a b:5550", "neither a name nor an IP address"),
        ("tcp://-a:5550", "neither a name nor an IP address"),
        ("tcp://a..b:5550", "neither a name nor an IP address"),
        ("tcp://10.0.0.1%a.lab:5550", "neither a name nor an IP address"),
        ("tcp://[::1%sixteen-letters-]:5550", "IPv6 addresses stand in brackets"),
        ("tcp://[::1%a b]:5550", "IPv6 addresses stand in brackets"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_endpoint(text)
    assert complaint in str(caught.value)


@given(st.text() | st.text("tcp:/[]*.%0123456789abf").map("tcp://{}:1".format))
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    try:
        address = parse_endpoint(text, port_zero=True)
    except ProtocolError:
        return
    assert parse_endpoint(str(address), port_zero=True) == address


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://*:5", "tcp://10.0.0.9:5"),
        ("tcp://10.0.0.1:5", "tcp://10.0.0.1:5"),
        ("tcp://[::1]:5", "tcp://[::1]:5"),
    ],
)
def test_a_star_is_the_host_where_the_tracker_is_reached(endpoint: str, expected: str) -> None:
    assert with_host(endpoint, host_of("tcp://10.0.0.9:5550")) == expected


def test_a_bracketed_host_keeps_its_brackets() -> None:
    assert with_host("tcp://*:6", host_of("tcp://[::1]:5")) == "tcp://[::1]:6"


@pytest.mark.parametrize(
    ("advertise", "expected"),
    [
        ("tcp://h:0", "tcp://h:7"),
        ("tcp://h:*", "tcp://h:7"),
        ("tcp://h:9", "tcp://h:9"),
        ("tcp://*:0", "tcp://*:7"),
    ],
)
def test_an_open_port_is_filled_in(advertise: str, expected: str) -> None:
    assert with_port(advertise, 7) == expected


def test_kinds_of_hosts() -> None:
    assert [host for host in ("*", "0.0.0.0", "[::]", "[::0]", "h", "10.0.0.1") if is_wildcard(host)] == [
        "*",
        "0.0.0.0",
        "[::]",
        "[::0]",
    ]
    loopback = ("127.0.0.1", "127.9.9.9", "[::1]", "::ffff:127.0.0.1")
    assert [host for host in (*loopback, "localhost", "10.0.0.1", "*") if is_loopback(host)] == list(loopback)
