"""One download against scripted sources: credit as far as memory, disk and the download rate allow."""

from __future__ import annotations

import pytest

from node.downloader.credit import CREDIT_COUNT
from node.downloader.download import CHECK_SECONDS, Write
from node.downloader.source import Banned
from node.rate_limit import BURST_SECONDS, Budget
from protocol.limits import UNDER_WAY_BYTES_MAX
from tests.node.downloader.scene import PIECE_BYTES, Scene, credit, sent


def test_credit_is_given_back_when_there_is_room() -> None:
    scene = Scene(" " * 40, budget_bytes=4 * PIECE_BYTES)
    assert credit(scene.ready("a")) == {1: 4}
    for piece in range(3):
        assert credit(scene.piece("a", piece)) == {}
    assert credit(scene.written(1)) == {1: 1}
    assert credit(scene.wait(1.0)) == {}
    scene.download.write_failed(0)
    assert credit(scene.tick()) == {1: 1}
    assert scene.budget.under_way == 4 * PIECE_BYTES


def test_one_piece_of_each_source_may_always_come() -> None:
    """Or idle ones would hold all the budget, and others never get their turn."""
    scene = Scene(" " * 40, budget_bytes=1)
    for name in "abc":
        assert credit(scene.ready(name)) == {scene.sessions[name]: 1}
    assert credit(scene.gets("b", 0)) == {2: 1}
    assert scene.budget.under_way == 3 * PIECE_BYTES


@pytest.mark.parametrize("pieces", [2, 5])
def test_a_disk_that_does_not_keep_up_stops_everybody(pieces: int) -> None:
    """What waits to be written is in memory, whoever sent it."""
    scene = Scene(" " * 40, budget_bytes=pieces * PIECE_BYTES)
    scene.ready("a", "b")
    piece = iter(range(40))
    while scene.credit("a") or scene.credit("b"):
        for name in "ab":
            if scene.credit(name):
                assert Write(number := next(piece)) in scene.piece(name, number)
    assert scene.budget.under_way <= (pieces + 2 * 2) * PIECE_BYTES
    assert credit(scene.wait(1.0)) == {}
    assert [type(effect) for effect in scene.piece("a", 30)[1:2]] == [Banned]
    for number in range(next(piece)):
        scene.written(number)
    assert scene.credit("b")


def test_the_budget_is_shared_by_all_downloads() -> None:
    scene = Scene("     ", budget_bytes=3 * PIECE_BYTES)
    scene.budget.claim(2 * PIECE_BYTES, scene.now)
    assert credit(scene.ready("a")) == {1: 1}
    scene.budget.release(2 * PIECE_BYTES)
    assert credit(scene.tick()) == {1: 2}


def test_downloads_take_turns() -> None:
    """Or one with many sources would leave little, or nothing, to one with a single source."""
    budget = Budget(8 * PIECE_BYTES, 2_000.0, 100.0)
    greedy, modest = (Scene(" " * 100, budget=budget, checked=False) for _ in range(2))
    greedy.ready(*"abcdefg")
    modest.ready("x")
    came = {greedy: 0, modest: 0}
    while came[modest] < 60:
        for scene in came:
            scene.tick(0.005)
            for source in scene.download.sources:
                if source.credit:
                    scene.gets(source.entry.peer, came[scene])
                    came[scene] += 1
    assert came[greedy] <= 80


def test_a_download_whose_sources_are_idle_keeps_none_from_another() -> None:
    """It holds all of the budget, would take more, and is never in need of it."""
    budget = Budget(4 * PIECE_BYTES, 0, 100.0)
    holds, needs = (Scene(" " * 100, budget=budget) for _ in range(2))
    holds.ready("a")
    holds.ready("b")
    needs.ready("x")
    for piece in range(20):
        holds.tick(0.05)
        needs.tick(0.05)
        assert needs.credit("x") == 1
        needs.gets("x", piece)


def test_the_download_rate_is_kept() -> None:
    """And credit comes as soon as it may: the shell is called when the bucket is ready, not at the next check."""
    rate = 1_000.0
    scene = Scene(" " * 60, rate=rate)
    scene.ready("a")
    started, piece, pauses = scene.now, 0, []
    while piece < 50:
        while scene.credit("a") and piece < 50:
            scene.gets("a", piece)
            piece += 1
        due = scene.download.next_deadline(scene.now)
        assert due is not None
        assert due >= scene.now
        pauses.append(due - scene.now)
        scene.tick(due - scene.now)
    assert 50 * PIECE_BYTES / (scene.now - started + BURST_SECONDS) == pytest.approx(rate, rel=0.05)
    assert max(pauses) <= PIECE_BYTES / rate + 1e-9 < CHECK_SECONDS


def test_a_rate_below_one_piece_a_check_is_kept_too() -> None:
    scene = Scene(" " * 60, rate=100.0)
    scene.ready("a")
    started = scene.now
    for piece in range(20):
        while not scene.credit("a"):
            due = scene.download.next_deadline(scene.now)
            assert due is not None
            scene.tick(due - scene.now)
        scene.gets("a", piece)
    assert scene.now - started == pytest.approx(19 - BURST_SECONDS, abs=1.0)


def test_a_low_rate_is_for_those_that_have_something_to_send() -> None:
    """Or, with many sources, all of it goes to idle ones for a long time, and what was asked for does not come."""
    scene = Scene("  ", rate=100.0)
    scene.ready(*"abcdefg", having="  ")
    scene.ready("h", idle=True)
    started = scene.now
    while scene.download.pieces.missing.count_set:
        scene.tick(0.25)
        for source in list(scene.download.sources):
            if source.gets and source.credit:
                scene.gets(source.entry.peer, next(iter(source.gets)))
        assert scene.now - started < 5.0, "three pieces' time"


def test_credit_comes_at_once_when_the_limit_is_lifted() -> None:
    scene = Scene(" " * 60, rate=0.01)
    scene.ready("a")
    scene.gets("a", 0)
    scene.wait(30.0, "a")
    assert not scene.credit("a"), "a piece takes hours"
    scene.budget.bucket.set_rate(0.0, scene.now)
    assert credit(scene.tick()) == {1: CREDIT_COUNT}


def test_two_downloads_have_half_of_the_limit_each_when_it_changes_too() -> None:
    budget = Budget(100 * PIECE_BYTES, 1_000.0, 100.0)
    greedy, modest = (Scene(" " * 400, budget=budget, checked=False) for _ in range(2))
    greedy.ready(*"abcdefg")
    modest.ready("x")
    pieces = {greedy: 0, modest: 0}
    for rate in (1_000.0, 4_000.0, 500.0, 8_000.0):
        budget.bucket.set_rate(rate, greedy.now)
        before, began = dict(pieces), greedy.now
        while sum(pieces.values()) - sum(before.values()) < 60:
            for scene in pieces:
                scene.tick(0.005)
                for source in scene.download.sources:
                    if source.credit:
                        scene.gets(source.entry.peer, pieces[scene])
                        pieces[scene] += 1
        got = [pieces[scene] - before[scene] for scene in pieces]
        assert got == [pytest.approx(30, abs=4)] * 2
        assert 60 * PIECE_BYTES / (greedy.now - began) == pytest.approx(rate, rel=0.2)


@pytest.mark.parametrize("piece_bytes", [PIECE_BYTES, 2**20, 2**24, 2**26])
def test_what_may_come_and_waits_for_the_disk_is_bounded_however_long_pieces_are(piece_bytes: int) -> None:
    scene = Scene(" " * 400, piece_bytes=piece_bytes, checked=False)
    names = [f"p{number}" for number in range(70)]
    scene.found(*names)
    for source in scene.download.sources:
        scene.connected(source.entry.peer)
        scene.status(source.entry.peer)
    assert len(scene.download.sources) == max(4, min(64, 2**28 // piece_bytes))
    piece = 0
    while any(source.credit for source in scene.download.sources):
        for source in scene.download.sources:
            if source.credit:
                scene.piece(source.entry.peer, piece)
                piece += 1
        if piece >= 350:
            break
    assert scene.budget.under_way <= 2**28 + UNDER_WAY_BYTES_MAX + piece_bytes


def test_a_source_without_room_is_told_that_its_pieces_came() -> None:
    """It holds no place at its source for what has arrived."""
    scene = Scene(" " * 40, budget_bytes=3 * PIECE_BYTES)
    scene.ready("a")
    (message,) = sent(scene.piece("a", 0))
    assert (message.session, getattr(message, "count", 0), getattr(message, "credit", 1)) == (1, 1, 0)
    assert CREDIT_COUNT > 3
