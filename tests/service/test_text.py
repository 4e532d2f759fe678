"""`service.text`: what is shown of a text, and which text is none."""

from __future__ import annotations

import pytest

from protocol.errors import UsageError
from service.text import check_utf8, printable, unescaped


@pytest.mark.parametrize("text", ["", "model.bin", "模型 é", "a\\b"])
def test_what_is_seen_as_itself_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *(("a\nb\tc", r"a\nb\tc"), ("\x1b[31m\x7f\x85", r"\x1b[31m\x7f\x85"), ("\u2028", r"\u2028")),
        *((mark, f"\\u{ord(mark):04x}") for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"),
        *(("\u200e\u200f", r"\u200e\u200f"), ("\u200b\ufeff", r"\u200b\ufeff"), ("\U000e0001", r"\U000e0001")),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_is_not_becomes_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.isascii()


def test_bytes_that_are_no_utf8_are_refused() -> None:
    check_utf8("模型")
    with pytest.raises(UsageError, match="not valid UTF-8"):
        check_utf8("a\udcff")


def test_marks_do_not_cover_what_stands_around_the_text() -> None:
    acute = "\u0301"
    assert printable(f"{acute}a") == r"\u0301a"
    assert printable(f"e{acute}") == f"e{acute}"
    pile = "e" + acute * 100
    assert printable(pile).count(acute) < 10
    assert unescaped(printable(pile)) == pile
