"""What a piece server sends to whom: one `Uploads` against scripted receivers. What there is to relay comes in by
`Scene.held`; stock has tests of its own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from node.piece_server.sending import IDLE_SECONDS, Reply, SendPiece
from node.piece_server.uplink import ANSWERED_COUNT_MAX
from node.piece_server.uploads import CHECK_SECONDS
from protocol.limits import PIECES_TOLD_COUNT_MAX, SESSION_PIECES_COUNT_MAX
from protocol.messages import Cancel, Follow, Get, Have, Received, Relay, Status
from tests.node.piece_server.scene import DIGEST, OTHER, PIECE_BYTES, Scene, sent
from tests.node.scene_pictures import bits, picture


def spread(have: str, rate: float = 0.0) -> Scene:
    """Content of which others relay every piece: it goes to who asks for it by number."""
    return Scene(have, "*" * len(have), rate)


# --- the conversation when all goes well ------------------------------------------------------------------


def test_pieces_go_to_who_asks_for_them() -> None:
    scene = spread("** *")
    assert scene.test("a") == ["a: partial alone"]
    assert scene.effects == [Reply(b"a", Status(1, "partial", b"\xd0", alone=True))]
    assert scene.follows("a", 2) == []
    assert scene.gets("a", 3, 2, 0) == ["a: not held 2", "a<3", "a<0"]
    assert scene.uploads.queued_pieces == 2
    assert scene.received("a", 2) == []
    assert scene.uploads.queued_pieces == 0
    assert scene.bye("a") == []
    assert scene.sessions == ""


def test_what_is_relayed_goes_to_all_followers_in_its_order() -> None:
    scene = Scene("    ")
    scene.follows("a", 4)
    scene.follows("b", 4)
    assert scene.held(2, 0, 3) == ["a<2 +0+3", "b<2 +0+3", "a<0", "b<0", "a<3", "b<3"]


def test_what_was_relayed_before_it_came_goes_to_a_new_follower_too() -> None:
    scene = Scene("    ")
    scene.held(2, 0)
    assert scene.follows("a", 4) == ["a<2 +0", "a<0"]


def test_what_others_relay_is_not_pushed() -> None:
    scene = Scene("    ")
    scene.follows("a", 4)
    assert scene.held(0, 1, relayed=[1]) == ["a<1"]


def test_who_takes_only_what_it_asks_for_is_not_pushed_anything() -> None:
    scene = Scene("    ")
    scene.gets_only("a", 4)
    assert sent(scene.held(0, 1)) == ""
    assert scene.gets("a", 1) == ["a<1"]


# --- credit -----------------------------------------------------------------------------------------------


def test_no_more_is_on_its_way_than_there_is_credit_for() -> None:
    scene = spread("*****")
    scene.follows("a", 0)
    assert scene.gets("a", 0, 1, 2, 3, 4) == []
    assert sent(scene.received("a", 0, credit=2)) == "a0 a1"
    assert sent(scene.received("a", 1)) == "a2"
    assert sent(scene.received("a", 1, credit=0)) == ""
    assert sent(scene.received("a", 0, credit=2)) == "a3 a4"
    assert scene.uploads.queued_pieces == 3


@pytest.mark.parametrize(("count", "receipt"), [(5, 0), (1, 1)], ids=["too many", "none that it got"])
def test_who_acknowledges_what_it_has_not_got_is_sent_nothing_more(count: int, receipt: int) -> None:
    """It would have ever more of it kept in memory."""
    scene = spread("***")
    scene.follows("a", 9)
    scene.gets("a", 0)
    assert scene.says("a", Received(1, count, 9, receipt)) == ["a: no session"]
    assert scene.test("a") == ["a: later"], "until its connection is gone"
    assert scene.gets("a", 1) == ["a: no session"]


def test_a_receipt_is_of_one_piece() -> None:
    scene = spread("***")
    scene.rng.receipt = 7
    scene.follows("a", 9)
    scene.gets("a", 0)
    scene.rng.receipt = 8
    scene.gets("a", 1)
    scene.says("a", Received(1, 2, 0, 8))
    assert scene.uploads.queued_pieces == 0
    assert sent(scene.gets("a", 2)) == "a2"


def test_one_without_credit_does_not_hold_up_others() -> None:
    scene = Scene("    ")
    scene.follows("a", 1)
    scene.follows("b", 4)
    assert sent(scene.held(0, 1, 2)) == "a0 b0 b1 b2"
    assert sent(scene.received("a")) == "a1"


def test_what_is_asked_for_without_credit_is_kept_up_to_a_bound() -> None:
    scene = spread("*")
    scene.follows("a", 0)
    for _ in range(3):
        scene.gets("a", *[0] * PIECES_TOLD_COUNT_MAX)
    pieces = last = len(scene.received("a", 0, credit=9 * PIECES_TOLD_COUNT_MAX))
    while last:
        last = len(scene.received("a", last, credit=0))
        pieces += last
    assert pieces == PIECES_TOLD_COUNT_MAX


def test_no_more_pieces_are_on_their_way_in_one_session_than_its_connection_takes() -> None:
    scene = spread("*" * 300)
    scene.uploads._uplink.answers.least = 300
    scene.follows("a", 300)
    assert len(scene.gets("a", *range(300))) == SESSION_PIECES_COUNT_MAX
    assert sent(scene.received("a", 1)) == f"a{SESSION_PIECES_COUNT_MAX}"


# --- order ------------------------------------------------------------------------------------------------


def test_receivers_take_turns_one_piece_each() -> None:
    scene = spread("********", rate=PIECE_BYTES)
    scene.follows("x", 8)
    scene.gets("x", 0)
    for name, pieces in (("a", (1, 2, 3)), ("b", (4, 5)), ("c", (6, 7))):
        scene.follows(name, 8)
        assert scene.gets(name, *pieces) == [], "until the rate allows more"
    assert sent(scene.wait(8.0, *"abc")) == "a1 b4 c6 a2 b5 c7 a3"


def test_a_limit_holds_at_once_and_what_it_held_back_is_sent_when_it_is_lifted() -> None:
    scene = spread("*****")
    scene.follows("a", 8)
    assert sent(scene.gets("a", 0)) == "a0"
    scene.uploads.set_rate(1.0, scene.now)
    assert sent(scene.gets("a", 1, 2, 3)) == "a1", "a piece takes minutes"
    assert scene.wait(5.0, "a") == []
    scene.uploads.set_rate(PIECE_BYTES, scene.now)
    assert sent(scene.wait(1.0, "a")) == "a2"
    scene.uploads.set_rate(0.0, scene.now)
    assert sent(scene.then([])) == "a3"
    assert scene.uploads.sessions() == {DIGEST: 1}


def test_what_was_asked_for_goes_before_what_is_relayed() -> None:
    scene = spread("   *")
    scene.follows("a", 1)
    assert scene.held(0, 1) == ["a<0 +1"]
    assert scene.gets("a", 3) == []
    assert scene.received("a") == ["a<3"]
    assert scene.received("a") == ["a<1"]


def test_pieces_are_promised_once_and_before_they_are_pushed() -> None:
    scene = Scene("      ")
    scene.follows("a", 1)
    assert scene.held(0, 1) == ["a<0 +1"]
    assert scene.held(2, 3) == []
    assert scene.received("a") == ["a<1 +2+3"]
    assert scene.held(4) == []
    assert scene.received("a") == ["a<2 +4"]
    assert scene.received("a") == ["a<3"]
    assert scene.received("a") == ["a<4"]


def test_what_was_lost_is_not_promised() -> None:
    scene = Scene("   ")
    scene.held(0, 1, 2)
    scene.uploads.lost(DIGEST, 1)
    assert sorted(scene.follows("a", 2)) == ["a: not held 1", "a<0 +2", "a<2"]


def test_a_message_promises_no_more_pieces_than_it_has_room_for() -> None:
    scene = Scene(" " * (PIECES_TOLD_COUNT_MAX + 3))
    scene.follows("a", 2)
    scene.held(*range(PIECES_TOLD_COUNT_MAX + 3))
    promised = [effect.header.promised for effect in scene.effects if isinstance(effect, SendPiece)]
    assert promised[0] == list(range(1, PIECES_TOLD_COUNT_MAX + 1))
    assert promised[1] == list(range(PIECES_TOLD_COUNT_MAX + 1, PIECES_TOLD_COUNT_MAX + 3))


# --- what is not sent -------------------------------------------------------------------------------------


def test_cancelled_pieces_are_not_sent_asked_for_or_not() -> None:
    scene = spread("    **")
    scene.follows("a", 1)
    assert scene.held(0, 1, 2) == ["a<0 +1+2"]
    scene.gets("a", 4, 5)
    scene.cancels("a", 1, 4, 999)
    assert [scene.received("a") for _ in range(3)] == [["a<5"], ["a<2"], []]


def test_of_what_is_asked_for_by_number_a_few_are_on_their_way_and_the_rest_can_be_cancelled() -> None:
    """Near the end all receivers ask whoever is idle, and get most of it elsewhere."""
    names, count = ("a", "b"), ANSWERED_COUNT_MAX
    scene = spread("*" * count)
    for name in names:
        scene.follows(name, count)
    pieces = range(count)
    assert len(sent(scene.gets("a", *pieces)).split()) == count
    assert sent(scene.gets("b", *pieces)) == ""
    assert [sent(scene.received("a")) for _ in range(2)] == ["b0", "b1"]
    scene.cancels("b", *pieces[:5])
    assert sent(scene.received("a")) == "b5"
    assert sent(scene.held(0)) == "", "what is relayed has to wait for nobody, and was sent"


def test_a_cancelled_piece_may_be_asked_for_again() -> None:
    scene = spread("*")
    scene.follows("a", 1)
    scene.cancels("a", 0)
    assert scene.gets("a", 0) == ["a<0"]


def test_a_piece_that_is_on_its_way_is_not_sent_again() -> None:
    """Taken back too late and asked for again, it may come as often as that."""
    scene = spread("*")
    scene.follows("a", 2)
    assert scene.gets("a", 0) == ["a<0"]
    scene.cancels("a", 0)
    assert scene.gets("a", 0) == []
    scene.received("a")
    assert scene.gets("a", 0) == ["a<0"], "it may have been false"


def test_followers_are_not_pushed_what_they_have_or_get_elsewhere() -> None:
    scene = Scene("   ")
    scene.follows("a", 4, skip=" *")
    assert scene.held(0, 1, 2) == ["a<0 +2", "a<2"]


def test_a_piece_that_was_sent_is_not_pushed_as_well() -> None:
    scene = spread("*  ")
    scene.follows("a", 4)
    assert scene.gets("a", 0) == ["a<0"]
    assert scene.held(0, 1) == ["a<1"]


def test_who_follows_anew_is_pushed_what_it_lacks_by_then() -> None:
    scene = Scene("   ")
    scene.follows("a", 1)
    assert scene.held(0, 1, 2) == ["a<0 +1+2"]
    assert scene.follows("a", 1, skip=" *") == ["a<0 +2"]


def test_a_get_of_what_is_not_there_is_answered_so() -> None:
    scene = spread("* ")
    scene.follows("a", 4)
    assert scene.gets("a", 1, 77) == ["a: not held 1", "a: not held 77"]


def test_pieces_lost_after_they_were_promised_or_asked_for_are_taken_back() -> None:
    scene = spread("  **")
    scene.follows("a", 1)
    scene.held(0, 1)
    scene.gets("a", 2, 3)
    assert picture(scene.have) == "****"
    scene.serve("*  *", "****")
    assert scene.received("a") == ["a: not held 2", "a<3"]
    assert scene.received("a") == ["a: not held 1"]


# --- sessions ---------------------------------------------------------------------------------------------


def test_content_without_pieces_is_complete() -> None:
    scene = Scene("***")
    scene.serve("", digest=OTHER)
    assert scene.test("a", OTHER) == ["a: complete alone"]
    assert scene.says("a", Follow(1, b"", 1)) == []


@pytest.mark.parametrize(
    "message",
    [Follow(1, b"", 1), Received(1, 1, 1), Relay(1, 1), Get(1, [0]), Cancel(1, [0]), Have(1, b"")],
    ids=lambda message: type(message).__name__,
)
def test_words_of_nobody_open_no_session(message: Follow | Received | Relay | Get | Cancel | Have) -> None:
    scene = Scene("***")
    assert scene.says("a", message) == ["a: no session"]
    assert scene.bye("a") == []
    assert scene.uploads.next_deadline(scene.now) is None


def test_content_that_is_not_here_is_answered_no() -> None:
    scene = Scene("***")
    assert scene.test("a", OTHER) == ["a: no"]
    assert scene.uploads.held(OTHER, [0], [], scene.now) == []
    assert scene.sessions == ""


def test_a_test_for_other_content_starts_the_session_over() -> None:
    scene = spread("***")
    scene.serve("*", "*", OTHER)
    scene.follows("a", 1)
    assert scene.test("a", OTHER) == ["a: complete alone"]
    assert scene.gets("a", 0) == [], "no credit"
    assert scene.uploads.sessions() == {OTHER: 1}


def test_sessions_of_one_route_are_apart() -> None:
    scene = spread("***")
    scene.test("a", session=1)
    scene.test("a", session=2)
    scene.follows("a", 1)
    assert scene.says("a", Get(2, [0])) == []
    assert scene.gets("a", 1) == ["a<1"]
    scene.bye("a")
    assert scene.sessions == "a"


# --- what it says of itself -------------------------------------------------------------------------------


def test_receivers_know_whether_they_are_alone() -> None:
    scene = Scene("***", "***")
    assert scene.test("a") == ["a: complete alone"]
    assert scene.test("b") == ["a: complete", "b: complete"]
    assert scene.test("c") == ["c: complete"]
    scene.follows("a", 1)
    assert "a: complete idle" in scene.wait(1.0)
    scene.bye("b")
    scene.bye("c")
    assert scene.wait(1.0) == ["a: complete alone idle"]


def test_who_was_alone_is_not_told_each_time_somebody_comes_and_goes() -> None:
    """Its download would take that for a flood."""
    scene = spread("***")
    words: list[str] = []
    for _ in range(200):
        words += scene.test("a")
        words += scene.test("b")
        scene.bye("b")
        words += scene.tick(0.01)
    assert words.count("a: complete") < 2.0 / CHECK_SECONDS + 2
    scene.test("b")
    assert "a: complete idle" in scene.wait(1.0), "but in the end"


def test_who_has_nothing_to_send_says_so_once() -> None:
    scene = spread("***")
    scene.follows("a", 1)
    scene.follows("b", 1)
    scene.tick(0.9 * IDLE_SECONDS)
    assert sorted(scene.wait(IDLE_SECONDS + CHECK_SECONDS)) == ["a: complete idle", "b: complete idle"]
    assert scene.wait(2.0) == []


def test_who_is_sending_is_not_idle() -> None:
    scene = spread("***")
    scene.follows("a", 1)
    scene.follows("b", 1)
    scene.gets("a", 0)
    assert scene.wait(2.0) == []
    scene.tick(CHECK_SECONDS)
    scene.now += 0.9 * CHECK_SECONDS
    assert scene.received("a") == []
    assert scene.tick(0.2 * CHECK_SECONDS) == [], "not for long enough"
    assert sorted(scene.wait(IDLE_SECONDS + CHECK_SECONDS)) == ["a: complete idle", "b: complete idle"]


def test_an_idle_source_says_so_again_to_whom_it_pushed_something() -> None:
    """A receiver takes who pushes for busy."""
    scene = Scene("   ")
    scene.follows("a", 0)
    scene.held(0)
    assert scene.wait(1.0) == ["a: partial alone idle"]
    scene.received("a", 0, credit=1)
    scene.received("a")
    assert scene.wait(1.0) == ["a: partial alone idle"]


def test_an_idle_source_tells_its_news_now_and_then() -> None:
    scene = Scene(" " * 8)
    scene.follows("a", 1)
    scene.wait(1.0)
    told_at = []
    for piece in range(7):
        scene.now += 0.4 * CHECK_SECONDS
        told_at += [scene.now] if scene.held(piece, relayed=[]) else []
    assert len(told_at) >= 2
    assert min(later - earlier for earlier, later in pairwise(told_at)) >= CHECK_SECONDS
    scene.tick(CHECK_SECONDS)
    scene.held(7, relayed=[])
    scene.tick(CHECK_SECONDS)
    assert scene.effects == [Reply(b"a", Status(1, "complete", alone=True, idle=True))]


def test_a_busy_source_tells_its_news_to_who_asks() -> None:
    scene = Scene("  ")
    scene.gets_only("a", 1)
    scene.follows("b", 1)
    scene.held(1)
    assert scene.wait(1.0) == []
    scene.test("a")
    assert scene.effects == [Reply(b"a", Status(1, "partial", bits(" *").to_bytes()))]


def test_content_served_again_with_more_is_told_and_sent() -> None:
    scene = spread("*   ")
    scene.follows("a", 1)
    scene.serve("** *", "****")
    assert scene.wait(1.0) == ["a: partial alone idle"]
    assert scene.gets("a", 3) == ["a<3"]


# --- the rate limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["a", "abc"])
def test_the_upload_rate_is_kept_and_shared_fairly(names: str) -> None:
    rate, seconds = 500.0, 10.0
    scene = spread("*" * 60, rate)
    for name in names:
        scene.follows(name, 4)
        scene.gets(name, *range(60))
    got = dict.fromkeys(names, 0)
    until = scene.now + seconds
    while scene.now < until:
        due = scene.uploads.next_deadline(scene.now)
        assert due is not None
        words = scene.tick(max(0.001, due - scene.now))
        while words:
            more = []
            for name in [one[0] for one in words if "<" in one]:
                got[name] += 1
                more += scene.received(name)
            words = more
    assert sum(got.values()) * PIECE_BYTES / seconds == pytest.approx(rate, rel=0.1)
    assert max(got.values()) - min(got.values()) <= 1


def test_the_upload_rate_is_shared_fairly_among_contents_whose_pieces_differ_in_length() -> None:
    scene = spread("*" * 200, 4_000.0)
    scene.follows("a", 4)
    scene.piece_length = 16 * PIECE_BYTES
    scene.serve("*" * 200, "*" * 200, OTHER)
    scene.test("b", OTHER)
    scene.follows("b", 4)
    sizes = {"a": PIECE_BYTES, "b": 16 * PIECE_BYTES}
    got = dict.fromkeys(sizes, 0)
    words = [word for name in sizes for word in scene.gets(name, *range(200))]
    while sum(got.values()) < 30_000:
        while words:
            word, *words = words
            if "<" in word:
                got[word[0]] += sizes[word[0]]
                words += scene.received(word[0])
        due = scene.uploads.next_deadline(scene.now)
        assert due is not None
        words = scene.tick(max(0.001, due - scene.now))
    assert got["a"] == pytest.approx(got["b"], abs=2 * sizes["b"])
