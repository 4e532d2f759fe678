"""Pieces that nobody relays yet: to whom a piece server assigns them, and what becomes of those that do not spread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.piece_server.swarm import QUICK_SECONDS, SPREAD_SECONDS, UNSPREAD_COUNT_MAX
from node.piece_server.uploads import CHECK_SECONDS
from protocol.messages import Relay
from tests.node.piece_server.scene import DIGEST, Scene, sent

UNSPREAD = UNSPREAD_COUNT_MAX + 1
"""Pieces that somebody has to sit on to be seen as one who passes nothing on."""


def stock(have: str, *names: str, credit: int = 9) -> Scene:
    """``names`` have sessions and are pushed nothing, so that stock goes only to who asks for it."""
    scene = Scene(have)
    for name in names:
        scene.gets_only(name, credit)
    return scene


# --- who gets what ----------------------------------------------------------------------------------------


def test_who_would_relay_is_assigned_as_many_as_it_asked_for() -> None:
    scene = stock("*****", "a", "b")
    assert scene.relays("a", 2) == ["a<0 relay", "a<1 relay"]
    assert scene.relays("b", 1) == ["b<2 relay"]
    assert scene.received("a", 2) == []
    assert scene.relays("a", 1) == ["a<3 relay"]


def test_who_asks_again_for_what_it_was_not_assigned_in_time_is_not_assigned_more() -> None:
    scene = stock("*********", "a", credit=1)
    assert scene.says("a", Relay(1, 3)) == ["a<0 relay"]
    assert scene.says("a", Relay(1, 3)) == scene.says("a", Relay(1, 2)) == []
    assert scene.received("a", 1) == ["a<1 relay"]
    assert scene.received("a", 1) == []


def test_assigned_pieces_need_credit() -> None:
    scene = stock("****", "a", credit=1)
    assert scene.relays("a", 3) == ["a<0 relay"]
    assert scene.received("a", 1) == ["a<1 relay"]


def test_those_who_would_relay_take_turns() -> None:
    scene = Scene("*****", rate=100.0)
    for name in "xab":
        scene.gets_only(name, 2)
    scene.gets("x", 4)
    assert scene.relays("a", 2) + scene.relays("b", 2) == [], "until the rate allows more"
    assert sent(scene.wait(9.0, "a", "b")) == "a0 b1 a2 b3"


def test_what_was_asked_for_by_number_goes_before_what_is_assigned() -> None:
    scene = stock("****", "a", credit=0)
    scene.relays("a", 2)
    scene.gets("a", 3)
    assert scene.received("a", 0, credit=3) == ["a<3 relay", "a<0 relay"]


def test_a_piece_of_the_stock_that_is_asked_for_by_number_is_assigned() -> None:
    scene = stock("***", "a", "b")
    assert scene.gets("a", 0) == ["a<0 relay"]
    assert scene.gets("b", 0) == ["b<0"]
    assert sent(scene.relays("b", 1)) in ("b1", "b2")


def test_who_has_a_piece_or_gets_it_elsewhere_is_not_assigned_it() -> None:
    scene = stock("****", "a", "b")
    scene.cancels("a", 0, 2)
    assert sent(scene.relays("a", 2)) == "a1 a3"
    assert sent(scene.relays("b", 2)) == "b0 b2"


def test_pieces_that_others_relay_are_not_in_stock() -> None:
    scene = Scene("****", spread=" ** ")
    scene.gets_only("a", 9)
    assert sent(scene.relays("a", 9)) == "a0 a3"


@pytest.mark.parametrize(
    "tell",
    [
        lambda scene: scene.relays("b", 0, 0, 2, 999),
        lambda scene: scene.has("b", "* * "),
        lambda scene: scene.follows("b", 0, skip="* * "),
    ],
    ids=["other sources assigned them", "a receiver has them", "a follower does not need them"],
)
def test_what_is_known_to_be_relayed_by_somebody_is_not_assigned(tell: Callable[[Scene], object]) -> None:
    scene = stock("****", "a", "b")
    tell(scene)
    assert sent(scene.relays("a", 9)) == "a1 a3"


def test_two_seeders_that_are_told_assign_every_piece_once() -> None:
    first, second = stock("******", "a", "b"), stock("******", "a", "b")
    assigned: list[int] = []
    for name, seeder, other in 3 * [("a", first, second), ("b", second, first)]:
        assigned.append(int(sent(seeder.relays(name, 1))[1:]))
        other.relays(name, 0, assigned[-1])
    assert sorted(assigned) == [0, 1, 2, 3, 4, 5]


def test_a_source_that_has_nothing_else_to_send_pushes_pieces_of_its_stock_to_all() -> None:
    scene = Scene("****")
    assert sent(scene.follows("a", 1)) == "", "a single receiver relays all"
    assert sent(scene.follows("b", 1)) == "a0 b0"
    assert sent(scene.received("a")) == "a1", "one is on its way to b, which does not fill the uplink"
    assert sent(scene.received("a")) == "a2"
    assert sent(scene.received("a")) == "a3"
    assert sent(scene.received("b")) == "b1"


def test_two_receivers_keep_an_uplink_busy_with_two_pieces_on_their_way() -> None:
    """It has nothing to spare then, although those are few."""
    scene = stock("*" * 9, "a", "b")
    scene.relays("a", 1)
    scene.relays("b", 1)
    assert sent(scene.follows("a", 9) + scene.follows("b", 9)) == ""
    assert sent(scene.received("b")) == "a2 b2"


def test_a_follower_that_takes_nothing_does_not_have_all_of_the_stock_relayed() -> None:
    scene = Scene("*" * 100)
    for name in "abc":
        scene.follows(name, 0)
    scene.follows("d", 0)
    scene.cancels("d", *range(100))
    scene.received("d", 0, credit=1)
    assert len(scene.uploads._swarms[DIGEST].relayed) <= 2


def test_a_follower_that_had_all_already_makes_no_room() -> None:
    scene = Scene(" " * 90)
    scene.follows("a", 0)
    scene.held(*range(90))
    scene.bye("a")
    scene.follows("a", 1, skip="*" * 90)
    assert scene.rooms[-1] == 92


def test_pushes_of_its_own_stock_wait_for_answers_and_go_out_when_the_stock_is_used_up() -> None:
    scene = Scene("*" * 9)
    scene.follows("a", 9)
    assert sent(scene.follows("b", 0)) == "a0 a1"
    scene.gets_only("x", 9)
    scene.gets("x", 2, 3, 4, 5)
    assert sent(scene.received("b", 0, credit=9)) == "", "four and more are on their way"
    assert sent(scene.gets("x", 6, 7)) == "x6 x7"
    assert sent(scene.gets("x", 8)) == "x8 b0 b1"


def test_a_failed_read_gives_an_ask_back_however_the_piece_was_asked_for() -> None:
    scene = stock("****", "a", credit=9)
    scene.gets("a", 2)
    scene.fails("a", 2, True, relay=True)
    assert sent(scene.relays("a", 1)) == "a0"
    session = scene.uploads._sessions[scene.key("a")]
    assert (session.asked, session.relays) == (0, 1)


def test_who_asks_to_relay_comes_before_what_a_source_pushes_itself() -> None:
    scene = Scene("*" * 9)
    scene.opened(*"abcdef")
    for name in "abcde":
        scene.follows(name, 9)
    assert sent(scene.relays("a", 2)) == "a1 a2"
    assert sent(scene.received("a")) == ""


def test_near_the_end_of_the_stock_one_that_relays_slowly_is_assigned_nothing() -> None:
    """The others would wait for it."""
    scene = stock("*" * 40, "a", "b", credit=40)
    for second in range(30):
        scene.now += 1.0
        words = scene.relays("a", 1) + (scene.relays("b", 1) if second % 10 == 0 else [])
        for name in ("a", "b"):
            scene.received(name, len([word for word in words if word.startswith(name + "<")]), credit=0)
    assert sent(scene.relays("b", 1)) == ""
    assert sent(scene.relays("a", 9)) == "a32 a33 a34 a35 a36 a37 a38 a39"


def test_pieces_that_are_assigned_all_at_once_leave_nobody_out() -> None:
    """Where all links are alike receivers ask for the next piece in the same moment."""
    names = "abcdefghijklmnopqrst"
    scene = stock("*" * 10 * len(names), *names, credit=10)
    for turn in range(8):
        scene.now = 101.0 + turn
        for name in names:
            scene.now += (name == "t") * 0.05 * turn
            assert sent(scene.relays(name, 1)).startswith(name)
            scene.received(name, credit=0)


def test_one_that_is_alone_is_left_to_ask_for_what_it_needs() -> None:
    scene = Scene("***")
    assert scene.follows("a", 1) == []
    assert sent(scene.wait(1.0)) == ""
    assert scene.gets("a", 2) == ["a<2 relay"]


# --- what is said of it -----------------------------------------------------------------------------------


def test_a_status_says_whether_there_is_stock() -> None:
    scene = Scene("**", spread=" *")
    assert scene.test("a") == ["a: complete stock alone"]
    scene.gets_only("a", 1)
    scene.relays("a", 1)
    assert scene.test("a") == ["a: complete alone"]


@pytest.mark.parametrize(
    "take",
    [
        lambda scene: scene.relays("a", 1),
        lambda scene: scene.gets("a", 0),
        lambda scene: scene.relays("a", 0, 0),
        lambda scene: scene.has("a", "*"),
        lambda scene: scene.follows("a", 0, skip="*"),
        lambda scene: scene.serve(" "),
        lambda scene: (scene.uploads.lost(DIGEST, 0), scene.tick())[1],
    ],
    ids=["assigned", "asked for", "assigned by others", "had", "not needed", "gone", "lost"],
)
def test_who_waits_to_be_assigned_something_is_told_when_the_stock_ends(take: Callable[[Scene], list[str]]) -> None:
    """Its room would be taken up by a source that has nothing to assign."""
    scene = stock("*", "a")
    scene.gets_only("b", 0)
    scene.gets_only("c", 1)
    scene.relays("b", 2)
    assert [word for word in take(scene) if word[0] in "bc"] in (["b: complete"], ["b: partial"])


def test_who_asks_for_stock_that_has_ended_is_told_so() -> None:
    scene = stock("*", "a", "b")
    scene.relays("a", 1)
    assert scene.relays("b", 1) == ["b: complete"]
    assert scene.tick() == []


# --- pieces that do not spread ----------------------------------------------------------------------------


def test_pieces_of_one_that_is_gone_are_assigned_anew_and_all_are_told() -> None:
    scene = stock("**", "a", "b", "c")
    scene.relays("a", 2)
    scene.received("a", 2)
    scene.bye("a")
    assert not [word for word in scene.wait(SPREAD_SECONDS - 0.2, "b", "c") if "stock" in word]
    words = scene.wait(0.5, "b", "c")
    assert sorted(word for word in words if not word.endswith("idle")) == ["b: complete stock", "c: complete stock"]
    assert scene.relays("b", 9)[:2] == ["b<0 relay", "b<1 relay"]


def test_pieces_of_one_that_is_gone_stay_assigned_if_another_receiver_has_them() -> None:
    scene = stock("**", "a", "b")
    scene.relays("a", 2)
    scene.bye("a")
    scene.has("b", "* ")
    scene.wait(SPREAD_SECONDS + 0.5, "b")
    assert sent(scene.relays("b", 9)) == "b1"


def test_a_piece_that_came_back_more_than_once_is_for_whoever_asks_to_relay() -> None:
    """Else strangers that ask for it by number, one after another, keep it from all others."""
    scene = stock("**", "a", "b", "c", "d")
    for stranger in "ac":
        assert scene.gets(stranger, 0) == [f"{stranger}<0 relay"]
        scene.bye(stranger)
        scene.wait(SPREAD_SECONDS + 0.5, "b", "d")
    assert scene.gets("d", 0) == ["d<0"]
    assert sorted(sent(scene.relays("b", 2)).split()) == ["b0", "b1"]


def test_who_waits_to_be_assigned_something_gets_what_comes_back() -> None:
    scene = stock("**", "a", "b")
    scene.relays("a", 1)
    scene.cancels("b", 1)
    assert scene.relays("b", 1) == ["b: complete"], "it lacks nothing that is in stock"
    scene.bye("a")
    assert "b: complete stock alone" in scene.wait(SPREAD_SECONDS + 0.5, "b")
    assert sent(scene.relays("b", 1)) == "b0"


ELSEWHERE = 2 * UNSPREAD
"""More than enough."""


def hoarding(elsewhere: int = ELSEWHERE) -> Scene:
    """``a`` was assigned pieces, and long enough ago; ``b`` got ``elsewhere`` meanwhile, from others."""
    scene = stock("*" * (2 * UNSPREAD) + " " * ELSEWHERE, "a", "b", credit=2 * UNSPREAD)
    scene.relays("a", UNSPREAD)
    scene.received("a", UNSPREAD)
    scene.wait(SPREAD_SECONDS - 0.2, "a", "b")
    scene.has("b", " " * 2 * UNSPREAD + ("*" * elsewhere).ljust(ELSEWHERE))
    return scene


def test_who_passes_nothing_on_gets_no_more_and_its_pieces_go_to_others() -> None:
    scene = hoarding()
    scene.has("a", ("*" * UNSPREAD).ljust(scene.have.size))
    scene.wait(0.5, "a", "b")
    assert sent(scene.relays("a", 1)) == ""
    pieces = {int(one[1:]) for one in sent(scene.relays("b", 2 * UNSPREAD)).split()}
    assert pieces == set(range(2 * UNSPREAD))


def test_who_passes_nothing_on_is_told_that_there_is_nothing_to_be_assigned() -> None:
    """It might ask others, and would wait here for ever."""
    scene = hoarding()
    assert "a: partial" in scene.wait(0.5, "a", "b")
    assert scene.relays("a", 1) == ["a: partial"]
    assert scene.test("a") == ["a: partial idle"]
    assert scene.test("b") == ["b: partial stock idle"]


def test_who_passes_nothing_on_may_ask_for_pieces_which_stay_in_stock() -> None:
    scene = hoarding()
    scene.wait(0.5, "a", "b")
    assert scene.gets("a", UNSPREAD) == [f"a<{UNSPREAD}"]
    assert scene.gets("b", UNSPREAD) == [f"b<{UNSPREAD} relay"]


@pytest.mark.parametrize("have", ["*" * UNSPREAD, "*"], ids=["all", "enough"])
def test_who_passes_pieces_on_gets_more(have: str) -> None:
    scene = hoarding()
    scene.has("b", have.ljust(2 * UNSPREAD) + "*" * ELSEWHERE)
    scene.wait(0.5, "a", "b")
    assert sent(scene.relays("a", 1)) == f"a{UNSPREAD}"


@pytest.mark.parametrize("elsewhere", [0, UNSPREAD - 1])
def test_who_passes_on_as_much_as_others_can_take_gets_more(elsewhere: int) -> None:
    scene = hoarding(elsewhere)
    scene.wait(0.5, "a", "b")
    assert sent(scene.relays("a", 1)) == f"a{UNSPREAD}"


@pytest.mark.parametrize("how", ["assigned", "asked for", "had before", "from others"])
def test_only_what_a_receiver_got_from_others_says_that_it_could_take_more(how: str) -> None:
    scene = stock("*" * 3 * UNSPREAD, "a", credit=UNSPREAD)
    scene.relays("a", UNSPREAD)
    scene.received("a", UNSPREAD)
    mine = " " * UNSPREAD + "*" * 2 * UNSPREAD
    scene.follows("b", 2 * UNSPREAD, mine if how == "had before" else "")
    if how == "assigned":
        scene.relays("b", 2 * UNSPREAD)
    elif how == "asked for":
        scene.gets("b", *range(UNSPREAD, 3 * UNSPREAD))
    scene.wait(SPREAD_SECONDS - 0.2, "a", "b")
    scene.has("b", mine)
    scene.wait(0.5, "a", "b")
    assert scene.uploads._sessions[scene.key("a")].hoards == (how == "from others")


# --- room for pieces to relay -----------------------------------------------------------------------------


def test_room_grows_with_what_is_relayed_and_counts_from_when_the_download_was_last_served() -> None:
    scene = Scene("    ")
    scene.follows("a", 9)
    (room,) = scene.rooms
    assert room > 0
    scene.held(0, 1)
    assert scene.rooms == [room, room + 2]
    scene.held(2, relayed=[])
    assert scene.rooms == [room, room + 2]
    scene.serve("*** ", "****")
    assert scene.rooms == [room, room + 2, room]
    scene.serve("*** ", "****")
    assert scene.rooms[3:] == [room], "said again, though it is the same"


def test_there_is_no_room_for_more_than_followers_take() -> None:
    scene = Scene(" " * 90)
    scene.follows("a", 0)
    scene.held(*range(90))
    assert scene.rooms[-1] == 2
    scene.received("a", 0, credit=89)
    assert scene.rooms[-1] > 90


def test_one_slow_follower_takes_no_room() -> None:
    scene = Scene(" " * 90)
    for name, credit in (("a", 99), ("b", 0), ("c", 99)):
        scene.follows(name, credit)
    room = scene.rooms[-1]
    scene.held(*range(90))
    scene.wait(QUICK_SECONDS + CHECK_SECONDS, "a", "b", "c")
    scene.received("a", 1)
    assert scene.rooms[-1] == room + 90


def test_pieces_of_its_own_stock_that_a_source_pushes_take_no_room_and_make_none() -> None:
    scene = Scene("* ")
    scene.follows("a", 9)
    room = scene.rooms[-1]
    assert sent(scene.follows("b", 9)) == "a0 b0"
    assert scene.rooms[-1] == room
