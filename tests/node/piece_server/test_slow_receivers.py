"""Receivers that are slow: what they are offered, and how much of a slot they take."""

from __future__ import annotations

import pytest
from node.piece_server.pace import SLOW_FACTOR_SLOTS, STALL_SECONDS_FIRST

from node.piece_server.uploads import CHECK_SECONDS
from tests.node.piece_server.scene import DIGEST, OTHER, PIECE_BYTES, Scene, offers_to, sends
from tests.node.scene_pictures import bits


@pytest.mark.parametrize(("times", "offered"), [(2.0, 13), (4.0, 3)])
def test_a_slow_receiver_is_offered_what_was_sent_most_often(times: float, offered: int) -> None:
    """What nobody has yet would be long in coming, and long in being passed on. But twice as long is chance over links
    that others use too, and a seeder would send what is there already."""
    scene = Scene("*" * 14, slots=1)
    scene.opened("slow", "fast")
    scene.gets("slow", 0, times)
    for piece in range(1, 5):
        scene.gets("fast", piece)
    scene.tick()
    assert offers_to(scene.wants("slow", 13, 3, 12)) == [("slow", offered)]
    scene.refuses("slow", offered, "full")
    assert offers_to(scene.wants("fast", 13, 12)) == [("fast", 13)]


def test_a_slow_receiver_takes_a_part_of_a_slot() -> None:
    """It uses less of the uplink than others would of the same slot."""
    scene = Scene("*" * 9, slots=1)
    scene.opened("slow", "fast", "other")
    scene.gets("fast", 0, 1.0)
    scene.gets("slow", 1, 8.0)
    scene.tick()
    scene.wants("slow", 5)
    assert sends(scene.accepts("slow", 5)) == [("slow", 5)]
    assert offers_to(scene.wants("fast", 6)) == [("fast", 6)]
    assert sends(scene.accepts("fast", 6)) == [("fast", 6)]
    assert offers_to(scene.wants("other", 7)) == []
    assert offers_to(scene.received("slow", 5)) == []
    assert offers_to(scene.received("fast", 6)) == [("other", 7)]


def test_who_takes_longer_than_usual_is_slow_before_it_has_received_anything() -> None:
    scene = Scene("*" * 9, slots=1)
    scene.opened("slow", "fast")
    scene.gets("fast", 0, 1.0)
    scene.tick(CHECK_SECONDS)
    scene.wants("slow", 1)
    scene.accepts("slow", 1)
    scene.wants("fast", 2)
    assert offers_to(scene.tick(SLOW_FACTOR_SLOTS)) == []
    assert offers_to(scene.tick(CHECK_SECONDS)) == [("fast", 2)]


def test_however_slow_receivers_are_no_more_than_twice_the_slots_are_sent() -> None:
    scene = Scene("*" * 9, slots=2)
    scene.opened("fast", *"abcde")
    scene.gets("fast", 0, 0.01)
    sent = []
    for piece, name in enumerate("abcde", 1):
        scene.wants(name, piece)
        scene.tick(1.0)
        if (name, piece) in scene.offers:
            sent += sends(scene.accepts(name, piece))
    assert sent == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_who_acknowledges_at_once_makes_nobody_else_slow() -> None:
    """Each receiver counts once, however many pieces it says it has received."""
    scene = Scene("*" * 30, slots=2)
    scene.opened("hasty", *"abc")
    for piece, name in enumerate("abc"):
        scene.gets(name, piece, 1.0)
    for piece in range(3, 28):
        scene.gets("hasty", piece, 0.0)
    scene.tick(CHECK_SECONDS)
    assert offers_to(scene.wants("a", 28, 0)) == [("a", 28), ("a", 0)]


@pytest.mark.parametrize("end", ["bye", "withdraw", "stall"])
def test_slots_are_given_back_of_more_pieces_than_there_are_slots(end: str) -> None:
    scene = Scene("*" * 9, slots=1)
    scene.opened("fast", *"ab")
    scene.gets("fast", 0, 0.01)
    scene.tick(CHECK_SECONDS)
    for piece, name in enumerate("ab", 1):
        scene.wants(name, piece)
        scene.tick(1.0)
        assert sends(scene.accepts(name, piece)) == [(name, piece)]
    assert scene.uploads.queued_pieces == 2
    if end == "bye":
        scene.bye("a")
        scene.bye("b")
    elif end == "withdraw":
        scene.uploads.withdraw(DIGEST)
    else:
        scene.wait(3 * STALL_SECONDS_FIRST, "a", "b")
    scene.uploads.check_invariants()
    assert scene.uploads.queued_pieces == 0


def test_who_gets_longer_pieces_is_not_slow_for_that() -> None:
    scene = Scene("*" * 20, slots=2)
    scene.uploads.serve(OTHER, bits("*" * 9), 36 * PIECE_BYTES, 4 * PIECE_BYTES)
    scene.opened("a")
    scene.test("big", OTHER)
    scene.gets("big", 0, 4.0)
    for piece in range(4):
        scene.gets("a", piece)
    scene.tick(CHECK_SECONDS)
    assert offers_to(scene.wants("big", 0, 1)) == [("big", 1), ("big", 0)]
