"""What a piece server sends to whom: one `Uploads` against scripted receivers."""

from __future__ import annotations

import pytest
from node.piece_server.effects import Reply, SendPieces
from node.piece_server.pace import HAVE_DELAY_SECONDS_MAX

from node.piece_server.uploads import CHECK_SECONDS
from protocol.limits import (
    HAVE_COUNT_MAX,
    OFFER_EXPIRY_SECONDS,
)
from protocol.messages import Accept, Have, NoSession, NotHeld, Offer, Received, Refuse, Status, Want, Withdrawn
from tests.node.piece_server.scene import DIGEST, OTHER, PIECE_BYTES, Scene, made, offered, offers_to, sends
from tests.node.scene_pictures import bits, picture

# --- the conversation when all goes well ------------------------------------------------------------------


def test_the_main_conversation() -> None:
    scene = Scene("** *", slots=1)
    assert scene.test("a") == [Reply(b"a", Status(1, "partial", b"\xd0", 0))]
    assert scene.wants("a", 3, 2, 0) == [Reply(b"a", Offer(1, 1, 1, 3, spare=True))]
    assert scene.accepts("a", 3) == [
        SendPieces(b"a", 1, DIGEST, ((1, 3),)),
        Reply(b"a", Offer(1, 2, 1, 0, spare=True)),
    ]
    assert scene.accepts("a", 0) == []
    assert scene.received("a", 3) == [SendPieces(b"a", 1, DIGEST, ((2, 0),))]
    assert scene.uploads.queued_pieces == 1
    assert scene.received("a", 0) == []
    assert scene.uploads.queued_pieces == 0
    assert scene.uploads.sent_bytes() == {DIGEST: 160}
    assert scene.bye("a") == []
    assert scene.uploads.sessions_of(DIGEST) == 0


def test_what_it_says_of_itself() -> None:
    scene = Scene("***")
    assert scene.test("a") == [Reply(b"a", Status(1, "complete", b"", 0))]
    assert scene.test("a", OTHER, session=2) == [Reply(b"a", Status(2, "no", b"", 0))]
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    assert scene.test("b") == [Reply(b"b", Status(1, "complete", b"", 1))]


def test_content_without_pieces_is_complete() -> None:
    scene = Scene("***")
    scene.uploads.serve(OTHER, bits(""), 0, PIECE_BYTES)
    assert scene.test("a", OTHER) == [Reply(b"a", Status(1, "complete", b"", 0))]
    assert scene.wants("a", 0) == []


def test_one_receiver_gets_a_plain_window() -> None:
    """Twice as many pieces are promised as are sent at a time, so that none of the slots ever waits for an answer."""
    scene = Scene("*" * 20, slots=2)
    scene.test("a")
    offers = offered(scene.wants("a", *range(20)))
    assert list(offers.values()) == [0, 1]
    effects = scene.accepts("a", 0) + scene.accepts("a", 1)
    assert sends(effects) == [("a", 0), ("a", 1)]
    assert offers_to(effects) == [("a", 2), ("a", 3)]
    assert sends(scene.accepts("a", 2) + scene.accepts("a", 3)) == []
    for piece in range(16):
        effects = scene.received("a", piece)
        assert sends(effects) == [("a", piece + 2)]
        assert offers_to(effects) == [("a", piece + 4)]
        assert scene.accepts("a", piece + 4) == []


def test_the_piece_sent_least_often_goes_first_then_the_one_the_receiver_prefers() -> None:
    scene = Scene("****", slots=2)
    scene.opened("a", "b")
    assert offers_to(scene.wants("a", 2, 1)) == [("a", 2), ("a", 1)]
    assert scene.wants("b", 2, 3, 1, 0) == []
    assert offers_to(scene.accepts("a", 2) + scene.accepts("a", 1)) == [("b", 3), ("b", 0)]
    effects = scene.accepts("b", 3) + scene.accepts("b", 0)
    for name, piece in (("a", 2), ("a", 1), ("b", 3)):
        effects += scene.received(name, piece)
    assert offers_to(effects) == [("b", 2), ("b", 1)]


def test_receivers_take_turns() -> None:
    scene = Scene("*" * 40, slots=1)
    scene.opened("a", "b", "c")
    todo = []
    for name in "abc":
        todo += offers_to(scene.wants(name, *range(40)))
    order = ""
    while len(order) < 14:
        name, piece = todo.pop(0)
        order += name
        todo += offers_to(scene.accepts(name, piece) + scene.received(name, piece))
    assert order == "ab" + "acb" * 4, "who asked first, and was alone, comes once more than the others"


def order_of_turns(scene: Scene, todo: list[tuple[str, int]], count: int) -> list[str]:
    """Who is offered something, when each refuses."""
    seen: list[str] = []
    while len(seen) < count:
        name, piece = todo.pop(0)
        seen.append(name)
        todo += offers_to(scene.refuses(name, piece, "full"))
    return seen


@pytest.mark.parametrize(("drawn", "order"), [(0.9, [*"abc"]), (0.1, [*"cba"])])
def test_the_first_turn_is_drawn_so_that_not_all_sources_begin_with_the_same_receivers(
    drawn: float, order: list[str]
) -> None:
    scene = Scene("*" * 8, slots=1, drawn=drawn)
    scene.opened("x", "a", "b", "c")
    scene.wants("x", 0, 1)
    scene.accepts("x", 0)
    scene.accepts("x", 1)
    scene.now += 1.0
    scene.received("x", 0)
    for name in "abc":
        assert scene.wants(name, *range(8)) == []
    assert order_of_turns(scene, offers_to(scene.received("x", 1)), 3) == order


def test_who_begins_anew_does_not_get_before_those_who_wait() -> None:
    scene = Scene("*" * 8, slots=1, drawn=0.1)
    scene.opened("x", "a")
    scene.wants("x", 0, 1)
    scene.accepts("x", 0)
    scene.accepts("x", 1)
    scene.now += 1.0
    scene.received("x", 0)
    scene.wants("a", *range(8))
    scene.test("x", session=2)
    scene.says("x", Want(2, 1, [2, 3]))
    assert order_of_turns(scene, offers_to(scene.received("x", 1)), 1) == ["a"]


def test_an_offer_does_not_keep_a_slot_behind_a_piece_while_others_may_want_it() -> None:
    scene = Scene("*" * 8, slots=2)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    for piece in (0, 1):
        scene.accepts("a", piece)
    scene.now += 1.0  # an offer is answered at once, a piece takes its time: none need be offered ahead
    for piece in (0, 1):
        scene.received("a", piece)
    assert offers_to(scene.wants("b", 7)) == [("b", 7)]
    assert offers_to(scene.wants("a", 2, 3)) == [("a", 2)]
    assert scene.accepts("a", 2) == [SendPieces(b"a", 1, DIGEST, ((scene.offers["a", 2], 2),))]
    assert scene.refuses("b", 7, "full") == [], "b will say when it has room: that may be any moment"
    assert offers_to(scene.wants("b", 7)) == [("b", 7)]
    assert offers_to(scene.refuses("b", 7)) == [("a", 3)], "nobody else wants anything"


@pytest.mark.parametrize(
    ("have", "receivers", "slots", "sent"),
    [("*" * 8, 5, 4, 5), ("*" * 8, 4, 4, 4), ("*" * 7 + " ", 5, 4, 4), ("*" * 8, 5, 3, 3), ("*" * 20, 20, 8, 10)],
    ids=["complete", "few receivers", "partial", "few slots", "many slots"],
)
def test_more_pieces_of_complete_content_are_sent_at_a_time(have: str, receivers: int, slots: int, sent: int) -> None:
    scene = Scene(have, slots)
    names = [chr(ord("a") + number) for number in range(receivers)]
    scene.opened(*names)
    scene.wants(names[0], 0)
    scene.accepts(names[0], 0)
    scene.now += 1.0
    scene.received(names[0], 0)
    under_way = []
    for number, name in enumerate(names):
        for who, piece in offers_to(scene.wants(name, number % 7)):
            under_way += sends(scene.accepts(who, piece))
    assert len(under_way) == scene.uploads.queued_pieces == sent
    effects = scene.received(*under_way[0])
    assert len(offers_to(effects)) == (sent < receivers)


def test_opening_sessions_again_and_again_gives_no_more_turns() -> None:
    scene = Scene("*" * 40, slots=1)
    scene.test("a")
    todo = offers_to(scene.wants("a", *range(20)))
    served = []
    for number in range(20):
        name = f"greedy{number}"
        scene.test(name)
        todo += offers_to(scene.wants(name, *range(20, 40)))
        receiver, piece = todo.pop(0)
        served.append(receiver)
        todo += offers_to(scene.accepts(receiver, piece) + scene.received(receiver, piece))
    assert served.count("a") >= 2


def test_a_receiver_that_wants_nothing_takes_no_turn() -> None:
    scene = Scene("****", slots=1)
    scene.opened("a", "b")
    scene.wants("b", 0, 1)
    assert offers_to(scene.accepts("b", 0)) == [("b", 1)]


def test_a_new_want_replaces_the_last_and_an_old_one_is_ignored() -> None:
    scene = Scene("****", slots=1)
    scene.test("a")
    scene.wants("a", 0, 1)
    assert scene.wants("a", 3) == []
    assert offers_to(scene.accepts("a", 0)) == [("a", 3)]
    scene.says("a", Want(1, 2, [1, 2]))
    assert offers_to(scene.accepts("a", 3) + scene.received("a", 0)) == []
    scene.wants("a")
    assert offers_to(scene.received("a", 3)) == []


def test_what_is_promised_already_is_not_offered_again() -> None:
    scene = Scene("**", slots=2)
    scene.test("a")
    assert offers_to(scene.wants("a", 0)) == [("a", 0)]
    assert offers_to(scene.wants("a", 0)) == []
    scene.accepts("a", 0)
    assert offers_to(scene.wants("a", 0, 1)) == [("a", 1)]


def test_pieces_that_are_not_here_or_do_not_exist_are_ignored() -> None:
    scene = Scene("* *")
    scene.test("a")
    assert offers_to(scene.wants("a", 1, 3, 200_000)) == []
    assert offers_to(scene.wants("a", 1, 2)) == [("a", 2)]


# --- refused, void, unknown -------------------------------------------------------------------------------


def test_a_claimed_piece_gives_way_to_the_next_and_counts_as_not_sent() -> None:
    scene = Scene("***", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    assert offers_to(scene.refuses("a", 0)) == [("a", 1)]
    scene.wants("b", 1, 0)
    assert offers_to(scene.accepts("a", 1)) == [("b", 0)]


def test_a_full_receiver_is_offered_nothing_before_its_next_want() -> None:
    scene = Scene("***", slots=1)
    scene.test("a")
    scene.wants("a", 0, 1)
    assert scene.refuses("a", 0, "full") == []
    assert offers_to(scene.wait(5.0, "a")) == []
    assert offers_to(scene.wants("a", 0, 1)) == [("a", 0)]


def test_an_offer_nobody_answers_is_void_and_said_to_be() -> None:
    """The answer may have been lost: were the receiver not told, it would wait for the piece for ever."""
    scene = Scene("***", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0)
    scene.wants("b", 1)
    effects = scene.wait(OFFER_EXPIRY_SECONDS + 2 * CHECK_SECONDS, "a", "b")
    assert Reply(b"a", Withdrawn(1, 1)) in effects
    assert offers_to(effects) == [("b", 1)]
    assert scene.accepts("a", 0)[0] == Reply(b"a", Withdrawn(1, 1))


def test_words_about_void_offers_are_nothing() -> None:
    scene = Scene("***", slots=1)
    scene.test("a")
    assert scene.says("a", Accept(1, 77)) == [Reply(b"a", Withdrawn(1, 77))]
    assert scene.says("a", Refuse(1, 77, "claimed")) == []
    assert scene.says("a", Received(1, 77)) == []
    scene.wants("a", 0, 1)
    assert scene.received("a", 0) == [], "not sent yet"
    scene.accepts("a", 0)
    assert scene.accepts("a", 0) == []
    assert scene.refuses("a", 0) == []
    assert sends(scene.received("a", 0)) == []


def test_words_of_nobody_open_no_session() -> None:
    scene = Scene("***")
    assert scene.wants("a", 0) == [Reply(b"a", NoSession(1))]
    assert scene.says("a", Accept(1, 1)) == [Reply(b"a", NoSession(1))]
    assert scene.says("a", Received(1, 1)) == [Reply(b"a", NoSession(1))]
    assert scene.bye("a") == []
    assert scene.uploads.next_deadline(scene.now) is None


def test_a_test_for_other_content_starts_the_session_over() -> None:
    scene = Scene("***")
    scene.uploads.serve(OTHER, bits("*"), 60, PIECE_BYTES)
    scene.test("a")
    scene.wants("a", 0, 1)
    assert scene.test("a", OTHER) == [Reply(b"a", Status(1, "complete", b"", 0))]
    assert (scene.uploads.sessions_of(DIGEST), scene.uploads.sessions_of(OTHER)) == (0, 1)
    assert scene.says("a", Accept(1, 1)) == [Reply(b"a", Withdrawn(1, 1))]


def test_sessions_of_one_route_are_apart() -> None:
    scene = Scene("****", slots=4)
    scene.test("a", session=1)
    scene.test("a", session=2)
    assert len(offers_to(scene.says("a", Want(1, 1, [0])) + scene.says("a", Want(2, 1, [1])))) == 2
    assert scene.uploads.sessions_of(DIGEST) == 2
    scene.bye("a")
    assert scene.uploads.sessions_of(DIGEST) == 1


# --- the rate limit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("receivers", [1, 3])
def test_the_upload_rate_is_kept(receivers: int) -> None:
    rate = 200.0
    scene = Scene("*" * 60, slots=2, rate=rate)
    names = "abc"[:receivers]
    scene.opened(*names)
    todo = [effect for name in names for effect in scene.wants(name, *range(60))]
    started, total = scene.now, 0
    while total < 40:
        while todo:
            effects, todo = todo, []
            for name, piece in offers_to(effects):
                todo += scene.accepts(name, piece)
            for name, piece in sends(effects):
                total += 1
                todo += scene.received(name, piece)
        due = scene.uploads.next_deadline(scene.now)
        assert due is not None
        assert due >= scene.now
        todo = scene.tick(due - scene.now)
    assert total * PIECE_BYTES / (scene.now - started) == pytest.approx(rate, rel=0.1)


# --- content that grows and shrinks -----------------------------------------------------------------------


def test_news_go_to_all_but_those_who_got_the_piece_from_here() -> None:
    scene = Scene("*  ", slots=1)
    scene.opened("a", "b")
    assert scene.held(1) == [Reply(b"a", Have(1, [1])), Reply(b"b", Have(1, [1]))]
    scene.wants("a", 1)
    scene.accepts("a", 1)
    scene.received("a", 1)
    assert scene.held(1) == [Reply(b"b", Have(1, [1]))]
    assert picture(scene.have) == "** "


def test_news_are_batched_for_a_moment_once_pieces_take_time() -> None:
    scene = Scene("*   ", slots=1)
    scene.test("a")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    scene.wait(1.0, "a")
    scene.received("a", 0)
    assert scene.held(1) == []
    assert scene.held(2) == []
    due = scene.uploads.next_deadline(scene.now)
    assert due is not None
    assert scene.now < due <= scene.now + HAVE_DELAY_SECONDS_MAX
    assert scene.tick(due - scene.now) == [Reply(b"a", Have(1, [1, 2]))]
    assert scene.tick(1.0) == []


def test_a_status_says_all_news() -> None:
    scene = Scene("*   ", slots=1)
    scene.test("a")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    scene.wait(1.0, "a")
    scene.received("a", 0)
    scene.held(1)
    assert scene.test("a") == [Reply(b"a", Status(1, "partial", b"\xc0", 0))]
    assert scene.tick(1.0) == []


def test_many_news_are_cut_into_messages() -> None:
    scene = Scene(" " * (HAVE_COUNT_MAX + 10))
    scene.test("a")
    effects = scene.held(*range(HAVE_COUNT_MAX + 10))
    assert [len(e.message.pieces) for e in effects if isinstance(e, Reply) and isinstance(e.message, Have)] == [
        HAVE_COUNT_MAX,
        10,
    ]


def test_news_of_nothing_we_know_are_nothing() -> None:
    scene = Scene("*")
    assert scene.uploads.held(OTHER, [0], scene.now) == []


def test_content_served_again_with_more_is_told_to_its_sessions() -> None:
    scene = Scene("*   ")
    scene.test("a")
    scene.uploads.serve(DIGEST, bits("** *"), scene.length, PIECE_BYTES)
    assert scene.wait(2 * CHECK_SECONDS, "a") == [Reply(b"a", Have(1, [1, 3]))]
    assert offers_to(scene.wants("a", 3)) == [("a", 3)]


def test_content_served_again_with_less_is_not_sent() -> None:
    """After a restart a download may have less than it said: what is not verified must not go out."""
    scene = Scene("****", slots=1)
    scene.test("a")
    scene.wants("a", 0, 1, 2)
    scene.accepts("a", 0)
    scene.accepts("a", 1)
    scene.uploads.serve(DIGEST, bits("*  *"), scene.length, PIECE_BYTES)
    effects = scene.received("a", 0)
    assert sends(effects) == []
    assert offers_to(effects) == []
    assert Reply(b"a", NotHeld(1, 1)) in effects
    assert offers_to(scene.wants("a", 2, 3)) == [("a", 3)]


def test_a_piece_that_cannot_be_read_is_taken_off_and_its_slot_is_free() -> None:
    scene = Scene("***", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    scene.wants("b", 0)
    scene.accepts("a", 0)
    effects = scene.unreadable("a", 0)
    assert effects[0] == Reply(b"a", NotHeld(1, 0))
    assert ("b", 0) not in offers_to(effects)
    assert picture(scene.have) == " **"
    assert scene.uploads.piece_failed(b"a", 1, 99, True, scene.now) == []
    assert scene.uploads.piece_failed(b"x", 1, 1, True, scene.now) == []


def test_an_offer_says_whether_the_source_has_nothing_else_to_send() -> None:
    scene = Scene("******", slots=2)
    scene.opened("a", "b")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    scene.now += 1.0
    scene.received("a", 0)
    spare = {}
    for name, piece in (("a", 1), ("b", 2)):
        (effect,) = scene.wants(name, piece)
        assert isinstance(effect, Reply)
        assert isinstance(effect.message, Offer)
        spare[name] = effect.message.spare
        scene.accepts(name, piece)
    assert spare == {"a": True, "b": False}


def test_what_is_offered_ahead_is_to_spare_though_a_piece_is_being_sent() -> None:
    scene = Scene("******", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    (offer,) = made(scene.wants("b", 1))
    assert offer.spare
