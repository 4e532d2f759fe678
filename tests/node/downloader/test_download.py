"""One download against scripted sources: what it says, when, and what it does when they misbehave."""

from __future__ import annotations

import pytest

from node.downloader.claims import (
    CLAIMS_COUNT_MAX,
    CLAIMS_SHARED_COUNT,
    ENDGAME_SECONDS_MIN,
    OVERDUE_SECONDS_FIRST,
    OVERDUE_SECONDS_MIN,
    SLOW_SECONDS,
    STUCK_SECONDS,
)
from node.downloader.download import CHECK_SECONDS, NEED_SOURCES_SECONDS, Completed, Gained, NeedSources, Write
from node.downloader.source import (
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
    SILENT_SECONDS,
    SILENT_SENDING_SECONDS,
    Banned,
    Connect,
    Disconnect,
    Send,
    SourceState,
)
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX, TEST_IDLE_SECONDS, TEST_TIMEOUT_SECONDS, WANT_COUNT_MAX
from protocol.messages import Accept, Bye, Error, ManifestPage, Received, Status, Want
from protocol.messages import Test as AskTest  # a class named Test* would be collected
from tests.node.downloader.scene import DIGEST, PIECE_BYTES, Scene, entry, sent, wants

# --- the conversation when all goes well -----------------------------------------------------------------


def test_the_main_conversation() -> None:
    scene = Scene("   ", sequential=True, started=False)
    assert scene.start() == [NeedSources()]
    assert scene.found("a") == [Connect(1, "tcp://a:1")]
    assert scene.connected("a") == [Send(1, AskTest(1, DIGEST))]
    assert scene.status("a", "** ") == [Send(1, Want(1, 1, [0, 1]))]
    assert scene.offer("a", 1, number=7) == [Send(1, Accept(1, 7))]
    assert scene.piece("a", 7, 1) == [Send(1, Received(1, 7)), Write(1, 1)]
    assert scene.written(1) == [Gained(1)]
    scene.wait(0.1)
    assert scene.have("a", 2) == [Send(1, Want(1, 2, [0, 2]))]
    for piece, number in ((2, 8), (0, 9)):
        assert scene.offer("a", piece, number) == [Send(1, Accept(1, number))]
        assert scene.piece("a", number, piece) == [Send(1, Received(1, number)), Write(1, piece)]
    assert scene.written(0) == [Gained(0)]
    assert scene.written(2) == [Gained(2), Completed()]
    assert scene.download.next_deadline(scene.now) is None
    assert scene.budget.under_way == 0


def test_what_is_there_already_is_not_asked_for() -> None:
    scene = Scene("* *", sequential=True)
    assert wants(scene.ready("a")) == {1: [1]}
    assert scene.download.done_bytes == PIECE_BYTES + 60


@pytest.mark.parametrize("having", ["", "***"])
def test_content_that_is_complete_completes_at_once(having: str) -> None:
    scene = Scene(having, started=False)
    assert scene.start() == [Completed()]
    assert scene.found("a") == []
    assert scene.download.next_deadline(scene.now) is None
    assert scene.tick(100.0) == []


def test_after_completion_nothing_starts_anew() -> None:
    scene = Scene(" ")
    scene.ready("a")
    assert scene.gets("a", 0)[-1] == Completed()
    assert scene.found("b") == []
    assert scene.download.close(scene.now) == [Send(1, Bye(1)), Disconnect(1)]
    assert scene.tick(10.0) == []


def test_sequential_asks_in_order_of_index() -> None:
    scene = Scene(" " * 20, sequential=True)
    assert wants(scene.ready("a")) == {1: list(range(20))}


def test_rarest_first_by_default() -> None:
    scene = Scene("   ")
    scene.ready("a", having="***")
    scene.ready("b", having=" * ")
    assert wants(scene.ready("c", having="** ")) == {3: [0, 1]}
    assert wants(scene.wait(1.0)) == {}


def test_news_are_batched_while_the_source_has_enough_to_choose_from() -> None:
    scene = Scene(" " * 6, sequential=True)
    scene.ready("a", having="**    ")
    scene.accepts("a", 0)
    scene.wait(0.1)
    assert wants(scene.have("a", 2)) == {1: [1, 2]}
    assert wants(scene.have("a", 3)) == {}
    assert wants(scene.have("a", 4)) == {}
    assert wants(scene.wait(0.1)) == {1: [1, 2, 3, 4]}


def test_no_news_no_want() -> None:
    scene = Scene(" *", sequential=True)
    scene.ready("a", having="  ")
    assert scene.have("a", 1) == []
    assert wants(scene.have("a", 0)) == {1: [0]}
    assert wants(scene.have("a", 0)) == {}


def test_a_long_download_is_asked_for_in_parts_that_follow_without_a_pause() -> None:
    """A Want names a few hundred pieces: a source that has offered most of them is told of more in time."""
    scene = Scene(" " * (3 * WANT_COUNT_MAX), sequential=True, checked=False)
    assert wants(scene.ready("a")) == {1: list(range(WANT_COUNT_MAX))}
    told = WANT_COUNT_MAX
    for piece in range(2 * WANT_COUNT_MAX):
        assert piece < told
        effects = scene.offer("a", piece, number=piece)
        effects += scene.piece("a", piece, piece) + scene.written(piece)
        if piece % 100 == 0:
            effects += scene.wait(0.05)
        told = max([told, *(max(pieces) + 1 for pieces in wants(effects).values())])
    assert told == 3 * WANT_COUNT_MAX


# --- offers refused --------------------------------------------------------------------------------------


def test_a_claimed_piece_is_refused_elsewhere_and_so_is_one_that_is_had() -> None:
    scene = Scene("  ")
    scene.ready("a", "b")
    offer = scene.accepts("a", 0)
    assert scene.refuses("b", 0) == "claimed"
    scene.piece("a", offer, 0)
    assert scene.refuses("b", 0) == "claimed"
    scene.written(0)
    assert scene.refuses("b", 0) == "claimed"


def test_a_source_that_was_refused_as_full_hears_when_there_is_room() -> None:
    scene = Scene(" " * 8, budget_bytes=2 * PIECE_BYTES)
    scene.ready("a", "b")
    first = scene.accepts("a", 0)
    scene.accepts("a", 1)
    assert scene.refuses("b", 2) == "full"
    assert scene.piece("a", first, 0) == [Send(1, Received(1, first)), Write(1, 0)]
    effects = scene.written(0)
    assert effects[0] == Gained(0)
    assert sorted(wants(effects)[2]) == [2, 3, 4, 5, 6, 7]
    assert scene.budget.under_way == PIECE_BYTES


def test_one_piece_is_always_admitted_however_small_the_budget() -> None:
    scene = Scene("   ", budget_bytes=1)
    scene.ready("a")
    offer = scene.accepts("a", 0)
    assert scene.refuses("a", 1) == "full"
    scene.piece("a", offer, 0)
    assert wants(scene.written(0)) != {}
    scene.accepts("a", 1)


def test_the_budget_is_shared_by_all_downloads() -> None:
    scene = Scene("   ", budget_bytes=3 * PIECE_BYTES)
    scene.ready("a")
    scene.budget.claim(250, scene.now)
    assert scene.refuses("a", 0) == "full"
    scene.budget.release(250)
    assert wants(scene.tick()) != {}
    scene.accepts("a", 0)


def test_a_single_source_may_owe_what_it_sends_at_once_and_as_many_again() -> None:
    scene = Scene(" " * 20)
    scene.ready("a")
    for piece in range(CLAIMS_SHARED_COUNT):
        scene.accepts("a", piece)
    assert scene.refuses("a", 10) == "full"


def test_sources_share_what_may_be_owed() -> None:
    """Or the one that offers first would take everything, and keep others waiting that are as fast or faster."""
    scene = Scene(" " * 20)
    scene.ready("a", "b")
    for piece in range(CLAIMS_SHARED_COUNT // 2):
        scene.accepts("a", piece)
    assert scene.refuses("a", 10) == "full"
    scene.accepts("b", 10)


def test_each_source_may_owe_one_piece_as_long_as_there_is_room_at_all() -> None:
    scene = Scene(" " * 40)
    names = [f"p{number}" for number in range(CLAIMS_COUNT_MAX + 1)]
    scene.ready(*names)
    for piece, name in enumerate(names[:-1]):
        scene.accepts(name, piece)
    assert scene.refuses("p0", 30) == "full"
    assert scene.refuses(names[-1], 30) == "full"


def test_who_owes_nothing_is_told_first_when_there_is_room() -> None:
    scene = Scene(" " * 40)
    names = [f"p{number}" for number in range(CLAIMS_COUNT_MAX)]
    scene.ready(*names, "idle")
    offers = [scene.accepts(name, piece) for piece, name in enumerate(names)]
    scene.wait(0.1)
    for name in [*names[1:], "idle"]:
        scene.refuses(name, 30)
    assert list(wants(scene.piece("p0", offers[0], 0))) == [scene.sessions["idle"]]
    assert wants(scene.piece("p1", offers[1], 1)).keys() == {scene.sessions["p1"]}


def test_the_download_rate_is_kept_and_the_next_piece_asked_for_when_it_may_come() -> None:
    rate = 100.0
    scene = Scene(" " * 50, rate=rate)
    scene.ready("a")
    started, got = scene.now, 0
    while got < 20:
        if scene.budget.admits(PIECE_BYTES, scene.now):
            scene.gets("a", got)
            got += 1
            assert scene.refuses("a", got) == "full"
        due = scene.download.next_deadline(scene.now)
        assert due is not None
        assert due >= scene.now
        effects = scene.tick(due - scene.now)
        assert bool(wants(effects)) == scene.budget.admits(PIECE_BYTES, scene.now)
    assert (got - 1) * PIECE_BYTES / (scene.now - started) == pytest.approx(rate, rel=0.1)


# --- sources that go -------------------------------------------------------------------------------------


def test_a_piece_of_a_lost_source_is_asked_of_others_at_once() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a", "b")
    scene.accepts("a", 0)
    scene.wait(0.1)
    assert scene.lost("a") == [Disconnect(1), Send(2, Want(2, 2, [0, 1]))]
    assert scene.budget.under_way == 0
    scene.accepts("b", 0)


def test_a_peer_that_left_is_dropped_and_not_tried_again() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.accepts("a", 0)
    assert scene.peer_lost("a")[0] == Disconnect(1)
    assert scene.peer_lost("a") == []
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]
    assert scene.found("a") == [Connect(2, "tcp://a:1")]


def test_a_lost_source_is_tried_again_each_time_a_little_later() -> None:
    scene = Scene("  ")
    scene.ready("a")
    pauses = []
    for _ in range(6):
        scene.lost("a")
        lost_at = scene.now
        while not any(isinstance(effect, Connect) for effect in scene.wait(CHECK_SECONDS)):
            assert scene.now - lost_at < 2 * RETRY_SECONDS_MAX
        pauses.append(scene.now - lost_at)
    for pause, expected in zip(pauses, (0.5, 1, 2, 4, 5, 5), strict=True):
        assert expected <= pause <= expected + 2 * CHECK_SECONDS
    assert RETRY_SECONDS_FIRST == 0.5


def test_an_answer_forgives_earlier_failures() -> None:
    scene = Scene("  ")
    scene.ready("a")
    for _ in range(4):
        scene.lost("a")
        scene.wait(RETRY_SECONDS_MAX + 1)
    scene.connected("a")
    scene.status("a")
    scene.lost("a")
    assert [effect for effect in scene.wait(1.0) if isinstance(effect, Connect)]


def test_a_known_peer_at_a_new_address_is_tried_at_once() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.lost("a")
    assert scene.download.found([entry("a", port=2)], scene.now) == [Connect(2, "tcp://a:2")]


def test_sources_that_do_not_answer_a_test_are_dropped_and_tried_again() -> None:
    scene = Scene("  ")
    scene.found("a", "b")
    scene.connected("a")
    effects = scene.wait(TEST_TIMEOUT_SECONDS + CHECK_SECONDS)
    assert Disconnect(1) in effects
    assert Disconnect(2) in effects
    assert [e for e in scene.wait(1.0) if isinstance(e, Connect)]


def test_idle_sources_are_tested_and_those_that_fall_silent_dropped() -> None:
    scene = Scene("  ")
    scene.ready("a", having="  ")
    effects = scene.wait(TEST_IDLE_SECONDS + CHECK_SECONDS)
    assert sent(effects) == [AskTest(1, DIGEST)]
    assert scene.status("a", "  ") == []
    effects = scene.wait(SILENT_SECONDS + CHECK_SECONDS)
    assert Disconnect(1) in effects


def test_a_source_with_a_large_piece_on_a_slow_link_may_be_silent_for_longer() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.accepts("a", 0)
    assert Disconnect(1) not in scene.wait(SILENT_SENDING_SECONDS - 1)
    assert Disconnect(1) in scene.wait(2.0)


def test_a_slow_source_whose_piece_was_given_up_may_finish_sending_it() -> None:
    """What it says waits behind the piece: to drop it for its silence would throw the piece away."""
    scene = Scene(" " * 30)
    scene.ready("a", "b")
    scene.gets("b", 10, 0.5)
    offer = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + 1.0)
    assert scene.download.sources[0].late
    assert Disconnect(1) not in scene.wait(8.0, answering="b")
    assert Write(1, 0) in scene.piece("a", offer, 0)


def test_a_resumed_download_goes_back_to_its_sources_at_once() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.accepts("a", 0)
    assert scene.download.pause(scene.now) == [Send(1, Bye(1)), Disconnect(1)]
    assert scene.download.next_deadline(scene.now) is None
    assert scene.tick() == []
    assert scene.found("b") == []
    resumed = scene._then(scene.download.resume(scene.now))
    assert [e for e in resumed if isinstance(e, Connect)] == [Connect(2, "tcp://a:1"), Connect(3, "tcp://b:1")]
    assert scene.budget.under_way == 0


def test_a_write_that_ends_while_paused_counts() -> None:
    scene = Scene("  ")
    scene.ready("a")
    offers = [scene.accepts("a", 0), scene.accepts("a", 1)]
    for piece, offer in enumerate(offers):
        scene.piece("a", offer, piece)
    scene.download.pause(scene.now)
    assert scene.written(0) == [Gained(0)]
    assert scene.written(1) == [Gained(1), Completed()]


def test_closing_gives_back_the_budget() -> None:
    scene = Scene("    ")
    scene.ready("a")
    offer = scene.accepts("a", 0)
    scene.accepts("a", 1)
    scene.piece("a", offer, 0)
    scene.download.close(scene.now)
    assert scene.budget.under_way == PIECE_BYTES, "what is being written is still in memory"
    scene.download.write_failed(0)
    assert scene.budget.under_way == 0


def test_a_piece_that_arrives_after_closing_is_nothing() -> None:
    scene = Scene("  ")
    scene.ready("a")
    offer = scene.accepts("a", 0)
    scene.download.close(scene.now)
    assert [e for e in scene.piece("a", offer, 0) if not isinstance(e, NeedSources | Connect)] == []


def test_a_write_that_failed_for_our_own_reasons_makes_the_piece_missing_again() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a")
    offer = scene.accepts("a", 0)
    scene.piece("a", offer, 0)
    scene.wait(0.1)
    scene.download.write_failed(0)
    assert wants(scene.tick()) == {1: [0, 1]}
    assert scene.download.banned == {}


# --- what sources say ------------------------------------------------------------------------------------


def test_later_means_its_pieces_are_missing_and_it_is_asked_again_in_a_while() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a")
    scene.accepts("a", 0)
    assert sent(scene.later("a")) == []
    assert scene.download.sources[0].state is SourceState.LATER
    assert scene.budget.under_way == 0
    assert sent(scene.wait(TEST_IDLE_SECONDS + CHECK_SECONDS)) == [AskTest(1, DIGEST)]
    assert wants(scene.status("a")) == {1: [0, 1]}


def test_an_offer_of_a_source_that_is_not_ready_is_refused() -> None:
    """Or it could hold every claim without ever sending: only sources that are ready are looked after."""
    scene = Scene("  ")
    scene.ready("a")
    scene.later("a")
    assert scene.refuses("a", 0) == "unknown"
    scene.found("b")
    scene.connected("b")
    assert scene.refuses("b", 0) == "unknown"


def test_no_means_goodbye_until_it_is_tried_again() -> None:
    scene = Scene("  ")
    scene.found("a")
    scene.connected("a")
    assert scene.no("a") == [Disconnect(1)]
    assert [e for e in scene.wait(1.0) if isinstance(e, Connect)] == [Connect(2, "tcp://a:1")]


def test_a_forgotten_session_is_opened_again_and_its_pieces_are_missing() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a")
    scene.accepts("a", 0)
    scene.wait(0.1)
    effects = scene.no_session("a")
    assert effects[0] == Send(1, AskTest(1, DIGEST))
    assert wants(scene.status("a")) | wants(effects) == {1: [0, 1]}


def test_a_withdrawn_offer_makes_its_piece_missing() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a", "b")
    offer = scene.accepts("a", 0)
    scene.wait(0.1)
    assert wants(scene.withdrawn("a", offer)) == {1: [0, 1], 2: [0, 1]}
    assert scene.withdrawn("a", 99) == []


def test_a_piece_not_held_is_asked_of_others_only() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a")
    scene.ready("b", having="* ")
    scene.accepts("a", 0)
    scene.wait(0.1)
    assert wants(scene.not_held("a", 0)) == {2: [0]}
    assert wants(scene.have("a", 0)) == {1: [0, 1]}
    assert wants(scene.not_held("b", 1)) == {}


def test_status_news_change_what_is_asked_and_no_news_nothing() -> None:
    scene = Scene("   ", sequential=True)
    scene.ready("a", having="*  ")
    scene.accepts("a", 0)
    scene.wait(0.1)
    assert scene.status("a", "*  ") == []
    assert wants(scene.status("a", "* *")) == {1: [2]}
    scene.wait(0.1)
    assert wants(scene.status("a")) == {1: [1, 2]}
    scene.wait(0.1)
    scene.status("a", "** ")
    assert scene.download.nobody_has() == [2]


@pytest.mark.parametrize(
    "message",
    [
        Status(1, "partial", b"\xff", 0),
        Status(1, "partial", b"", 0),
        Status(1, "partial", b"\x00\x00", 0),
    ],
)
def test_a_wrong_bitfield_bans(message: Status) -> None:
    scene = Scene("   ")
    scene.found("a")
    scene.connected("a")
    effects = scene.says("a", message)
    assert effects[0] == Disconnect(1)
    assert isinstance(effects[1], Banned)
    assert effects[1].peer == "a"


def test_pieces_out_of_range_ban() -> None:
    scene = Scene("   ")
    scene.ready("a", "b", "c")
    for name, effects in (
        ("a", scene.offer("a", 3)),
        ("b", scene.have("b", 1, 3)),
        ("c", scene.not_held("c", 3)),
    ):
        assert [e.peer for e in effects if isinstance(e, Banned)] == [name]
    assert sorted(scene.download.banned) == ["a", "b", "c"]


def test_a_message_that_is_none_bans_and_an_error_ends_the_session() -> None:
    scene = Scene("   ")
    scene.ready("a", "b", "c")
    effects = scene.download.misbehaved(scene.sessions["a"], "sends nonsense", scene.now)
    assert effects == [Disconnect(1), Banned("a", "name-a", "sends nonsense")]
    assert scene.says("b", Error(0, "bad", "no"))[0] == Disconnect(2)
    assert list(scene.download.banned) == ["a"]
    assert scene.says("c", ManifestPage(3, 0, 0, b"")) == []


def test_words_of_nobody_are_nothing() -> None:
    scene = Scene("   ")
    assert scene.download.handle(77, Status(77, "complete", b"", 0), scene.now) == []
    assert scene.download.connected(77, scene.now) == []
    assert scene.download.disconnected(77, scene.now) == []
    assert scene.download.misbehaved(77, "x", scene.now) == []
    assert scene.peer_lost("nobody") == []


# --- pieces that are not what they should be -------------------------------------------------------------


def test_a_corrupt_piece_costs_the_source_its_place_and_is_fetched_elsewhere() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a", "b")
    offer = scene.accepts("a", 0)
    kept = scene.accepts("a", 1)
    scene.piece("a", offer, 0)
    scene.wait(0.1)
    effects = scene.written(0, good=False)
    assert effects[:2] == [Disconnect(1), Banned("a", "name-a", "piece 0 does not have its digest")]
    assert wants(effects) == {2: [0, 1]}
    assert scene.piece("a", kept, 1) == []
    assert not [e for e in scene.found("a") + scene.wait(20.0) if e == Connect(3, "tcp://a:1")]


def test_a_corrupt_piece_of_a_source_that_is_gone_bans_it_too() -> None:
    scene = Scene("  ")
    scene.ready("a")
    offer = scene.accepts("a", 0)
    scene.piece("a", offer, 0)
    scene.lost("a")
    assert scene.written(0, good=False)[0] == Banned("a", "name-a", "piece 0 does not have its digest")
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]


@pytest.mark.parametrize(("offer", "piece", "size"), [(99, 0, 100), (1, 1, 100), (1, 0, 99), (1, 0, 0), (1, 0, 101)])
def test_pieces_nobody_asked_for_ban(offer: int, piece: int, size: int) -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.offer("a", 0, number=1)
    effects = scene.piece("a", offer, piece, size)
    assert effects[0] == Disconnect(1)
    assert isinstance(effects[1], Banned)
    assert scene.budget.under_way == 0


def test_the_last_piece_is_short() -> None:
    scene = Scene("  ")
    scene.ready("a")
    offer = scene.accepts("a", 1)
    assert isinstance(scene.piece("a", offer, 1, size=60)[1], Write)
    assert scene.download.received_from == {"a": 60}


# --- claims that take too long ---------------------------------------------------------------------------


def two_sources(pieces: int = 30, seconds: float = 0.5) -> Scene:
    """a and b are complete; b takes ``seconds`` a piece."""
    scene = Scene(" " * pieces)
    scene.ready("a", "b")
    scene.gets("b", pieces - 1, seconds)
    return scene


def test_an_overdue_piece_is_given_to_others() -> None:
    scene = two_sources()
    scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN - 0.1)
    assert scene.refuses("b", 0) == "claimed"
    assert 0 in wants(scene.wait(0.1 + CHECK_SECONDS))[2]
    scene.accepts("b", 0)


def test_the_late_copy_is_used_while_nobody_else_sends_the_piece() -> None:
    scene = two_sources()
    offer = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    assert scene.piece("a", offer, 0) == [Send(1, Received(1, offer)), Write(1, 0)]
    assert scene.refuses("b", 0) == "claimed"
    assert scene.download.duplicate_bytes == 0


def test_whichever_copy_comes_first_is_used_and_the_other_is_a_duplicate() -> None:
    scene = two_sources()
    late = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    second = scene.accepts("b", 0)
    assert Write(1, 0) in scene.piece("a", late, 0)
    assert scene.piece("b", second, 0) == [Send(2, Received(2, second))]
    assert scene.download.duplicate_bytes == PIECE_BYTES
    assert scene.download.banned == {}


def test_a_late_copy_of_a_piece_that_is_done_is_a_duplicate() -> None:
    scene = two_sources()
    late = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    scene.gets("b", 0)
    assert scene.piece("a", late, 0) == [Send(1, Received(1, late))]
    assert scene.download.duplicate_bytes == PIECE_BYTES


def test_a_late_copy_of_wrong_size_bans() -> None:
    scene = two_sources()
    late = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    assert isinstance(scene.piece("a", late, 0, size=1)[1], Banned)


def test_a_source_that_lost_a_piece_is_left_alone_while_others_can_serve() -> None:
    scene = two_sources()
    scene.accepts("a", 0)
    effects = scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    assert scene.refuses("a", 1) == "full", "what it was asked before does not count any more"
    assert wants(effects)[1] == []
    assert not wants(scene.wait(SLOW_SECONDS - 1, answering="ab")).get(1)
    assert len(wants(scene.wait(1 + CHECK_SECONDS, answering="ab"))[1]) == 29


def test_a_source_left_alone_is_asked_for_what_nobody_else_has() -> None:
    scene = Scene(" " * 4, sequential=True)
    scene.ready("a")
    scene.ready("b", having="** *")
    scene.gets("b", 3, 0.5)
    scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    assert scene.refuses("a", 1) == "full"
    assert scene.accepts("a", 2)


def test_a_late_arrival_tells_how_slow_the_source_is() -> None:
    scene = two_sources()
    offer = scene.accepts("a", 0)
    scene.wait(8.0)
    scene.piece("a", offer, 0)
    assert scene.download.sources[0].piece_seconds == pytest.approx(8.0)


def test_without_experience_a_first_piece_may_take_its_time() -> None:
    scene = Scene("  ")
    scene.ready("a", "b")
    scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_FIRST - CHECK_SECONDS, answering="ab")
    assert scene.refuses("b", 0) == "claimed"
    scene.wait(2 * CHECK_SECONDS, answering="ab")
    scene.accepts("b", 0)


def test_a_piece_that_nobody_else_has_is_waited_for() -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.ready("b", having="  *")
    scene.gets("b", 2, 0.1)
    scene.accepts("a", 0)
    scene.wait(STUCK_SECONDS / 2, answering="ab")
    assert scene.refuses("b", 0) == "claimed"


def test_the_endgame_is_less_patient() -> None:
    scene = Scene("   ")
    scene.ready("a", "b")
    scene.gets("b", 0, 0.05)
    scene.accepts("a", 1)
    last = scene.accepts("b", 2)
    scene.wait(0.05)
    scene.piece("b", last, 2)
    scene.written(2)
    scene.wait(ENDGAME_SECONDS_MIN + CHECK_SECONDS)
    scene.accepts("b", 1)


def test_a_source_that_owes_a_piece_for_too_long_is_started_over_with_even_when_it_is_the_only_one() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.accepts("a", 0)
    assert Disconnect(1) not in scene.wait(STUCK_SECONDS - 1, answering="a")
    assert Disconnect(1) in scene.wait(2.0, answering="a")


# --- when there are none, or too many --------------------------------------------------------------------


def test_sources_are_asked_for_when_nobody_can_send_what_is_missing() -> None:
    scene = Scene("  ")
    assert [type(e) for e in scene.wait(2 * NEED_SOURCES_SECONDS + CHECK_SECONDS)] == [NeedSources] * 2
    scene.ready("a", having="* ")
    assert NeedSources() not in scene.wait(2.0)
    scene.status("a", "* ")
    scene.gets("a", 0)
    assert NeedSources() in scene.wait(2.0)
    assert scene.download.nobody_has() == [1]


def test_no_more_sources_at_a_time_than_allowed() -> None:
    scene = Scene("  ")
    names = [f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX + 5)]
    connects = [e for e in scene.found(*names) if isinstance(e, Connect)]
    assert len(connects) == SOURCES_PER_DOWNLOAD_COUNT_MAX
    scene.connected("p0")
    assert [e.endpoint for e in scene.lost("p0") if isinstance(e, Connect)] == ["tcp://p64:1"]


def test_sources_that_have_nothing_make_room_for_others_when_nobody_can_help() -> None:
    """All places taken by peers with nothing to give, and the seeder the one who is left over."""
    scene = Scene("  ")
    names = [f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    scene.ready(*names, having="  ")
    scene.found("seeder")
    assert "tcp://seeder:1" in [e.endpoint for e in scene.wait(2.0) if isinstance(e, Connect)]
