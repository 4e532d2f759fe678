"""Text from elsewhere made safe to show, or refused. Pure."""

from __future__ import annotations

from protocol.errors import UsageError


def printable(text: str) -> str:
    """``text`` with everything that is not seen as itself written as an escape: control characters could forge a line
    or move a terminal's cursor, marks of direction turn a name around, halves of a character (bytes that are no UTF-8)
    cannot be written at all."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def as_utf8(text: str) -> str:
    """``text`` as a message or a log can carry it: what came from bytes that are no UTF-8 is written as escapes."""
    return text.encode(errors="backslashreplace").decode()


def check_utf8(text: str) -> None:
    """Raise `UsageError` when ``text`` came from bytes that are no UTF-8: no message could carry it to a peer."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{text!a} is not valid UTF-8; rename it, or run the command from another directory")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
