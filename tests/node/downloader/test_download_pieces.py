"""One download against scripted sources: which piece comes from whom, in pictures of what each source owes."""

from __future__ import annotations

import pytest

from node.downloader.assignments import STARVED_SECONDS
from node.downloader.download import CHECK_SECONDS, Gained, NeedSources, Write
from node.downloader.patience import (
    OVERDUE_FACTOR,
    OVERDUE_SECONDS_FIRST,
    OVERDUE_SECONDS_MIN,
    STARVED_SECONDS_FIRST,
    STUCK_SECONDS,
)
from node.downloader.source import Disconnect, Send
from protocol.limits import PIECES_TOLD_COUNT_MAX
from protocol.messages import Cancel, Follow, Get, Received, Relay, Status
from tests.node.downloader.scene import Scene, asked, cancelled, relays, sent

# --- what sources promise ---------------------------------------------------------------------------------


def test_promised_pieces_are_open_no_more() -> None:
    scene = Scene("      ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1, 2])
    assert scene.open() == "   ***"
    assert scene.owed("a") == [1, 2]
    scene.gets("a", 1)
    assert scene.owed("a") == [2]
    assert asked(scene.idle("b", "** *  ")) == {2: [3]}


def test_what_a_source_took_back_is_not_waited_for_though_it_is_promised_in_a_piece_that_comes_later() -> None:
    """A word goes at once, a piece when it is read."""
    scene = Scene("    ")
    scene.ready("a")
    scene.not_held("a", 2)
    scene.piece("a", 0, promised=[1, 2])
    assert scene.owed("a") == [1]


def test_what_a_source_promises_again_is_not_cancelled() -> None:
    scene = Scene("    ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1, 2])
    effects = scene.piece("a", 1, promised=[2, 2, 3])
    assert not [effect for effect in effects if isinstance(getattr(effect, "message", None), Cancel)]
    assert scene.owed("a") == [2, 3]


def test_a_promise_that_crossed_its_cancelling_is_none() -> None:
    scene = Scene("     ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    assert asked(scene.idle("b", "**   ")) == {}
    scene.piece("b", 1)
    scene.download.write_failed(1)
    scene.piece("a", 2, promised=[1, 3])
    assert scene.owed("a") == [3]
    assert scene.open() == " *  *"


def test_who_promises_a_piece_has_it() -> None:
    scene = Scene("   ")
    scene.ready("a", having="*  ")
    scene.ready("b", having="*  ")
    scene.piece("a", 0, promised=[1])
    scene.piece("b", 1)
    scene.lost("b")
    scene.download.write_failed(1)
    assert scene.download.nobody_has() == [2]


def test_what_is_promised_twice_the_second_need_not_send() -> None:
    scene = Scene("*         ")
    scene.ready("a", "b", idle=False)
    scene.piece("a", 1, promised=[2, 3])
    scene.gets("a", 2)
    effects = scene.piece("b", 4, promised=[5, 3, 2, 0])
    assert cancelled(effects) == {2: [3, 2, 0]}
    assert scene.owed("a") == [3]
    assert scene.owed("b") == [5]


def test_more_is_taken_back_than_one_message_names() -> None:
    scene = Scene(" " * (PIECES_TOLD_COUNT_MAX + 10), checked=False)
    scene.ready("a", "b")
    everything = range(1, PIECES_TOLD_COUNT_MAX + 10)
    scene.piece("a", 0, promised=everything)
    effects = scene.piece("b", 0, promised=everything)
    told = [message.pieces for message in sent(effects) if isinstance(message, Cancel)]
    assert [piece for pieces in told for piece in pieces] == list(everything)
    assert [len(pieces) for pieces in told] == [PIECES_TOLD_COUNT_MAX, 9]


def test_a_piece_that_comes_from_another_than_promised_it_is_taken_back_at_once() -> None:
    scene = Scene("      ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1, 2])
    assert cancelled(scene.piece("b", 2)) == {1: [2]}
    assert scene.owed("a") == [1]
    assert cancelled(scene.piece("a", 1)) == {}


def test_what_a_source_that_is_gone_promised_is_open_again() -> None:
    scene = Scene("     ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1, 2])
    scene.idle("b", "  ** ")
    assert scene.open() == "    *", "3 was asked for"
    scene.lost("a")
    assert scene.open() == " ** *"
    assert asked(scene.wait(CHECK_SECONDS)) == {2: [2]}


def test_a_piece_that_could_not_be_used_is_promised_by_nobody() -> None:
    scene = Scene("   ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    scene.piece("b", 1)
    scene.written(1, good=False)
    assert scene.open() == " **"
    assert scene.owed("a") == []


# --- idle sources are asked -------------------------------------------------------------------------------


def test_idle_sources_are_asked_for_open_pieces_and_go_on_as_long_as_there_are_any() -> None:
    scene = Scene("****      ", seed=2)
    scene.ready(*(f"p{number}" for number in range(16)))
    effects = scene.idle("p0", "*******   ")
    assert [len(pieces) for pieces in asked(effects).values()] == [2], "one on its way, one that follows it"
    first, second = scene.owed("p0")
    assert {first, second} < {4, 5, 6}
    effects = scene.gets("p0", first)
    assert asked(effects) == {1: [15 - first - second]}
    scene.gets("p0", second, 15 - first - second)
    assert asked(scene.wait(1.0)) == {}, "it has nothing else"
    assert scene.open() == "       ***"


def test_who_is_busy_is_asked_for_nothing() -> None:
    scene = Scene("      ")
    scene.ready("a", "b")
    assert asked(scene.wait(1.0)) == {}
    assert scene.idle("a", "*     ") == [Send(1, Get(1, [0]))]
    scene.piece("a", 0)
    scene.piece("a", 1)
    assert asked(scene.status("a")) == {}


def test_what_nobody_relays_is_asked_of_busy_sources_when_nothing_has_come_for_long() -> None:
    """They serve others as well, and so may never be idle. One that only repeats itself sends nothing."""
    scene = Scene("    ")
    scene.ready("a", "b")
    scene.gets("a", 0, 1)
    assert asked(scene.wait(STUCK_SECONDS / 2, "ab")) == {}
    scene.piece("a", 0)
    assert asked(scene.wait(STUCK_SECONDS / 2 - CHECK_SECONDS, "ab")) == {}
    ((_, (first,)),) = asked(scene.wait(2 * CHECK_SECONDS, "ab")).items()
    assert asked(scene.wait(1.0, "ab")) == {}, "one at a time: it takes from what they push to others"
    name = next(source.entry.peer for source in scene.download.sources if source.gets)
    assert list(asked([*scene.gets(name, first), *scene.wait(CHECK_SECONDS, "ab")]).values()) == [[5 - first]]


def test_a_download_to_which_something_comes_again_asks_no_busy_source() -> None:
    scene = Scene(" " * 40)
    scene.ready("a")
    ((some,),) = asked(scene.wait(STARVED_SECONDS_FIRST + CHECK_SECONDS, "a")).values()
    scene.gets("a", 39 if some != 39 else 38)
    scene.wait(CHECK_SECONDS, "a")
    assert asked([*scene.gets("a", some), *scene.wait(1.0, "a")]) == {}


def test_a_download_that_was_paused_does_not_count_that_as_waiting() -> None:
    scene = Scene("    ")
    scene.ready("a")
    scene.gets("a", 0, 1)
    scene.download.pause(scene.now)
    scene.now += 100.0
    scene.download.resume(scene.now)
    scene.connected("a")
    scene.status("a")
    assert asked(scene.wait(2 * CHECK_SECONDS)) == {}


def test_who_pushes_is_idle_no_more_and_who_was_assigned_pieces_still_is() -> None:
    scene = Scene("          ")
    scene.ready("a", "b")
    for relay in (True, False):
        scene.idle("a", "**        ")
        scene.gets("a", *scene.owed("a"))
        assert scene.owed("a") == []
        scene.piece("a", 5 + relay, relay=relay)
        source = scene.source("a")
        assert source is not None
        assert source.idle == relay


def test_the_rarest_piece_is_asked_for() -> None:
    scene = Scene("*" * 40 + "    ")
    scene.ready("a", having="*" * 40 + "** *")
    scene.ready("b", having="*" * 40 + "*   ")
    names = [f"p{number}" for number in range(20)]  # with many the window is two pieces
    scene.ready(*names, having="*" * 40 + "*** ")
    effects = scene.idle("a", "*" * 40 + "** *")
    assert asked(effects) == {1: [43, 41]}


def slow_and_quick(seconds: float = 1.0) -> Scene:
    """a takes ``seconds`` a piece and has promised 2 to 9; b has taken half a second for one that it was asked for."""
    scene = Scene(" " * 10)
    scene.ready("a", "b")
    scene.piece("a", 0, promised=range(2, 10))
    scene.wait(seconds)
    scene.gets("a", 2)
    scene.idle("b", " *        ")
    scene.wait(0.5)
    scene.gets("b", 1)
    return scene


def test_an_idle_source_is_asked_for_promised_pieces_that_would_come_later() -> None:
    scene = slow_and_quick()
    (pieces,) = asked(effects := scene.idle("b")).values()
    assert cancelled(effects) == {1: pieces}
    assert pieces
    assert 3 not in pieces, "which is coming"
    assert scene.owed("a") == [piece for piece in range(3, 10) if piece not in pieces]
    kinds = [type(message) for message in sent(effects)]
    assert kinds.index(Cancel) < kinds.index(Get)


def test_a_source_is_not_asked_for_what_was_taken_back_there_as_long_as_another_owes_it() -> None:
    scene = slow_and_quick()
    (taken,) = asked(scene.idle("b")).values()
    for piece in scene.owed("a"):
        scene.not_held("a", piece)
    slow = scene.source("b")
    assert slow is not None
    slow.interval.value = 100.0
    asked_of_a = {piece for some in asked(scene.idle("a", "*" * 10)).values() for piece in some}
    assert asked_of_a, "or it was not able to send anything"
    assert not asked_of_a & set(taken)
    effects = [effect for piece in taken for effect in scene.not_held("b", piece)]
    assert set(asked([*effects, *scene.idle("a", "*" * 10)])[1]) <= set(taken), "nobody owes it any more"


def test_open_pieces_come_before_promised_ones() -> None:
    scene = slow_and_quick()
    scene.not_held("a", 5)
    assert next(iter(asked(scene.idle("b")).values()))[0] == 5


def test_a_source_that_is_no_quicker_is_not_asked_for_what_comes_soon() -> None:
    scene = slow_and_quick(seconds=0.1)
    assert asked(scene.idle("b")) == {}, "b takes half a second for each, a is through with all before that"


def test_a_piece_asked_of_one_source_may_be_asked_of_another_and_is_taken_back_at_once() -> None:
    scene = Scene(" " * 10)
    scene.ready("a", "b")
    scene.idle("a", "*         ")
    scene.wait(1.0)
    scene.gets("a", 0)
    scene.idle("b", " *        ")
    scene.wait(0.1)
    scene.gets("b", 1)
    scene.idle("a")
    late = scene.owed("a")
    assert len(late) == 8
    taken = asked(effects := scene.idle("b"))[2]
    assert set(taken) < set(late)
    assert cancelled(effects) == {1: taken}


# --- sources that take too long ---------------------------------------------------------------------------


def test_an_overdue_piece_is_open_to_others() -> None:
    scene = Scene("      ")
    scene.ready("a", "b")
    scene.piece("b", 3, promised=[0])
    scene.gets("b", 0, seconds=0.1)
    scene.piece("a", 1, promised=[2])
    scene.wait(OVERDUE_SECONDS_MIN - CHECK_SECONDS)
    assert scene.owed("a") == [2]
    scene.wait(2 * CHECK_SECONDS)
    assert scene.owed("a") == []
    assert scene.open() == "  * **"
    assert asked(scene.idle("b", "  *   ")) == {2: [2]}


def test_a_push_that_is_overdue_may_still_come_and_one_that_was_asked_for_is_taken_back() -> None:
    """Who pushes sends to all in order: it is the queue that is slow. Who was asked for it may never have been."""
    scene = Scene("      ")
    scene.ready("a", "b", "c")
    scene.piece("a", 0, promised=[1])
    scene.idle("c", "  *   ")
    effects = scene.wait(OVERDUE_SECONDS_FIRST + CHECK_SECONDS, answering="abc")
    assert cancelled(effects) == {3: [2]}
    assert scene.open() == " *****"
    scene.idle("b", " *    ")
    effects = scene.piece("a", 1)
    assert Write(1) in effects
    assert cancelled(effects) == {2: [1]}


def test_the_time_allowed_is_measured_by_what_is_usual() -> None:
    scene = Scene(" " * 10)
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[2, 3])
    scene.gets("a", 2, seconds=3.0)
    scene.gets("b", *range(4, 10))
    scene.wait(OVERDUE_FACTOR * 3.0 - CHECK_SECONDS, answering="ab")
    assert scene.owed("a") == [3]
    scene.wait(3 * CHECK_SECONDS, answering="ab")
    assert scene.owed("a") == []


def test_a_piece_that_comes_after_it_was_overdue_took_all_that_time() -> None:
    """Else the source would seem to be quick, and be given up soon for each of the next."""
    scene = Scene("          ", sequential=True)
    scene.ready("a", "b")
    source = scene.source("a")
    assert source is not None
    assert source.gets
    scene.wait(OVERDUE_SECONDS_FIRST + CHECK_SECONDS, "ab")
    assert not source.gets, "b is asked"
    scene.wait(OVERDUE_SECONDS_FIRST, "ab")
    assert source.gets
    scene.piece("a", 0)
    assert source.interval.value == pytest.approx(2 * OVERDUE_SECONDS_FIRST + CHECK_SECONDS)


def test_a_piece_that_nobody_else_has_is_waited_for() -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.ready("b", having="*  ")
    scene.gets("b", 0, seconds=0.1)
    scene.piece("a", 1, promised=[2])
    scene.wait(STUCK_SECONDS / 2, answering="ab")
    assert scene.owed("a") == [2]


def test_no_source_is_overdue_before_all_that_may_come_could_have_come() -> None:
    """On a slow link what it owes waits behind what others send."""
    scene = Scene(" " * 10)
    scene.ready("a", "b")
    scene.gets("b", 0, 1, seconds=1.0)
    scene.piece("a", 2, promised=[3])
    may_come, pace = scene.credit("a") + scene.credit("b"), 0.75
    scene.wait(may_come * pace - CHECK_SECONDS, answering="ab")
    assert scene.owed("a") == [3]
    scene.wait(3 * CHECK_SECONDS, answering="ab")
    assert scene.owed("a") == []


def test_an_overdue_source_is_asked_for_what_only_it_has_until_it_sends_something() -> None:
    scene = Scene("      ")
    scene.ready("a")
    scene.ready("b", having="* ****")
    scene.idle("a", "**    ")
    scene.wait(OVERDUE_SECONDS_FIRST + CHECK_SECONDS, answering="b")
    assert scene.owed("a") == [1], "nobody else has it"
    assert asked(scene.idle("a", "**    ")) == {}
    assert asked(scene.piece("a", 1)) == {1: [0]}


def test_where_all_take_too_long_another_one_is_asked_each_time() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a", "b", "c")
    effects = scene.wait(5 * OVERDUE_SECONDS_FIRST, answering="abc")
    assert [get.session for get in sent(effects) if isinstance(get, Get)][:4] == [2, 3, 1, 2]


def test_who_has_a_stock_and_assigns_nothing_does_not_keep_others_from_assigning() -> None:
    scene = Scene("      ")
    assert relays(scene.ready("a", stock=True)) == {1: 1}
    assert relays(scene.ready("b", stock=True)) == {}
    assert relays(scene.wait(OVERDUE_SECONDS_FIRST - CHECK_SECONDS)) == {}
    assert relays(scene.wait(2 * CHECK_SECONDS)) == {2: 1}
    assert relays(scene.status("a", stock=True)) == {}
    assert relays(scene.piece("b", 0, relay=True)) == {2: 2}


def test_a_source_that_owes_what_it_was_asked_for_too_long_is_started_over_with_even_when_it_is_the_only_one() -> None:
    scene = Scene("  ")
    scene.ready("a", idle=True)
    source = scene.source("a")
    assert source is not None
    effects = []
    while scene.now < 100.0 + STUCK_SECONDS - 1:
        effects += scene.wait(1.0)
        scene.status("a")
    assert Disconnect(1) not in effects
    assert Disconnect(1) in scene.wait(2.0)


# --- pieces to relay --------------------------------------------------------------------------------------


def test_a_piece_to_relay_is_gained_as_one_and_counts_against_the_room() -> None:
    scene = Scene("      ")
    scene.ready("b")
    scene.piece("b", 5, promised=[4])
    scene.download.set_room(2)
    assert relays(scene.ready("a", stock=True)) == {2: 2}
    effects = scene.piece("a", 0, relay=True)
    assert relays(effects) == {}, "one is here, one is to come"
    assert scene.written(0) == [Gained(0, relay=True)]
    scene.piece("a", 1, relay=True)
    scene.written(1)
    assert relays(scene.wait(1.0)) == {}
    scene.download.set_room(3)
    assert relays(scene.tick()) == {2: 3}


def test_who_is_owed_nothing_asks_for_one_more_although_its_room_is_used_up() -> None:
    """Its followers take less than it could: else it would get no more than they do."""
    scene = Scene("      ")
    scene.download.set_room(1)
    assert relays(scene.ready("a", stock=True)) == {1: 1}
    assert relays(scene.piece("a", 0, relay=True)) == {1: 2}
    assert relays(scene.piece("a", 1, relay=True, promised=[2])) == {}
    assert relays(scene.piece("a", 2)) == {1: 3}


def test_who_is_pushed_more_than_it_is_assigned_waits_for_room() -> None:
    scene = Scene("          ")
    scene.ready("b")
    scene.download.set_room(1)
    assert relays(scene.ready("a", stock=True)) == {2: 1}
    assert relays(scene.piece("b", 1)) == {}
    assert relays(scene.piece("a", 0, relay=True)) == {2: 2}
    assert relays(scene.piece("b", 3)) == {}
    assert relays(scene.piece("b", 4)) == {}
    assert relays(scene.piece("a", 5, relay=True)) == {}
    assert relays(scene.wait(STARVED_SECONDS + CHECK_SECONDS)) == {2: 3}, "b pushes nothing any more"


def test_pieces_to_relay_are_counted_anew_in_a_new_session() -> None:
    scene = Scene("      ")
    assert relays(scene.ready("a", stock=True)) == {1: 1}
    assert relays(scene.piece("a", 0, relay=True)) == {1: 2}
    scene.no_session("a")
    assert relays(scene.status("a", stock=True)) == {1: 1}


def test_a_piece_that_cannot_be_sent_after_all_does_not_hold_its_place_in_the_room() -> None:
    scene = Scene("      ")
    assert relays(scene.ready("a", stock=True)) == {1: 1}
    scene.not_held("a", 3)
    assert relays(scene.piece("a", 4, relay=True)) == {1: 2}


def test_no_more_is_assigned_than_there_are_open_pieces() -> None:
    scene = Scene("*** * ")
    scene.ready("b", having="     *", idle=True)
    scene.download.set_room(10)
    assert relays(scene.ready("a", stock=True)) == {2: 1}
    assert scene.open() == "   *  "


@pytest.mark.parametrize("damaged", [True, False])
def test_a_piece_to_relay_that_could_not_be_used_counts_no_more(damaged: bool) -> None:
    scene = Scene("      ")
    scene.ready("c")
    scene.piece("c", 5, promised=[4])
    scene.ready("a", "b", stock=True)
    scene.download.set_room(1)
    scene.tick()
    scene.piece("a", 0, relay=True)
    assert relays(scene.wait(1.0)) == {}
    if damaged:
        effects = scene.written(0, good=False)
    else:
        scene.download.write_failed(0)
        effects = scene.tick()
    assert relays(effects) == ({3: 1} if damaged else {2: 2})


def test_sources_are_asked_to_assign_as_many_each_and_told_what_others_assigned() -> None:
    scene = Scene(" " * 20)
    scene.download.set_room(4)
    scene.found("a", "b", "idle")
    for name in ("a", "b", "idle"):
        scene.connected(name)
    for session in (1, 2):
        scene.download.handle(session, Status(session, "complete", stock=True), scene.now)
    assert relays(scene.status("idle")) == {1: 2, 2: 2}
    scene.piece("a", 3, relay=True)
    scene.piece("a", 5, relay=True)
    scene.piece("b", 4, relay=True)
    scene.piece("idle", 6, promised=[9])
    scene.piece("b", 7, relay=True)
    scene.download.set_room(6)
    assert sent(scene.tick()) == [Relay(1, 3, [4, 7]), Relay(2, 3, [3, 5])]
    scene.download.set_room(8)
    assert sent(scene.tick()) == [Relay(1, 4, []), Relay(2, 4, [])], "said once"
    scene.piece("b", 0, promised=[1])
    scene.download.set_room(9)
    assert Relay(1, 5, [0, 1]) in sent(scene.tick()), "what b pushes of its own"


def test_a_source_without_stock_is_asked_for_none_and_what_it_was_asked_for_is_asked_elsewhere() -> None:
    scene = Scene("          ")
    scene.download.set_room(3)
    scene.ready("b")
    assert relays(scene.ready("a", stock=True)) == {2: 3}
    assert relays(scene.status("b", stock=True)) == {}
    scene.piece("a", 0, relay=True)
    assert relays(scene.status("a")) == {1: 2}
    scene.status("b")
    assert relays(scene.status("a", stock=True)) == {2: 3}, "what it was asked for before it has forgotten"


def test_a_piece_server_that_starts_again_counts_from_nothing() -> None:
    """What it relays from now on are the pieces that are still being written."""
    scene = Scene("          ")
    scene.ready("b")
    scene.piece("b", 9, promised=[8])
    scene.ready("a", stock=True)
    scene.download.set_room(3)
    scene.tick()
    for piece in range(3):
        scene.piece("a", piece, relay=True)
    scene.written(0)
    scene.download.restart_relaying()
    scene.download.set_room(3)
    assert relays(scene.tick()) == {2: 4}


def test_what_others_relay_is_known_from_how_it_came() -> None:
    scene = Scene("      ")
    scene.ready("a", "b", stock=True)
    scene.piece("a", 0, relay=True)
    scene.gets("b", 1)
    scene.written(0)
    scene.piece("b", 2)
    scene.written(2, good=False)
    assert list(scene.download.pieces.spread.indices()) == [1]


# --- alone, and in order ----------------------------------------------------------------------------------


def test_a_receiver_that_is_alone_asks_by_number_and_is_assigned_nothing() -> None:
    scene = Scene(" " * 100)
    scene.download.set_room(5)
    effects = scene.ready("a", stock=True, alone=True)
    assert relays(effects) == {}
    assert len(asked(effects)[1]) > 1
    first = scene.owed("a")[0]
    scene.piece("a", first, relay=True)
    assert relays(scene.status("a", stock=True)) == {1: 5}, "somebody has joined"


def test_a_receiver_that_is_alone_with_a_source_that_relays_waits_for_what_comes() -> None:
    scene = Scene("          ")
    assert asked(scene.ready("a", alone=True)) == {}


def test_in_order() -> None:
    """What is pushed comes in whatever order; so nothing is."""
    scene = Scene("** *" + " " * 60, sequential=True)
    scene.download.set_room(5)
    (follow, *_, get) = sent(scene.ready("a", stock=True))
    assert isinstance(follow, Follow)
    assert not follow.push
    assert isinstance(get, Get)
    count = len(get.pieces)
    assert get.pieces == [2, *range(4, 3 + count)]
    assert asked(scene.gets("a", 2)) == {1: [3 + count]}
    scene.ready("b")
    assert scene.owed("b")[0] == 4 + count
    assert relays(scene.wait(1.0, answering="ab")) == {}
    scene.lost("a")
    scene.gets("b", *scene.owed("b"))
    assert scene.owed("b")[0] == 4, "the first open one"


def test_who_can_send_nothing_that_is_open_is_no_reason_to_look_for_others_while_somebody_owes_it() -> None:
    scene = Scene("   ")
    scene.ready("a", having="***")
    scene.piece("a", 0, promised=[1])
    scene.status("a", "** ")
    assert NeedSources() not in scene.wait(1.5, answering="a")
    scene.gets("a", 1)
    assert NeedSources() in scene.wait(1.5, answering="a")


def test_every_piece_is_acknowledged_once() -> None:
    scene = Scene(" " * 10)
    scene.ready("a", "b")
    told = []
    for piece in range(5):
        told += sent(scene.piece("a", piece))
        told += sent(scene.piece("b", piece))
    counts = {1: 0, 2: 0}
    for message in told:
        if isinstance(message, Received):
            counts[message.session] += message.count
    assert counts == {1: 5, 2: 5}


@pytest.mark.parametrize("name", ["a", "b"])
def test_whoever_sends_it_first(name: str) -> None:
    scene = Scene("   ")
    scene.ready("a", "b")
    scene.piece("a", 0, promised=[1])
    scene.idle("b", " **")
    assert scene.piece(name, 1)[0] == Write(1)
    assert scene.written(1) == [Gained(1, relay=False)]
    scene.download.check_invariants()
