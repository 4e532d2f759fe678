"""`service.look_alikes`: texts that look the same and are not can be told apart, and are found by what is shown."""

from __future__ import annotations

import pytest

from service.look_alikes import LOOK_ALIKES, look
from service.text import printable, told_apart, unescaped

ALIKE = [
    ("model.bin", "m\u043edel.bin"),  # a Cyrillic letter
    ("cop", "\u0441\u043e\u0440"),  # nothing but
    ("B2", "\u03922"),  # a Greek one
    ("caf\u00e9", "cafe\u0301"),  # composed or not
    ("\u00f6", "\u04e7"),  # the same of other scripts
    ("v2", "\uff562"),  # fullwidth
    ("x", "\U0001d431"),  # mathematical bold
    ("a-b", "a\u2013b"),  # another dash
    ("model", "mo\u200bdel"),  # nothing is seen
    ("model", "model\u3164"),
    ("lab1", "lab1 "),
    ("a b", "a  b"),
    ("a b", "a\u00a0b"),
    ("new!", "new\u01c3"),  # a letter that is taken for a sign
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_looks_the_same_is_shown_differently_and_in_ascii(one: str, other: str) -> None:
    assert look(one) == look(other)
    first, second = told_apart([one, other])
    assert first != second
    assert (first + second).isascii()
    assert look(first) != look(second)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_is_shown_of_a_name_is_a_name_for_it(one: str, other: str) -> None:
    assert [unescaped(shown) for shown in told_apart([one, other])] == [one, other]
    assert unescaped(printable(other)) == other


@pytest.mark.parametrize("names", [["l\u0430b1", r"l\u0430b1"], [r"lab1\x20", "lab1 "], ["lab1", "lab1 ", r"lab1\x20"]])
def test_a_name_written_as_another_is_shown_is_told_apart_from_it(names: list[str]) -> None:
    """A content cannot have a backslash in its name, but a peer can."""
    shown = told_apart(names)
    assert len(set(shown)) == len(names)
    assert [unescaped(one) for one in shown] == names


@pytest.mark.parametrize(
    "names",
    [
        ["model.bin", "Model.bin", "modell.bin"],
        ["модель.bin", "модели.bin", "сор", "模型", "データ（最新）", "Größe", "Grösse", "μ-TOF", "CO₂", "é", "è"],
        ["cop"] * 2,
        ["сор"] * 2,
        [],
    ],
)
def test_names_that_nothing_looks_like_are_shown_as_they_are(names: list[str]) -> None:
    assert told_apart(names) == names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("error in m\u043edel.bin of lab", r"error in m\u043edel.bin of lab"),
        ("inde\uff58-2", r"inde\uff58-2"),
        ("pa\u0443pal and модель", r"pa\u0443pal and модель"),
        ("a\u3164b\ufe0f", r"a\u3164b\ufe0f"),
    ],
)
def test_a_word_of_letters_that_only_look_alike_is_escaped_wherever_it_stands(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["модель v2", "модель-v2.bin", "東京tower", "Größe", "kayıtlı", "5µm", "m²", "ﬁ"])
def test_scripts_side_by_side_are_no_deceit(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", [r"\u43", r"a\n", r"\udc80", r"\U99999999", "a\\", "model.bin", r"\x4"])
def test_what_is_no_escape_of_a_character_stays(text: str) -> None:
    assert unescaped(text) == text


def test_the_table_has_each_look_alike_once() -> None:
    alike = "".join(LOOK_ALIKES.values())
    assert len(set(alike)) == len(alike)
    assert not any(character.isascii() for character in alike)
    assert all(look(character) == plain.strip() for plain, row in LOOK_ALIKES.items() for character in row)
