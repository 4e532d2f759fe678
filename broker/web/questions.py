"""What the HTTP side asks of the side that has the replica (`broker.web.core`). Pure."""

from __future__ import annotations

from msgspec import Struct

from broker.web.rows import Totals, TrackerRow

PAGE_COUNT = 50
PAGE_COUNT_MAX = 500
SEARCH_CHARACTERS_MAX = 256
CURSOR_CHARACTERS_MAX = 1_024


class GetOverview(Struct, frozen=True):
    """`broker.web.rows.Overview`."""


class Paged(Struct, frozen=True):
    """A page of up to ``limit`` rows, of those behind ``after``."""

    after: str
    limit: int


class GetContents(Paged, frozen=True):
    """Contents whose name contains ``search``, or whose digest begins with it, by name."""

    search: str


class GetContent(Paged, frozen=True):
    """One content, and its peers by id."""

    digest: str


class GetPeers(Paged, frozen=True):
    """Peers whose name contains ``search``, or whose id begins with it, by id."""

    search: str


class GetPeer(Paged, frozen=True):
    """One peer, and what it lists by digest."""

    peer: str


class GetRollouts(Paged, frozen=True):
    """Orders."""


class GetFigures(Struct, frozen=True):
    """`Figures`, for metrics and for health."""


Question = GetOverview | GetContents | GetContent | GetPeers | GetPeer | GetRollouts | GetFigures


class Figures(Struct, frozen=True):
    """``totals`` is None while there is no replica. Downloads are counted by state, entries by holding.
    ``without_seeder``: contents that nobody has whole."""

    tracker: TrackerRow
    totals: Totals | None
    downloads: dict[str, int]
    holdings: dict[str, int]
    lost: int
    left: int
    without_seeder: int


class Refusal(Struct, frozen=True):
    """In place of an answer: ``code`` for programs, ``detail`` for people."""

    code: str
    detail: str


NOT_HEARD = "the page has not heard all from the registrar yet"
STARTING = Refusal("starting", f"{NOT_HEARD}; try again in a second")
"""While there is no replica."""
