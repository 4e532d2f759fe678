"""Followers in the row and column of a relay: what is pushed to whom, and what is to be handed on."""

from __future__ import annotations

from node.piece_server.sending import IDLE_SECONDS
from node.piece_server.uploads import CHECK_SECONDS
from tests.node.piece_server.scene import DIGEST, Scene, sent


def among_mates() -> Scene:
    scene = Scene("     ")
    scene.follows("r", 9, mate="row")
    scene.follows("c", 9, mate="column")
    scene.follows("x", 9)
    return scene


def test_what_is_relayed_goes_to_both_and_one_in_the_column_hands_it_on() -> None:
    scene = among_mates()
    assert scene.held(1) == ["r<1", "c<1 hand on", "x<1"]


def test_what_is_to_be_handed_on_goes_along_the_row_alone() -> None:
    scene = among_mates()
    assert scene.held(2, relayed=[], handed_on=[2]) == ["r<2"]
    assert scene.held(3, 4, relayed=[3], handed_on=[4]) == ["r<4 +3", "c<3 hand on", "x<3", "r<3"]


def test_a_piece_that_comes_for_both_reasons_goes_to_each_once() -> None:
    scene = among_mates()
    assert sent(scene.held(2, relayed=[], handed_on=[2])) == "r2"
    assert sent(scene.held(2, relayed=[2])) == "c2 x2"
    assert sent(scene.held(2, relayed=[], handed_on=[2])) == ""


def test_one_in_the_column_that_asks_for_a_piece_hands_it_on_if_it_is_relayed_here() -> None:
    scene = Scene("     ")
    scene.follows("c", 9, skip="*****", mate="column")
    scene.held(1, 2, relayed=[1])
    assert scene.gets("c", 1, 2) == ["c<1 hand on", "c<2"]


def test_a_new_follower_in_the_row_gets_what_was_handed_on_before() -> None:
    scene = among_mates()
    scene.held(2, relayed=[], handed_on=[2])
    assert sent(scene.follows("s", 9, mate="row")) == "s2"


def test_a_piece_that_was_not_handed_on_when_the_content_was_opened_anew_can_be_had() -> None:
    """The list of them is gone with the content, and nobody is told that it lacks something: it sees when this source
    is idle."""
    scene = among_mates()
    scene.follows("s", 0, mate="row")
    scene.held(2, relayed=[], handed_on=[2])
    scene.uploads.withdraw(DIGEST)
    scene.serve("  *  ", spread="  *  ")
    scene.follows("s", 9, mate="row")
    assert sent(scene.tick()) == ""
    assert "s: partial alone idle" in scene.wait(2 * (CHECK_SECONDS + IDLE_SECONDS))
    assert sent(scene.gets("s", 2)) == "s2"
