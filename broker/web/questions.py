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


class GetContents(Struct, frozen=True):
    """A page of the contents whose name contains ``search``, or whose digest begins with it, by name."""

    search: str = ""
    after: str = ""
    limit: int = PAGE_COUNT


class GetContent(Struct, frozen=True):
    """One content, and a page of its peers by id."""

    digest: str
    after: str = ""
    limit: int = PAGE_COUNT


class GetPeers(Struct, frozen=True):
    """A page of the peers whose name contains ``search``, or whose id begins with it, by id."""

    search: str = ""
    after: str = ""
    limit: int = PAGE_COUNT


class GetPeer(Struct, frozen=True):
    """One peer, and a page of what it lists by digest."""

    peer: str
    after: str = ""
    limit: int = PAGE_COUNT


class GetRollouts(Struct, frozen=True):
    """A page of the orders."""

    after: str = ""
    limit: int = PAGE_COUNT


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


STARTING = Refusal("starting", "the page has not heard all from the registrar yet; try again in a second")
"""While there is no replica."""
