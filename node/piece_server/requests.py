"""Requests of peers that wait for a seed, and pages of manifests on their way to them. PROTOCOL.md, section 6.1.

Pure. Owns how many of both there may be, and who is next. Pages are sent without credit, so the transport is asked what
of them has left this process. A connection has one at a time on its way: whoever does not read one gets no other. All
together have `PAGES_COUNT_MAX`, and when that is too few, connections that are not read are closed, as `admission` has
it. Leaves reading and sending to `core`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.piece_server.admission import Places
from protocol.limits import (
    MANIFEST_PAGE_BYTES,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSIONS_COUNT_MAX,
    STALLED_BYTES_MAX,
    TEST_TIMEOUT_SECONDS,
)
from protocol.messages import GetManifest, Test

PAGES_COUNT_MAX = STALLED_BYTES_MAX // MANIFEST_PAGE_BYTES
PATIENCE_SECONDS = TEST_TIMEOUT_SECONDS
"""An honest receiver that waits for longer has gone elsewhere."""
LOOK_SECONDS = 0.01
"""How often it is seen whether pages have gone out, while somebody waits for that."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request that came over ``route`` from ``address``, or a page on its way there, since ``served_at``."""

    request: Test | GetManifest
    route: bytes
    address: str
    served_at: float
    hang_up: Callable[[], None]
    """Closes the connection."""
    takes: bool = False
    is_gone: Callable[[], bool] | None = None
    """Whether the page has left this process, or never will; None before it is sent."""


class Requests:
    """Those of one piece server."""

    def __init__(self) -> None:
        self._asked: dict[tuple[bytes, int], Asked] = {}
        """By route and session, those that are not answered..."""
        self._waiting: Places[Asked] = Places()
        """...which are these."""
        self._for_page: dict[Asked, None] = {}
        """Those of them whose turn it is next to get a page."""
        self._on_way: dict[bytes, Asked] = {}
        """By route, those whose page is read or sent..."""
        self._pages: Places[Asked] = Places()
        """...which are these."""
        self._closing: Asked | None = None
        """Whose connection is being closed."""

    # --- requests ----------------------------------------------------------------------------------------

    def has(self, route: bytes, request: Test | GetManifest) -> bool:
        known = self._asked.get((route, request.session))
        return known is not None and known.request == request

    def of(self, digest: str) -> list[Asked]:
        return [asked for asked in self._asked.values() if asked.request.digest == digest]

    def add(self, asked: Asked) -> Asked | None:
        """``asked`` came just now. Returns which request is to be sent away: where there are too many it may be that
        one, which then is not added, or one that makes room for it."""
        key = asked.route, asked.request.session
        if key in self._asked or self._waiting.of_route(asked.route) >= ROUTE_SESSIONS_COUNT_MAX:
            return asked
        away = None
        if len(self._asked) >= SESSIONS_COUNT_MAX:
            away = self._waiting.who_gives_way(asked.address, asked.route, asked.served_at, PATIENCE_SECONDS)
            if away is None:
                return asked
            self.take(away)
        self._asked[key] = asked
        self._waiting.add(asked)
        return away

    def take(self, asked: Asked) -> bool:
        """It is answered now. False when it was before."""
        key = asked.route, asked.request.session
        if self._asked.get(key) is not asked:
            return False
        del self._asked[key]
        self._waiting.remove(asked)
        self._for_page.pop(asked, None)
        return True

    # --- pages -------------------------------------------------------------------------------------------

    def wait_for_page(self, asked: Asked) -> None:
        self._for_page[asked] = None

    def next_for_page(self, now: float) -> Asked | None:
        """Who is to get a page now, if anybody. Call `page_done` when that has been read."""
        if not self._for_page:
            return None
        for one in list(self._on_way.values()):
            if one.is_gone is not None and one.is_gone():
                self._page_over(one)
        free = [one for one in self._for_page if one.route not in self._on_way]
        first = min(free, key=lambda one: self._pages.of_address(one.address), default=None)
        if first is None:
            return None
        if len(self._on_way) >= PAGES_COUNT_MAX:
            self._close_one(first, now)
            return None
        del self._for_page[first]
        first.served_at = now
        self._on_way[first.route] = first
        self._pages.add(first)
        return first

    def page_done(self, asked: Asked, is_gone: Callable[[], bool] | None) -> None:
        """Its page was sent, or with None there is none."""
        asked.is_gone = is_gone
        if is_gone is None:
            self._page_over(asked)

    def _page_over(self, asked: Asked) -> None:
        del self._on_way[asked.route]
        self._pages.remove(asked)

    def next_deadline(self, now: float) -> float | None:
        """When to call `next_for_page` again."""
        return now + LOOK_SECONDS if self._for_page else None

    def _close_one(self, first: Asked, now: float) -> None:
        """Close the connection of whoever gives way to ``first``; one, and then see whether that was enough."""
        if self._closing is not None and self._on_way.get(self._closing.route) is self._closing:
            return
        self._closing = self._pages.who_gives_way(first.address, first.route, now, PATIENCE_SECONDS)
        if self._closing is not None:
            self._closing.hang_up()

    # --- for tests and the simulator ---------------------------------------------------------------------

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        assert len(self._asked) == len(self._waiting) <= SESSIONS_COUNT_MAX
        assert len(self._on_way) == len(self._pages) <= PAGES_COUNT_MAX
        assert all(self._asked[asked.route, asked.request.session] is asked for asked in self._for_page)
