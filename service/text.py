"""Text from elsewhere made safe to show, or refused. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from protocol.errors import UsageError
from service.look_alikes import DISGUISED, UNSEEN, look

MARKS_COUNT_MAX = 6
"""On one letter, as scripts in use have them: more would cover the lines above and below."""
_UNSEEN = re.compile(f"[{UNSEEN}]")
_DISGUISED = re.compile(f"[{DISGUISED}]")
_WORD = re.compile(r"[^\W_]+")
_ASCII_LETTER = re.compile("[A-Za-z]")
_ODD_SPACES = re.compile("^ +| +$| {2,}")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))")


def printable(text: str) -> str:
    """``text`` with everything that is not seen as itself written as an escape: control characters could forge a line
    or move a terminal's cursor, marks of direction turn a name around, halves of a character (bytes that are no UTF-8)
    cannot be written at all. So is a word of ASCII letters and others that only look like them, and a mark that would
    be drawn over what stands before ``text``, or far beyond its line."""
    if not text.isascii():
        text = _bounded(_UNSEEN.sub(lambda found: _escaped(found[0]), _WORD.sub(_undisguised, text)))
    if text.isprintable():
        return text
    return text.translate({ord(one): _escaped(one) for one in dict.fromkeys(text) if not one.isprintable()})


def told_apart(texts: Sequence[str]) -> list[str]:
    """Each of ``texts``, which stand together, as it is shown: `printable`, and in ASCII with escapes if another one
    looks like it."""
    looks = [look(unescaped(text)) for text in texts]
    first = dict(zip(reversed(looks), reversed(texts), strict=True))
    alike = {seen for seen, text in zip(looks, texts, strict=True) if first[seen] != text}
    return [_exact(text) if seen in alike else printable(text) for seen, text in zip(looks, texts, strict=True)]


def unescaped(name: str) -> str:
    """The name of a content of which a person was shown ``name``. No such name has a backslash in it."""
    return _ESCAPE.sub(_character, name) if "\\" in name else name


def as_utf8(text: str) -> str:
    """``text`` as a message or a log can carry it: what came from bytes that are no UTF-8 is written as escapes."""
    return text.encode(errors="backslashreplace").decode()


def check_utf8(text: str) -> None:
    """Raise `UsageError` when ``text`` came from bytes that are no UTF-8: no message could carry it to a peer."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{text!a} is not valid UTF-8; rename it, or run the command from another directory")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _bounded(text: str) -> str:
    shown: list[str] = []
    marks = MARKS_COUNT_MAX  # nothing of `text` is before the first
    for one in text:
        marks = marks + 1 if unicodedata.category(one) in ("Mn", "Me") else 0
        shown.append(one if marks <= MARKS_COUNT_MAX else _escaped(one))
    return "".join(shown)


def _exact(text: str) -> str:
    plain = _ESCAPE.sub(lambda found: r"\x5c" + found[0][1:], text)  # a peer may have an escape as its name
    spaced = _ODD_SPACES.sub(lambda found: r"\x20" * len(found[0]), plain)
    return "".join(one if one.isascii() and one.isprintable() else _escaped(one) for one in spaced)


def _undisguised(found: re.Match[str]) -> str:
    word = found[0]
    return _exact(word) if _ASCII_LETTER.search(word) and _DISGUISED.search(word) else word


def _character(found: re.Match[str]) -> str:
    number = int(found[1] or found[2] or found[3], 16)
    return found[0] if 0xD800 <= number <= 0xDFFF else chr(number)
