"""`protocol.keys`: what is typed or pasted is an invite or a key, or is refused without being repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UsageError
from protocol.keys import Invite, format_invite, parse_invite, parse_key, peer_id_of

KEY, SECRET = "a1" * 32, "b2" * 32
LINE = f"zswarm-invite://10.0.0.1:5550/{KEY}/{SECRET}"


def test_an_invite_is_one_line() -> None:
    assert parse_invite(LINE) == Invite("tcp://10.0.0.1:5550", KEY, SECRET)
    assert parse_invite(f"  {LINE}\n") == parse_invite(LINE)
    for tracker in ("tcp://10.0.0.1:5550", "tcp://tracker.example:1", "tcp://[fd00::1]:65535"):
        invite = Invite(tracker, KEY, SECRET)
        assert parse_invite(format_invite(invite)) == invite


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zswarm-invite://",
        LINE[:-1],
        LINE + "0",
        LINE + f"/{KEY}",
        LINE.replace("zswarm-invite", "zswarm"),
        LINE.replace("b2", "g2", 1),
        LINE.replace("10.0.0.1:5550", "10.0.0.1"),
        LINE.replace("10.0.0.1:5550", "10.0.0.1:0"),
        LINE.replace("10.0.0.1:5550", "*:5550"),
        LINE.replace("10.0.0.1", "0.0.0.0"),
        LINE.replace("/a1", "/a\n", 1),
        LINE.replace("10.0.0.1", "a" * 300),
    ],
)
def test_what_is_no_invite_is_refused_and_its_secret_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_invite(text)
    assert SECRET[:16] not in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text())
def test_any_text_is_an_invite_or_a_usage_error(text: str) -> None:
    for parse, whole in ((parse_invite, LINE + text), (parse_invite, text), (parse_key, text)):
        try:
            parse(whole)
        except UsageError as error:
            assert str(error).isprintable()  # noqa: PT017 - it may be none


def test_a_key_is_written_in_one_way() -> None:
    assert parse_key(f" {KEY.upper()} ") == KEY
    with pytest.raises(UsageError, match="64"):
        parse_key(KEY[:-1])


def test_the_id_of_a_peer_is_the_digest_of_its_key() -> None:
    assert peer_id_of("00" * 32) == "66687aadf862bd776c8fc18b8e9f8e20"  # SHA-256 of 32 zeros
    assert peer_id_of(KEY) != peer_id_of(SECRET)
