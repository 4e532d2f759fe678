"""What the agent's pure cores ask of its shell, as far as several of them do."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Note(Struct, frozen=True):
    """Write one line to the log."""

    level: Literal["info", "warning", "error"]
    text: str
