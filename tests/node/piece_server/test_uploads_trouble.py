"""What a piece server does about receivers that go, stall, or do anything at all."""

from __future__ import annotations

from random import Random

import pytest
from node.piece_server.effects import Effect, Reply, SendPieces
from node.piece_server.pace import STALL_SECONDS_FIRST, STALL_SECONDS_MIN

from node.piece_server.uploads import CHECK_SECONDS, STALLED_SECONDS_MAX, UploadRequest, Uploads
from protocol.limits import (
    PIECE_BYTES_MAX,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSION_SILENT_SECONDS,
    SESSIONS_COUNT_MAX,
    STALLED_BYTES_MAX,
)
from protocol.messages import Accept, NoSession, Offer, Received, Refuse, Status, Want, Withdrawn
from protocol.messages import Test as AskTest
from tests.node.piece_server.scene import DIGEST, OTHER, PIECE_BYTES, Drawn, Scene, offered, offers_to, sends
from tests.node.scene_pictures import bits

# --- sessions that end ------------------------------------------------------------------------------------


def test_a_silent_session_is_forgotten_and_said_to_be() -> None:
    """It may only have been asleep: a Test from it would open a new session, and it would wait for old promises."""
    scene = Scene("***", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    effects = scene.wait(SESSION_SILENT_SECONDS + 2 * CHECK_SECONDS, "b")
    assert Reply(b"a", NoSession(1)) in effects
    assert scene.uploads.sessions_of(DIGEST) == 1


def test_no_more_sessions_than_allowed() -> None:
    scene = Scene("***")
    for number in range(SESSIONS_COUNT_MAX):
        scene.uploads.handle(f"r{number}".encode(), AskTest(1, DIGEST), scene.now)
        scene.uploads.handle(f"r{number}".encode(), Want(1, 1, []), scene.now)
    assert scene.test("late") == [Reply(b"late", Status(1, "later", b"", 0))]
    assert scene.test("r0") == [Reply(b"r0", Status(1, "complete", b"", 0))]
    scene.bye("r0")
    assert scene.test("late") == [Reply(b"late", Status(1, "complete", b"", 0))]


def test_sessions_that_never_wanted_anything_give_way() -> None:
    scene = Scene("***")
    for number in range(SESSIONS_COUNT_MAX):
        scene.uploads.handle(f"r{number}".encode(), AskTest(1, DIGEST), scene.now)
    assert scene.test("late") == [Reply(b"late", Status(1, "complete", b"", 0))]
    assert scene.uploads.sessions_of(DIGEST) == SESSIONS_COUNT_MAX
    assert scene.uploads.handle(b"r0", Want(1, 1, [0]), scene.now) == [Reply(b"r0", NoSession(1))]


def test_a_disk_that_does_not_answer_sends_receivers_away_for_a_while() -> None:
    scene = Scene("***", slots=1)
    scene.opened("a")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    effects = scene.uploads.piece_failed(b"a", 1, scene.offers["a", 0], False, scene.now)
    assert effects == [Reply(b"a", Status(1, "later", b"", 0))]
    assert scene.test("a") == [Reply(b"a", Status(1, "complete", b"", 0))]


def test_one_connection_cannot_have_all_sessions() -> None:
    scene = Scene("***")
    for number in range(ROUTE_SESSIONS_COUNT_MAX):
        scene.uploads.handle(b"greedy", AskTest(number, DIGEST), scene.now)
    answer = scene.uploads.handle(b"greedy", AskTest(999, DIGEST), scene.now)
    assert answer == [Reply(b"greedy", Status(999, "later", b"", 0))]
    assert scene.test("other") == [Reply(b"other", Status(1, "complete", b"", 0))]


def test_an_unreachable_receiver_gives_its_slot_to_others() -> None:
    scene = Scene("****", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    scene.wants("b", 2, 3)
    scene.accepts("b", 2)
    assert sends(scene._then(scene.uploads.unreachable(b"a", 1, scene.now))) == [("b", 2)]
    assert scene.uploads.unreachable(b"a", 1, scene.now) == []


def test_what_a_receiver_that_is_gone_did_not_get_counts_as_not_sent() -> None:
    """Else the seeder would think a piece is out there that nobody has."""
    scene = Scene("***", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    scene.bye("a")
    assert offers_to(scene.wants("b", 2)) == [("b", 2)]
    assert offers_to(scene.accepts("b", 2) + scene.wants("b", 2, 0)) == [("b", 0)]


def test_withdrawn_content_is_gone_for_all_its_sessions() -> None:
    scene = Scene("***", slots=1)
    scene.uploads.serve(OTHER, bits("*"), 60, PIECE_BYTES)
    scene.opened("a", "b")
    scene.test("c", OTHER)
    scene.wants("a", 0, 1)
    assert scene._then(scene.uploads.withdraw(DIGEST)) == [
        Reply(b"a", Status(1, "no", b"", 0)),
        Reply(b"b", Status(1, "no", b"", 0)),
    ]
    assert scene.uploads.withdraw(DIGEST) == []
    assert scene.says("a", Accept(1, 1)) == [Reply(b"a", NoSession(1))]
    assert scene.test("a") == [Reply(b"a", Status(1, "no", b"", 0))]
    assert scene.uploads.sessions_of(OTHER) == 1
    assert scene.uploads.sent_bytes() == {OTHER: 0}


def test_out_of_the_network_nothing_is_served() -> None:
    scene = Scene("***", slots=1)
    scene.test("a")
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    assert scene._then(scene.uploads.set_serving(False)) == [Reply(b"a", Status(1, "later", b"", 0))]
    assert scene.test("a") == [Reply(b"a", Status(1, "later", b"", 0))]
    assert scene.wants("a", 0) == [Reply(b"a", NoSession(1))]
    assert scene._then(scene.uploads.set_serving(True)) == []
    assert scene.test("a") == [Reply(b"a", Status(1, "complete", b"", 0))]


# --- receivers that stall ---------------------------------------------------------------------------------


def stalled(scene: Scene, *alive: str) -> list[object]:
    """``a`` is sent piece 0 and promised piece 1, and says nothing of either until it counts as stalled."""
    scene.opened("a", *alive)
    scene.wants("a", 0, 1, 2)
    scene.accepts("a", 0)
    scene.accepts("a", 1)
    return list(scene.wait(STALL_SECONDS_FIRST + 2 * CHECK_SECONDS, "a", *alive))


def test_a_stalled_receiver_gives_back_its_slot_and_what_it_was_promised() -> None:
    scene = Scene("****", slots=1)
    effects = stalled(scene, "b")
    assert effects == [Reply(b"a", Withdrawn(1, 2))]
    assert offers_to(scene.wants("b", 3)) == [("b", 3)]
    assert sends(scene.accepts("b", 3)) == [("b", 3)]
    assert offers_to(scene.wants("a", 0, 1, 2)) == []


def test_a_receiver_that_answers_at_last_is_served_again() -> None:
    scene = Scene("****", slots=1)
    stalled(scene)
    assert offers_to(scene.received("a", 0)) == [("a", 2)]


def test_who_took_some_time_before_has_not_stalled_so_soon() -> None:
    scene = Scene("****", slots=1)
    scene.test("a")
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    scene.wait(4.0, "a")
    scene.received("a", 0)
    scene.accepts("a", 1)
    assert scene.wait(11.0, "a") == []
    assert scene.received("a", 1) == []


def test_who_was_quick_before_has_stalled_sooner() -> None:
    scene = Scene("****", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0, 1)
    scene.accepts("a", 0)
    scene.wait(0.1, "a")
    scene.received("a", 0)
    scene.accepts("a", 1)
    scene.wants("b", 2)
    scene.accepts("b", 2)
    assert sends(scene.wait(STALL_SECONDS_MIN + 2 * CHECK_SECONDS, "a", "b")) == [("b", 2)]


def test_on_a_slow_uplink_a_first_piece_may_take_as_long_as_those_of_others() -> None:
    scene = Scene("****", slots=1)
    scene.opened("a", "b")
    scene.wants("a", 0)
    scene.accepts("a", 0)
    scene.wait(9.0, "a", "b")
    scene.received("a", 0)
    scene.wants("b", 1, 2)
    scene.accepts("b", 1)
    assert scene.wait(STALL_SECONDS_FIRST + 5.0, "a", "b") == []


def test_bytes_queued_for_stalled_receivers_are_bounded() -> None:
    """One receiver after the other stalls, while one goes on receiving."""
    uploads = Uploads(2, 0, 0.0, Drawn(1.0))
    pieces = 8
    uploads.serve(DIGEST, bits("*" * pieces), pieces * PIECE_BYTES_MAX, PIECE_BYTES_MAX)
    lost: list[bytes] = []
    now = 0.0

    def sent_one(route: bytes, revision: int) -> int:
        (offer,) = offered(uploads.handle(route, Want(1, revision, [revision % pieces]), now))
        uploads.handle(route, Accept(1, offer), now)
        return offer

    routes = [f"r{number}".encode() for number in range(STALLED_BYTES_MAX // PIECE_BYTES_MAX + 2)]
    for number, route in enumerate(routes):
        for each in (route, b"good"):
            uploads.handle(each, AskTest(1, DIGEST), now)
        sent_one(route, 1)
        uploads.handle(b"good", Received(1, sent_one(b"good", number + 1)), now)
        for _ in range(6):
            now += 2.0
            for each in [*routes[: number + 1], b"good"]:
                if each not in lost:
                    uploads.handle(each, AskTest(1, DIGEST), now)
            effects = uploads.tick(now)
            lost += [e.route for e in effects if isinstance(e, Reply) and isinstance(e.message, NoSession)]
            uploads.check_invariants()
    assert lost == routes[STALLED_BYTES_MAX // PIECE_BYTES_MAX :][:2]


def test_when_nobody_receives_anything_it_may_be_the_uplink_that_is_slow() -> None:
    """To give the slots to others would make it slower still."""
    scene = Scene("*" * 8, slots=2)
    scene.opened("a", "b", "c", "d")
    for name, piece in (("a", 0), ("b", 1), ("c", 2), ("d", 3)):
        scene.wants(name, piece)
        scene.accepts(name, piece)
    assert sends(scene.wait(STALL_SECONDS_FIRST + 2 * CHECK_SECONDS, *"abcd")) == [("c", 2)]
    assert sends(scene.wait(STALL_SECONDS_FIRST - 4 * CHECK_SECONDS, *"abcd")) == []
    assert sends(scene.received("b", 1)) == [("d", 3)]


def test_a_session_that_stays_stalled_is_started_over() -> None:
    """Its acknowledgement may have been lost: it would be offered nothing for ever."""
    scene = Scene("****", slots=1)
    stalled(scene)
    effects = scene.wait(STALLED_SECONDS_MAX + 2 * CHECK_SECONDS, "a")
    assert Reply(b"a", NoSession(1)) in effects


# --- whatever happens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_any_history_keeps_the_books_right(seed: int) -> None:
    rng = Random(seed)
    scene = Scene("".join(rng.choice("* ") for _ in range(12)), slots=rng.randint(1, 3), rate=rng.choice([0.0, 500.0]))
    open_offers: list[tuple[str, int]] = []

    def some_offer() -> tuple[str, int]:
        return rng.choice(open_offers) if open_offers else ("a", 99)

    for _ in range(400):
        name = rng.choice("abcd")
        effects: list[Effect] = []
        step = rng.randrange(12)
        if step < 2:
            effects = scene.test(name)
        elif step < 5:
            effects = scene.wants(name, *rng.sample(range(14), 6))
        elif step < 10:
            who, offer = some_offer()
            answers: list[UploadRequest] = [Accept(1, offer), Received(1, offer), Refuse(1, offer, "claimed")]
            effects = scene.says(who, rng.choice([*answers, *answers[:2], Refuse(1, offer, "full")]))
        elif step == 10:
            effects = scene.held(rng.randrange(12)) + scene.tick(rng.choice([0.0, 0.1, 1.0, 5.0]))
        else:
            effects = rare_step(scene, rng, name)
        open_offers += offer_numbers(effects)
        for effect in effects:
            if isinstance(effect, SendPieces):
                assert all(piece in scene.have for _, piece in effect.promised)


def offer_numbers(effects: list[Effect]) -> list[tuple[str, int]]:
    return [
        (effect.route.decode(), effect.message.offer)
        for effect in effects
        if isinstance(effect, Reply) and isinstance(effect.message, Offer)
    ]


def rare_step(scene: Scene, rng: Random, name: str) -> list[Effect]:
    """Something that seldom happens."""
    step = rng.randrange(6)
    if step == 0:
        return scene.bye(name)
    if step == 1:
        return scene._then(scene.uploads.unreachable(name.encode(), 1, scene.now))
    if step == 2:
        return scene._then(
            scene.uploads.piece_failed(name.encode(), 1, rng.randrange(40), rng.random() < 0.5, scene.now)
        )
    if step == 3:
        return scene._then(scene.uploads.set_serving(not scene.uploads.serving))
    if step == 4:
        scene.have = bits("".join(rng.choice("* ") for _ in range(12)))
        scene.uploads.serve(DIGEST, scene.have, scene.length, PIECE_BYTES)
        return scene.tick()
    effects = scene._then(scene.uploads.withdraw(DIGEST))
    scene.uploads.serve(DIGEST, scene.have, scene.length, PIECE_BYTES)
    return effects
