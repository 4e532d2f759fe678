"""Bitfields as pictures: ``*`` is had, a space is not."""

from __future__ import annotations

from protocol.bitfield import Bitfield


def bits(picture: str) -> Bitfield:
    """``bits("* *")`` has pieces 0 and 2 of 3."""
    field = Bitfield(len(picture))
    for piece, mark in enumerate(picture):
        if mark == "*":
            field.set(piece)
    return field


def picture(field: Bitfield) -> str:
    return "".join("*" if piece in field else " " for piece in range(field.size))
