"""How a person wants a path shared, and what of it is left out: nobody shall take the rest for all there is. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from service.text import as_utf8

EXAMPLES_COUNT_MAX = 3
KEPT_TIME, KEPT_MARK = "%Y%m%dT%H%M%SZ", re.compile(r"\.\d{8}T\d{6}Z(\.\d+)?\Z", re.ASCII)
"""What a download has replaced and kept is called NAME.20261130T210405Z: when it was written, in UTC. Their order is
that of the names."""


class ShareOptions(Struct, frozen=True):
    """``link_roots``: absolute paths of directories that symbolic links in a tree may lead into; such links are shared
    as what they lead to. ``posix_names``: paths in a tree may be such that only POSIX systems can store them."""

    link_roots: tuple[str, ...] = ()
    posix_names: bool = False


AS_USUAL = ShareOptions()


class Skipped(Struct, frozen=True):
    """``links``: symbolic links that were not followed; ``special``: FIFOs, sockets and devices; ``examples`` are the
    first of their paths. False when nothing was left out."""

    links: int = 0
    special: int = 0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.links or self.special)

    def and_link(self, path: str) -> Skipped:
        return Skipped(self.links + 1, self.special, self._examples_and(path))

    def and_special(self, path: str) -> Skipped:
        return Skipped(self.links, self.special + 1, self._examples_and(path))

    def described(self, shown: Callable[[str], str] = str) -> str:
        """``2 symbolic links and 1 special file (a, b/c, fifo)``; ``shown`` makes a path fit to print."""
        kinds = ((self.links, "symbolic link"), (self.special, "special file"))
        counts = " and ".join(f"{count} {kind}{'s' * (count != 1)}" for count, kind in kinds if count)
        more = ", ..." if self.links + self.special > len(self.examples) else ""
        return f"{counts} ({', '.join(map(shown, self.examples))}{more})"

    def advice(self, followed: bool) -> str:
        """What a person can do, as the end of a sentence; empty when that is nothing. ``followed``: links were
        followed as far as they may lead."""
        if not self.links:
            return ""
        if followed:
            return "; --link-root DIR names a directory that links may point into"
        return "; --follow-links shares what links point to"

    def _examples_and(self, path: str) -> tuple[str, ...]:
        if len(self.examples) == EXAMPLES_COUNT_MAX:
            return self.examples
        return (*self.examples, as_utf8(path))


NOTHING = Skipped()
