"""One download against scripted sources: offers it has no room for, and pieces that take too long."""

from __future__ import annotations

import pytest

from node.downloader.claims import (
    CLAIMS_BUSY_COUNT,
    CLAIMS_COUNT_MAX,
    CLAIMS_SHARED_COUNT,
    ENDGAME_SECONDS_MIN,
    OVERDUE_SECONDS_FIRST,
    OVERDUE_SECONDS_MIN,
    SLOW_SECONDS,
    STUCK_SECONDS,
)
from node.downloader.download import CHECK_SECONDS, Gained, Write
from node.downloader.source import (
    Banned,
    Disconnect,
    Send,
)
from node.rate_limit import Share
from protocol.messages import Received
from tests.node.downloader.scene import PIECE_BYTES, Scene, wants

# --- offers refused ---------------------------------------------------------------------------------------


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
    assert scene.piece("a", first, 0) == [Send(1, Received(1, first)), Write((0,))]
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


def test_sources_share_what_may_be_owed() -> None:
    """Or the one that offers first would take everything, and keep others waiting that are as fast or faster."""
    scene = Scene(" " * 20)
    scene.spare = True
    scene.ready("a", "b")
    for piece in range(CLAIMS_SHARED_COUNT // 2):
        scene.accepts("a", piece)
    assert scene.refuses("a", 10) == "full"
    scene.accepts("b", 10)


def test_each_source_may_owe_one_piece_as_long_as_there_is_room_at_all() -> None:
    scene = Scene(" " * 40)
    names = [f"p{number}" for number in range(CLAIMS_COUNT_MAX + 1)]
    scene.spare = True
    scene.ready(*names)
    for piece, name in enumerate(names[:-1]):
        scene.accepts(name, piece)
    assert scene.refuses("p0", 30) == "full"
    assert scene.refuses(names[-1], 30) == "full"


def busy(*names: str, having: str | None = None) -> Scene:
    """Sources that have other receivers too; as many pieces are accepted as of such sources at once."""
    scene = Scene(" " * 40)
    scene.ready(*names, having=having)
    for piece, name in enumerate(names[:CLAIMS_BUSY_COUNT]):
        scene.accepts(name, piece)
    return scene


def test_of_busy_sources_few_pieces_are_accepted_at_once() -> None:
    scene = busy(*"abcdef")
    assert scene.refuses("e", 10) == "full"
    scene.spare = True
    scene.accepts("f", 11)


def test_there_is_room_for_one_more_of_those_that_nobody_else_has() -> None:
    scene = busy(*"abcde", having="*" * 10 + " " * 30)
    scene.ready("seed")
    assert scene.refuses("e", 9) == "full"
    scene.accepts("seed", 20)
    assert scene.refuses("seed", 21) == "full"


def little_spread() -> Scene:
    """Partial sources have four pieces, and three of them are accepted: one is left to choose from."""
    scene = Scene(" " * 40)
    scene.ready(*"abcd", having="****" + " " * 36)
    scene.ready("seed")
    for piece, name in enumerate("abc"):
        scene.accepts(name, piece)
    scene.spare = True
    return scene


def test_while_little_has_spread_as_much_is_accepted_as_there_is_to_choose_from() -> None:
    scene = little_spread()
    assert scene.refuses("d", 3) == "full"
    scene.have("a", 10, 11)
    scene.accepts("d", 3)


def test_while_little_has_spread_nobody_is_asked_for_offers_that_would_be_refused() -> None:
    scene = little_spread()
    session = scene.sessions["d"]
    assert session not in wants(scene.offer("d", 3))
    assert session in wants(scene.have("a", 10, 11))


def test_who_is_refused_though_there_is_room_is_not_asked_again_before_something_changes() -> None:
    """A complete source has much to spare; what others can send too is not taken of it."""
    scene = busy(*"abcd", having="*" * 10 + " " * 30)
    scene.ready("seed")
    scene.spare = True
    session = scene.sessions["seed"]
    assert session not in wants(scene.offer("seed", 9))
    assert session in wants(scene.withdrawn("a", 1))


def test_what_complete_sources_have_to_spare_is_taken_whatever_partial_ones_lack() -> None:
    scene = Scene("*" + " " * 39)
    scene.ready(*"abcdefgh")
    scene.ready("useless", having="*" + " " * 39)
    scene.spare = True
    for piece, name in enumerate("abcdefgh", 1):
        scene.accepts(name, piece)


def test_a_partial_source_without_anything_new_does_not_keep_back_what_a_complete_one_has_to_spare() -> None:
    scene = Scene("*" + " " * 39)
    scene.ready("seed")
    scene.ready("useless", having="*" + " " * 39)
    scene.spare = True
    for piece in range(1, 6):
        scene.accepts("seed", piece)


def test_the_last_pieces_are_taken_all_at_once() -> None:
    scene = Scene("*" * 37 + "   ")
    scene.ready(*"abc", having=" " + "*" * 39)
    for piece, name in enumerate("abc", 37):
        scene.accepts(name, piece)


def test_who_was_refused_because_another_download_waited_is_asked_at_once_when_it_is_our_turn() -> None:
    scene = Scene("    ", budget_bytes=4 * PIECE_BYTES)
    scene.ready("a")
    served_later = Share(scene.budget)
    served_later.claim(100, scene.now)
    assert not served_later.admits(4 * PIECE_BYTES, scene.now)
    assert scene.sessions["a"] in wants(scene.offer("a", 0))
    scene.accepts("a", 0)


def test_where_all_sources_are_complete_it_does_not_matter_what_has_spread() -> None:
    scene = Scene(" " * 40)
    scene.ready(*"abcd")
    for piece, name in enumerate("abcd"):
        scene.accepts(name, piece)


def test_pieces_of_slow_sources_count_for_less() -> None:
    scene = Scene(" " * 40)
    names = [f"p{number}" for number in range(CLAIMS_BUSY_COUNT + 2)]
    scene.ready(*names)
    for piece, name in enumerate(names):
        scene.gets(name, piece, 0.4 if name in names[:2] else 0.1)
    for piece, name in enumerate(names[:-1], 20):
        scene.accepts(name, piece)
    assert scene.refuses(names[-1], 30) == "full"


def test_what_a_complete_source_has_to_spare_is_left_to_others_where_there_are_partial_ones() -> None:
    scene = busy(*"abcd", having="*" * 10 + " " * 30)
    scene.ready("seed")
    scene.spare = True
    assert scene.refuses("seed", 9) == "full"
    scene.accepts("seed", 20)
    scene.have("a", 21)
    assert scene.refuses("seed", 21) == "full"


def test_what_nobody_else_has_is_accepted_of_a_source_with_something_to_spare_whatever_others_owe() -> None:
    """Else those who have much to spare would keep back the pieces that all of them wait for."""
    scene = busy(*"abcdef", having="*" * 10 + " " * 30)
    scene.ready("seed")
    scene.spare = True
    scene.accepts("e", 8)
    scene.accepts("f", 9)
    scene.accepts("seed", 20)


def test_who_has_something_to_spare_is_told_though_there_is_no_room_for_the_busy() -> None:
    scene = busy(*"abcdef")
    scene.refuses("e", 10)
    scene.spare = True
    offer = scene.accepts("f", 11)
    scene.refuses("f", 12)
    effects = scene.piece("f", offer, 11)
    assert wants([*effects, *scene.tick(0.1)]).keys() == {scene.sessions["f"]}


def test_who_owes_nothing_is_told_first_when_there_is_room() -> None:
    scene = Scene(" " * 40)
    names = [f"p{number}" for number in range(CLAIMS_COUNT_MAX)]
    scene.spare = True
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


# --- claims that take too long ----------------------------------------------------------------------------


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
    assert scene.piece("a", offer, 0) == [Send(1, Received(1, offer)), Write((0,))]
    assert scene.refuses("b", 0) == "claimed"
    assert scene.download.duplicate_bytes == 0


def test_whichever_copy_comes_first_is_used_and_the_other_is_a_duplicate() -> None:
    scene = two_sources()
    late = scene.accepts("a", 0)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    second = scene.accepts("b", 0)
    assert Write((0,)) in scene.piece("a", late, 0)
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
