"""Whom a download follows in a swarm of more receivers than it can have sources."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from node.downloader.download import Gained
from node.downloader.grid import Grid
from node.downloader.source import SourcePool
from protocol.grid import mate
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX
from protocol.messages import Follow, Piece
from tests.node.downloader.scene import Scene, entry, sent

MANY = 100
"""Ten rows and columns."""


def pool(own: int | None, cells: int) -> SourcePool:
    made = SourcePool(count(1), Random(1))
    made.fetch_pieces(9, 2**16)
    made.grid.note(own, cells)
    return made


def test_who_has_it_from_elsewhere_comes_first_then_mates_then_others() -> None:
    made = pool(own=0, cells=MANY)
    made.learn([entry(f"p{cell}", cell=cell) for cell in range(1, MANY)])
    made.learn([entry("seeder")])
    chosen = [source.entry for source in made.connect(0.0)]
    assert len(chosen) == SOURCES_PER_DOWNLOAD_COUNT_MAX
    assert chosen[0].peer == "seeder"
    assert sorted(one.cell or 0 for one in chosen[1:19]) == [n for n in range(1, MANY) if mate(0, n, MANY)]


def test_a_mate_takes_the_place_of_one_who_is_none() -> None:
    made = pool(own=0, cells=MANY)
    far = [cell for cell in range(1, MANY) if mate(0, cell, MANY) is None]
    made.learn([entry(f"p{cell}", cell=cell) for cell in far])
    made.connect(0.0)
    made.learn([entry("mate", cell=1)])
    found = made.outranked(0.0, ["mate"])
    assert found is not None
    assert found[1] == "mate"


@pytest.mark.parametrize("cells", [1, SOURCES_PER_DOWNLOAD_COUNT_MAX, 289, 2**53])
def test_all_follow_all_where_nobody_needs_the_grid_or_it_is_too_large(cells: int) -> None:
    """Whatever a tracker says: a row and a column that are no sources would bring nothing."""
    grid = Grid()
    grid.note(0, cells)
    assert not grid.is_used
    assert grid.follows(5) == (True, None)
    assert grid.rank(5) == grid.rank(None) == 0


def test_of_long_pieces_there_are_too_few_sources_for_it() -> None:
    made = pool(own=0, cells=MANY)
    assert made.grid.is_used
    made.fetch_pieces(9, 2**24)
    assert not made.grid.is_used


def test_of_rather_long_pieces_there_are_fewer_sources_so_fewer_receivers_are_too_many() -> None:
    made = pool(own=0, cells=60)
    assert not made.grid.is_used
    made.fetch_pieces(9, 5 * 2**20)
    assert made.limit < 60
    assert made.grid.is_used


def test_without_a_cell_of_its_own_it_follows_all() -> None:
    grid = Grid()
    grid.note(None, MANY)
    assert grid.follows(3) == (True, None)
    grid.note(0, MANY)
    assert [grid.follows(cell) for cell in (None, 3, 1, 2)] == [
        (True, None),
        (True, "row"),
        (True, "column"),
        (False, None),
    ]


def test_cells_are_as_many_as_the_highest_that_was_heard_of_until_they_are_numbered_anew() -> None:
    grid = Grid()
    grid.note(7, MANY)
    grid.note(None, 3)
    assert grid.is_used
    grid.note(3, 4)
    assert not grid.is_used


@pytest.mark.parametrize(("own", "cells"), [(2**53, 2), (0, 2**53), (2**53, 2**53), (99, 100)])
def test_a_tracker_that_talks_nonsense_does_no_harm(own: int, cells: int) -> None:
    """All pieces come from whoever has them."""
    scene = Scene("    ")
    scene.pool.grid.note(own, cells)
    scene.download.found([entry("a", cell=2**53), entry("b", cell=0), entry("c", cell=5)], scene.now)
    for source in scene.download.sources:
        scene.sessions[source.entry.peer] = source.session
    for name in "abc":
        scene.connected(name)
        scene.idle(name)
    assert sum(len(source.gets) for source in scene.download.sources) == 4


def test_sources_are_told_what_they_are_and_what_they_send_is_handed_on() -> None:
    scene = Scene("    ")
    scene.pool.grid.note(0, MANY)
    names = {"row": 3, "column": 1, "neither": 2, "seeder": None}
    effects = scene.download.found([entry(name, cell=cell) for name, cell in names.items()], scene.now)
    scene._note(effects)
    told = {}
    for name in names:
        scene.connected(name)
        (follow,) = [message for message in sent(scene.status(name, "    ")) if isinstance(message, Follow)]
        told[name] = follow.push, follow.mate
    assert told == {"row": (True, "row"), "column": (True, "column"), "neither": (False, None), "seeder": (True, None)}
    scene.arrives(Piece(scene.sessions["column"], 2, hand_on=True))
    assert Gained(2, relay=False, hand_on=True) in scene.written(2)
    scene.arrives(Piece(scene.sessions["row"], 1))
    assert Gained(1, relay=False) in scene.written(1)
