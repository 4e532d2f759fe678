"""Worlds that broke, and hold since: each was a bug of the product that nobody had thought of.

What happens in a world changes with everything that decides in it, and then its seed may lead past the old bug. So each
of these says how to have the bug back, and must break with it: else it is time for another seed.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from cluster.simulated.soak import run_quietly
from tests.cluster.simulated.planting import Edit, edited


class Broke(NamedTuple):
    """``seed`` broke (heavy faults) as ``what`` says, and would again with ``undone``."""

    what: str
    seed: int
    undone: Edit


BROKE = (
    Broke(
        "what a download gained while its book was closed was served to nobody",
        88,
        Edit(
            "node.piece_server.core:PieceServerCore.downloader_says",
            "self.shelf.gained(message.digest, message.pieces, message.relayed)",
            "pass",
        ),
    ),
    Broke(
        "a source that let a piece wait, and says that it is idle, was asked for the same piece again and again",
        189,
        Edit("node.downloader.download:Download._give_up_overdue", "source.snubs = True", "pass"),
    ),
    Broke(
        "what a peer relays was forgotten when the book of its download was closed",
        137,
        Edit("node.piece_server.shelf:Shelf.gained", "self._relayed[digest] += relayed", "pass"),
    ),
    Broke(
        "a removal that got lost left the download of a wrong link running in place of the right one",
        2392,
        Edit("node.downloader.core:DownloaderCore._fetch", "job.cancel()", "pass"),
    ),
    Broke(
        "a source that had failed more often than those that have nothing was never tried again, and had everything",
        121725,
        Edit("node.downloader.source:SourcePool._order", "candidate.retry_at", "candidate.failures"),
    ),
    Broke(
        "where a rate limit allows little, idle sources were given all of it, and what was asked for did not come",
        121615,
        Edit(
            "node.downloader.credit:Credit.say",
            "sorted(self._unsaid, key=lambda one: not one.is_to_send)",
            "list(self._unsaid)",
        ),
    ),
    Broke(
        "a piece that was on its way was sent once more each time it was taken back and asked for again",
        102642,
        Edit("node.piece_server.uploads:Uploads._get", " and piece not in on_way", ""),
    ),
)
each_of_them = pytest.mark.parametrize("broke", BROKE, ids=[broke.what for broke in BROKE])


@each_of_them
def test_a_world_that_broke_holds(broke: Broke) -> None:
    assert run_quietly(broke.seed, "heavy").error == ""


@pytest.mark.slow
@each_of_them
def test_it_breaks_with_the_bug(broke: Broke) -> None:
    with edited((broke.undone,)):
        assert run_quietly(broke.seed, "heavy").error != "", "find a seed that breaks, and put it here"
