"""Which peers an order is for, and where they put what it orders (PROTOCOL.md, section 4.6). Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from protocol.errors import SeedError
from protocol.limits import ORDER_DIRECTORY_BYTES_MAX
from protocol.names import check_path


def is_for(pattern: str, name: str) -> bool:
    """Whether an order whose pattern of peers is ``pattern`` is for the peer ``name``: a shell pattern for the whole
    name, in any case; empty: for everybody."""
    return not pattern or fnmatchcase(name.casefold(), pattern.casefold())


def check_directory(text: str) -> str:
    """``text``, when it may be the directory of an order: a relative path that leads nowhere else; empty: none.
    `SeedError` that says why it may not."""
    if text and len(text) > ORDER_DIRECTORY_BYTES_MAX:
        raise SeedError(f"directory {text[:40]!a}... is over {ORDER_DIRECTORY_BYTES_MAX} characters long")
    return check_path(text) if text else text
