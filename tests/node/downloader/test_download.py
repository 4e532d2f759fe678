"""One download against scripted sources: the conversation, what sources say, and pieces that are not what they should
be."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from node.downloader.assignments import HAVE_SECONDS
from node.downloader.credit import CREDIT_COUNT
from node.downloader.download import CHECK_SECONDS, Completed, Gained, NeedSources, Write
from node.downloader.source import (
    RETRY_SECONDS_FIRST,
    STATUS_COUNT_MAX,
    STATUS_RATE_MAX,
    Banned,
    Connect,
    Disconnect,
    Send,
)
from protocol.bitfield import Bitfield
from protocol.limits import PIECES_COUNT_MAX
from protocol.messages import (
    Bye,
    Error,
    Follow,
    Have,
    ManifestPage,
    NoSession,
    Piece,
    Received,
    Relay,
    SeederEntry,
    Status,
)
from protocol.messages import Test as AskTest  # a class named Test* would be collected
from tests.node.downloader.scene import DIGEST, PIECE_BYTES, Scene, asked, credit, entry, relays, sent
from tests.node.scene_pictures import bits, picture

DAMAGED = "sent a damaged piece 0; run 'verify' there to check its copy"

# --- the conversation when all goes well ------------------------------------------------------------------


def test_the_main_conversation() -> None:
    scene = Scene("*  ", started=False)
    assert scene.start() == [NeedSources()]
    assert scene.found("a") == [Connect(1, "tcp://a:1")]
    assert scene.connected("a") == [Send(1, AskTest(1, DIGEST, "a"))]
    assert scene.status("a", "*  ") == [Send(1, Follow(1, bits("*  ").to_bytes(), CREDIT_COUNT))]
    assert scene.piece("a", 1, promised=[2]) == [Write(1), Send(1, Received(1, 1, 1))]
    assert scene.written(1) == [Gained(1, relay=False)]
    assert scene.piece("a", 2) == [Write(2), Send(1, Received(1, 1, 1))]
    assert scene.written(2) == [Gained(2, relay=False), Completed()]
    assert scene.download.next_deadline(scene.now) is None
    assert scene.download.close(scene.now) == [Send(1, Bye(1)), Disconnect(1)]
    assert scene.budget.under_way == 0


def test_a_source_is_followed_for_open_pieces_alone() -> None:
    """Not for pieces that are had, being written, promised, or asked for elsewhere."""
    scene = Scene("*     ")
    scene.ready("a")
    scene.piece("a", 1, promised=[2])
    scene.ready("b", having="   *  ", idle=True)
    assert scene.owed("b") == [3]
    (follow,) = [message for message in sent(scene.ready("c")) if isinstance(message, Follow)]
    assert picture(Bitfield.from_bytes(follow.bits, 6)) == "****  "
    assert follow.push


@pytest.mark.parametrize("having", ["", "***"])
def test_content_that_is_complete_completes_at_once(having: str) -> None:
    scene = Scene(having, started=False)
    assert scene.start() == [Completed()]
    assert scene.found("a") == []
    assert scene.download.next_deadline(scene.now) is None
    assert scene.tick(100.0) == []


def test_at_the_end_those_that_assign_pieces_hear_that_it_is_complete() -> None:
    """They see by that what has spread; nobody else needs to know."""
    scene = Scene(" ")
    scene.ready("a", stock=True)
    scene.ready("b")
    assert scene.gets("b", 0)[-1] == Completed()
    assert scene.found("c") == []
    have = Send(1, Have(1, bits("*").to_bytes()))
    assert scene.download.close(scene.now) == [have, Send(1, Bye(1)), Disconnect(1), Send(2, Bye(2)), Disconnect(2)]
    assert scene.tick(10.0) == []


def test_those_that_assign_pieces_hear_now_and_then_what_has_come() -> None:
    scene = Scene("    ")
    scene.ready("a", stock=True)
    scene.ready("b")
    scene.ready("c", stock=True, alone=True)
    scene.status("a")  # it has no stock any more, and has assigned
    scene.gets("b", 2)
    told = [message for message in sent(scene.wait(2 * HAVE_SECONDS)) if isinstance(message, Have)]
    assert told == 2 * [Have(1, bits("  * ").to_bytes())]


# --- credit -----------------------------------------------------------------------------------------------


def test_credit_is_shared_among_sources() -> None:
    scene = Scene(" " * 100)
    assert credit(scene.ready("a")) == {1: CREDIT_COUNT}
    assert credit(scene.ready("b")) == {2: CREDIT_COUNT // 2}
    assert credit(scene.gets("a", 0)) == {}, "it may send more than its share already"
    assert credit(scene.gets("a", *range(1, CREDIT_COUNT // 2 + 1))) == {1: 1}
    assert credit(scene.gets("b", 99)) == {2: 1}


def test_each_source_has_credit_for_one_piece_at_least() -> None:
    scene = Scene(" " * 100)
    names = [f"p{number}" for number in range(2 * CREDIT_COUNT)]
    for name in names:
        scene.ready(name)
    assert all(source.credit for source in scene.download.sources)
    assert credit(scene.gets(names[-1], 0)) == {2 * CREDIT_COUNT: 1}


def test_long_pieces_get_less_credit() -> None:
    assert credit(Scene("    ", piece_bytes=5 * 2**20).ready("a")) == {1: 3}
    assert credit(Scene("    ", piece_bytes=20 * 2**20).ready("a")) == {1: 1}


def test_pieces_of_one_turn_are_acknowledged_together() -> None:
    scene = Scene(" " * 20)
    scene.ready("a")
    for piece in range(3):
        scene.download.piece(1, Piece(1, piece), PIECE_BYTES, scene.now)
    assert sent(scene.tick()) == [Received(1, 3, 3)]


def test_a_piece_without_credit_bans() -> None:
    scene = Scene(" " * 100)
    scene.ready("b")
    scene.found("a")
    scene.connected("a")
    effects = scene.piece("a", 0)
    assert effects[:2] == [Disconnect(2), Banned("a", "name-a", "sent piece 0 without credit")]
    assert sent(effects) == []


# --- what sources say -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["later", "no", "other_peer"])
def test_who_cannot_serve_makes_room_and_is_dialled_again_in_a_while(state: Any) -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 1, promised=[0])
    assert scene.says("a", Status(1, state)) == [Disconnect(1)]
    assert scene.download.sources == []
    assert scene.budget.under_way == PIECE_BYTES, "of the piece that is being written"
    assert scene.download.pool.banned == {}
    assert scene.open() == "* "
    assert Connect(2, "tcp://a:1") in scene.wait(RETRY_SECONDS_FIRST + CHECK_SECONDS)
    assert sent(scene.connected("a")) == [AskTest(2, DIGEST, "a")]


def test_a_forgotten_session_is_opened_again_and_nothing_of_it_counts() -> None:
    scene = Scene("      ")
    scene.ready("a", "b", stock=True)
    scene.piece("a", 0, promised=[1, 2])
    scene.idle("a", "   *  ")
    scene.status("a", stock=True)
    scene.download.set_room(2)
    assert relays(scene.tick()) == {1: 1}
    assert scene.owed("a") == [3, 1, 2]
    elsewhere = Send(2, Relay(2, 2))
    assert scene.no_session("a") == [Send(1, AskTest(1, DIGEST, "a")), elsewhere]
    assert scene.open() == " *****"
    source = scene.source("a")
    assert source is not None
    assert (source.credit, source.owes, source.asked) == (0, False, 0)
    assert scene.budget.under_way == (1 + CREDIT_COUNT // 2) * PIECE_BYTES
    follow = Follow(1, bits("*     ").to_bytes(), CREDIT_COUNT // 2)
    assert scene.status("a") == [Send(1, follow)]


def test_what_came_in_a_forgotten_session_is_not_acknowledged_in_the_next() -> None:
    scene = Scene("     ")
    scene.ready("a")
    scene.download.piece(1, Piece(1, 0), PIECE_BYTES, scene.now)
    scene.download.handle(1, NoSession(1), scene.now)
    assert sent(scene.tick()) == []
    assert [type(message) for message in sent(scene.status("a"))] == [Follow]
    assert sent(scene.piece("a", 1)) == [Received(1, 1, 1)]


def test_what_others_assigned_before_is_not_said_in_a_new_session() -> None:
    scene = Scene("          ")
    scene.ready("a", "b", stock=True)
    scene.piece("b", 0, relay=True)
    scene.no_session("a")
    scene.download.set_room(3)
    assert sent(scene.status("a", stock=True))[-1] == Relay(1, 1)


def test_a_piece_that_is_not_held_is_open_again_and_not_asked_of_that_source() -> None:
    scene = Scene("    ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    scene.idle("a", "*** ")
    assert scene.owed("a") == [2, 1]
    assert sent(scene.not_held("a", 1)) == []
    assert sent(scene.not_held("a", 2)) == []
    assert asked(scene.wait(1.0)) == {}
    assert scene.open() == " ***"
    assert asked(scene.idle("b", " *  ")) == {2: [1]}
    assert sent(scene.not_held("a", 1)) == [], "another one is to send it"
    assert scene.open() == "  **"


def test_status_news_change_what_a_source_is_thought_to_have() -> None:
    scene = Scene("   ")
    scene.ready("a", having="*  ")
    assert scene.status("a", "*  ") == []
    assert scene.download.nobody_has() == [1, 2]
    scene.piece("a", 0, promised=[1])
    assert scene.download.nobody_has() == [2]
    scene.status("a")
    assert scene.download.nobody_has() == []


@pytest.mark.parametrize("data", [b"\xff", b"", b"\x00\x00"])
def test_a_wrong_bitfield_bans(data: bytes) -> None:
    scene = Scene("   ")
    scene.found("a")
    scene.connected("a")
    effects = scene.says("a", Status(1, "partial", data))
    assert effects[0] == Disconnect(1)
    assert [effect.peer for effect in effects if isinstance(effect, Banned)] == ["a"]


def test_pieces_out_of_range_ban() -> None:
    scene = Scene("   ")
    scene.ready("a", "b", "c")
    for name, effects in (
        ("a", scene.piece("a", 3, size=PIECE_BYTES)),
        ("b", scene.piece("b", 0, promised=[1, 3])),
        ("c", scene.not_held("c", 3)),
    ):
        assert [effect.peer for effect in effects if isinstance(effect, Banned)] == [name]
    assert sorted(scene.download.pool.banned) == ["a", "b", "c"]
    assert scene.budget.under_way == 0
    assert scene.open() == "***"


def test_a_message_that_is_none_bans_and_an_error_ends_the_session() -> None:
    scene = Scene("   ")
    scene.ready("a", "b", "c")
    effects = scene.download.misbehaved(scene.sessions["a"], "sends nonsense", scene.now)
    assert effects == [Disconnect(1), Banned("a", "name-a", "sends nonsense")]
    assert scene.says("b", Error(0, "bad", "no"))[0] == Disconnect(2)
    assert list(scene.download.pool.banned) == ["a"]


@pytest.mark.parametrize("connected", [True, False])
def test_what_is_no_peer_is_not_banned_for_it(connected: bool) -> None:
    scene = Scene("   ")
    scene.found("a")
    if connected:
        scene.connected("a")
    assert scene.download.misbehaved(1, "speaks HTTP", scene.now) == [Disconnect(1)]
    assert scene.download.pool.banned == {}
    assert Connect(2, "tcp://a:1") in scene.wait(RETRY_SECONDS_FIRST + CHECK_SECONDS)


def test_a_page_of_a_manifest_means_nothing() -> None:
    scene = Scene("   ")
    scene.ready("a")
    assert scene.says("a", ManifestPage(1, 0, 0, b"")) == []


def test_words_of_nobody_are_nothing() -> None:
    scene = Scene("   ")
    assert scene.download.handle(77, Status(77, "complete"), scene.now) == []
    assert scene.download.connected(77, scene.now) == []
    assert scene.download.disconnected(77, "refused", scene.now) == []
    assert scene.download.misbehaved(77, "x", scene.now) == []
    assert scene.arrives(Piece(77, 0)) == []
    assert scene.peer_lost("nobody") == []


def test_a_source_that_floods_is_banned() -> None:
    scene = Scene("   ")
    scene.ready("a", having="*  ")
    for _ in range(STATUS_COUNT_MAX):
        assert scene.status("a", "*  ") == []
    assert scene.download.pool.banned == {}
    scene.status("a", "*  ")
    assert scene.download.pool.banned == {"a": "floods us with messages"}


def test_what_an_honest_source_says_is_no_flood() -> None:
    scene = Scene("   ", checked=False)
    scene.ready("a")
    for _ in range(5 * STATUS_COUNT_MAX):
        scene.now += 1 / STATUS_RATE_MAX
        scene.status("a")
    assert scene.download.pool.banned == {}


def test_answers_that_come_all_at_once_are_no_flood() -> None:
    """A piece that takes long holds up what is said after it."""
    scene = Scene("   ", checked=False)
    scene.ready("a", having="*  ")
    source = scene.source("a")
    assert source is not None
    for _ in range(2 * STATUS_COUNT_MAX):
        scene.download._sessions.test([source], scene.now)
    for _ in range(3 * STATUS_COUNT_MAX):
        scene.status("a", "*  ")
    assert scene.download.pool.banned == {}
    scene.status("a", "*  ")
    assert scene.download.pool.banned == {"a": "floods us with messages"}


def test_no_session_in_answer_to_many_tests_is_no_flood() -> None:
    """A connection hung, and all that was said over it arrives at once."""
    scene = Scene("   ", checked=False)
    scene.ready("a", having="*  ")
    source = scene.source("a")
    assert source is not None
    for _ in range(2 * STATUS_COUNT_MAX):
        scene.download._sessions.test([source], scene.now)
    for _ in range(3 * STATUS_COUNT_MAX):
        scene.no_session("a")
    assert scene.download.pool.banned == {}


def test_a_source_that_lost_its_disk_takes_back_all_it_owes_at_once_but_each_piece_only_once() -> None:
    count = 5 * STATUS_COUNT_MAX
    scene = Scene(" " * count, checked=False)
    scene.ready("a", "b")
    scene.piece("a", 0, promised=range(1, count))
    scene.piece("b", 1, promised=range(2, count, 2))
    for piece in range(1, count):
        scene.not_held("a", piece)
    assert scene.download.pool.banned == {}
    for _ in range(STATUS_COUNT_MAX + 1):
        scene.not_held("a", 2)
    assert scene.download.pool.banned == {"a": "floods us with messages"}


def test_a_source_that_takes_back_again_and_again_what_it_does_not_owe_floods_us() -> None:
    scene = Scene(" " * 1_000, checked=False)
    scene.ready("a")
    scene.status("a", "*" * 1_000)
    for piece in range(STATUS_COUNT_MAX + 1):
        scene.not_held("a", piece)
    assert scene.download.pool.banned == {"a": "floods us with messages"}


def test_a_status_of_the_largest_content_costs_little() -> None:
    """As many as a source may say at once: some 0.1 ms each."""
    scene = Scene("*" * (PIECES_COUNT_MAX - 1) + " ", checked=False)
    scene.ready("a", "b")
    status = Status(1, "partial", bits(" " * PIECES_COUNT_MAX).to_bytes())
    started = process_time()
    for _ in range(STATUS_COUNT_MAX - 2):
        assert scene.download.handle(1, status, scene.now) == []
    assert process_time() - started < 0.2


# --- pieces that are not what they should be --------------------------------------------------------------


def test_a_damaged_piece_costs_the_source_its_place_and_is_open_again() -> None:
    scene = Scene("   ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    effects = scene.written(0, good=False)
    assert effects[:2] == [Send(1, Bye(1, [0])), Disconnect(1)], "the source is told, and may look at its disk"
    assert effects[2] == Banned("a", "name-a", DAMAGED)
    assert scene.open() == "***"
    assert scene.arrives(Piece(1, 1)) == [], "it was on its way"
    assert scene.download.pool.banned == {"a": DAMAGED}
    assert Connect not in [type(effect) for effect in scene.found("a") + scene.wait(20.0, answering="b")]


def test_a_damaged_piece_bans_who_sent_it_and_not_who_promised_it() -> None:
    scene = Scene("   ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    scene.piece("b", 1)
    assert scene.written(1, good=False)[2] == Banned("b", "name-b", DAMAGED.replace("0", "1"))
    assert list(scene.download.pool.banned) == ["b"]


def test_a_damaged_piece_of_a_source_that_is_gone_bans_it_too() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 0)
    scene.lost("a")
    assert scene.written(0, good=False)[0] == Banned("a", "name-a", DAMAGED)
    assert not [effect for effect in scene.wait(20.0) if isinstance(effect, Connect)]


def test_whoever_moves_before_its_piece_is_found_damaged_gets_nobody_else_banned() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 0)
    scene.lost("a")
    scene.download.found([entry("a", port=9)], scene.now)
    assert isinstance(scene.written(0, good=False)[2], Banned)
    others = [SeederEntry(f"b{port}", "", f"tcp://a:{port}", True) for port in (1, 9)]
    opened = scene.download.found(others, scene.now)
    assert [effect.endpoint for effect in opened if isinstance(effect, Connect)] == ["tcp://a:9"]


@pytest.mark.parametrize(("piece", "size"), [(0, 99), (0, 0), (0, 101), (2, 100), (3, 100), (9, 0)])
def test_pieces_of_a_wrong_size_ban_and_give_back_their_credit(piece: int, size: int) -> None:
    scene = Scene("   ")
    scene.ready("a")
    effects = scene.piece("a", piece, size=size)
    assert effects[0] == Disconnect(1)
    assert isinstance(effects[1], Banned)
    assert scene.budget.under_way == 0
    assert scene.open() == "***"


def test_a_piece_beyond_the_last_is_none_where_all_are_of_one_length() -> None:
    scene = Scene("   ", short=0)
    scene.ready("a")
    assert isinstance(scene.arrives(Piece(1, 3), 0)[1], Banned)


def test_the_last_piece_is_short() -> None:
    scene = Scene("  ")
    scene.ready("a")
    assert scene.piece("a", 1, size=60)[0] == Write(1)
    assert scene.download.received_from == {"a": 60}


def test_nothing_is_written_twice() -> None:
    scene = Scene("    ")
    scene.ready("a", "b")
    scene.piece("a", 0)
    assert scene.piece("b", 0) == [Send(2, Received(2, 1, 1))]
    scene.written(0)
    assert Write(0) not in scene.piece("b", 0)
    assert scene.download.received_bytes == 3 * PIECE_BYTES
    assert scene.download.pool.banned == {}


def test_a_write_that_failed_for_our_own_reasons_makes_the_piece_missing_again() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.status("a", "  ")
    scene.piece("a", 0)
    scene.download.write_failed(0)
    scene.tick()
    assert scene.open() == "**"
    assert scene.download.nobody_has() == [1], "who sent it has it"
    assert scene.budget.under_way == 16 * PIECE_BYTES
    assert scene.download.pool.banned == {}
    assert scene.piece("a", 0)[0] == Write(0)
