"""Limits of the product that are drawn smaller in some worlds: what happens at a limit of thousands, happens in a swarm
of eight then.

They are set in the modules that read them and put back afterwards: one world at a time in a process.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random

from protocol.limits import PIECE_BYTES_MIN

_PAGES = ("protocol.limits", "node.downloader.manifest_fetch", "cluster.simulated.store")
_TIGHT: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "LINK_PAGE_COUNT": (("protocol.limits",), (3, 4)),
    "LINK_WINDOW_COUNT": (("protocol.limits",), (1, 2)),
    "LINK_QUEUE_COUNT_MAX": (("protocol.limits",), (6, 12)),
    "LIST_TRANSFERS_COUNT_MAX": (("protocol.limits",), (1, 2)),
    "MANIFEST_PAGE_BYTES": (_PAGES, (50, 400)),
    "ENTRIES_PAGE_COUNT": (("node.agent.announced",), (1,)),
    "REPLY_PAGE_COUNT": (("broker.queries",), (1, 2)),
    "SEEDERS_COUNT_MAX": (("broker.queries",), (1, 2)),
    "LOOKUP_SCAN_COUNT_MAX": (("broker.queries",), (1,)),
    "LOOKUP_PARKED_COUNT_MAX": (("broker.lookup_core",), (0, 1)),
    "SESSIONS_COUNT_MAX": (("node.piece_server.uploads",), (3, 4)),
    "ROUTE_SESSIONS_COUNT_MAX": (("node.piece_server.uploads",), (1,)),
    "STALLED_BYTES_MAX": (("node.piece_server.uplink",), (PIECE_BYTES_MIN, 3 * PIECE_BYTES_MIN)),
    "PIECES_TOLD_COUNT_MAX": (
        (
            "node.piece_server.uploads",
            "node.piece_server.sending",
            "node.downloader.download",
            "node.downloader.assignments",
        ),
        (20,),
    ),
    "CREDIT_COUNT": (("node.downloader.credit", "node.downloader.assignments"), (1, 3)),
    "ANSWERED_COUNT_MAX": (("node.piece_server.uplink",), (1, 3)),
    "AHEAD_COUNT": (("node.piece_server.swarm",), (1, 8)),
    "UNSPREAD_COUNT_MAX": (("node.piece_server.swarm",), (0, 2)),
    "BOOKS_COUNT_MAX": (("node.piece_server.shelf",), (1,)),
    "JOURNAL_GROUP_BYTES": (("node.downloader.job_disk",), (1, 4 * PIECE_BYTES_MIN)),
    "UNDER_WAY_BYTES_MAX": (("node.downloader.process",), (PIECE_BYTES_MIN, 4 * PIECE_BYTES_MIN)),
    "ON_WAY_BYTES_MAX": (("node.piece_server.uplink",), (PIECE_BYTES_MIN, 4 * PIECE_BYTES_MIN)),
    "SOURCES_PER_DOWNLOAD_COUNT_MAX": (("node.downloader.source", "cluster.simulated.invariants"), (2, 3)),
}
"""By name, the modules that read it and the values it may have."""
TIGHT_PART = 0.15
"""How many of them are."""


def draw_tight(rng: Random) -> dict[str, float]:
    """Limits by name, for `limited`."""
    drawn = {name: (rng.random(), rng.choice(values)) for name, (_, values) in _TIGHT.items()}
    return {name: value for name, (part, value) in drawn.items() if part < TIGHT_PART}


@contextmanager
def limited(tight: Mapping[str, float]) -> Iterator[None]:
    """Run with these limits."""
    places = [(importlib.import_module(module), name) for name in tight for module in _TIGHT[name][0]]
    before = [(module, name, getattr(module, name)) for module, name in places]
    try:
        for module, name in places:
            setattr(module, name, tight[name])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
