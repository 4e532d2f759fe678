"""One download against scripted sources: who come, go, fall silent, are too few or too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from node.downloader.download import (
    CHECK_SECONDS,
    Completed,
    Effect,
    Gained,
    NeedSources,
    Write,
)
from node.downloader.patience import SILENT_SENDING_SECONDS, STUCK_SECONDS
from node.downloader.sessions import MAKE_ROOM_COUNT, NEED_SOURCES_SECONDS, PARDON_SECONDS
from node.downloader.source import (
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
    Connect,
    Disconnect,
    Send,
)
from protocol.limits import SOURCES_PER_DOWNLOAD_COUNT_MAX, TEST_IDLE_SECONDS, TEST_TIMEOUT_SECONDS
from protocol.messages import Bye, Piece, SeederEntry, Status
from protocol.messages import Test as AskTest  # a class named Test* would be collected
from tests.node.downloader.scene import DIGEST, PIECE_BYTES, Scene, asked, entry, sent

# --- sources that go --------------------------------------------------------------------------------------


def test_a_piece_of_a_lost_source_is_asked_of_others() -> None:
    scene = Scene(" " * 40, sequential=True)
    scene.ready("a", "b")
    first = scene.owed("a")
    assert scene.lost("a") == [Disconnect(1)]
    assert asked(scene.wait(CHECK_SECONDS))[2][0] == first[0]
    assert scene.budget.under_way == scene.credit("b") * PIECE_BYTES


def test_a_peer_that_left_is_dropped_and_not_tried_again() -> None:
    scene = Scene("  ")
    scene.ready("a")
    assert scene.peer_lost("a")[0] == Disconnect(1)
    assert scene.peer_lost("a") == []
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]
    assert scene.found("a") == [Connect(2, "tcp://a:1")]


def test_a_peer_the_tracker_lost_that_goes_on_sending_is_kept_until_it_owes_nothing() -> None:
    scene = Scene("    ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1, 2])
    assert not [e for e in scene.peer_lost("a") if isinstance(e, Disconnect)]
    assert Write(1) in scene.piece("a", 1)
    assert not [e for e in scene.wait(1.0) if isinstance(e, Disconnect)]
    assert Write(2) in scene.piece("a", 2)
    assert [e for e in scene.wait(1.0) if isinstance(e, Disconnect)] == [Disconnect(1)]
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]


def test_in_a_network_with_keys_a_peer_that_is_out_is_hung_up_on_at_once() -> None:
    """Its key may have been revoked: it is to hear nothing more, and nothing more is taken from it."""
    scene = Scene("    ")
    scene.found("a", key="a1" * 32)
    scene.ready("a")
    scene.piece("a", 0, promised=[1, 2])
    assert scene.peer_lost("a")[0] == Disconnect(1)
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]


def test_a_peer_the_tracker_lost_is_dropped_when_it_takes_back_what_it_owes() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1])
    scene.peer_lost("a")
    assert scene.says("a", Status(1, "later"))[0] == Disconnect(1)
    assert not [e for e in scene.wait(20.0) if isinstance(e, Connect)]


def test_a_peer_the_tracker_lost_and_that_is_silent_is_dropped_though_it_owes_a_piece() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1])
    scene.peer_lost("a")
    assert [e for e in scene.wait(40.0) if isinstance(e, Disconnect | Connect)] == [Disconnect(1)]


def test_a_peer_the_tracker_lost_and_names_again_stays() -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1])
    scene.peer_lost("a")
    scene.found("a")
    scene.piece("a", 1)
    assert not [e for e in scene.wait(1.0) if isinstance(e, Disconnect)]


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
    assert sent(effects) == [AskTest(1, DIGEST, "a", begun=True)]
    assert scene.status("a", "  ") == []
    effects = scene.wait(SILENT_SENDING_SECONDS + CHECK_SECONDS)
    assert Disconnect(1) in effects


def test_a_source_with_a_large_piece_on_a_slow_link_may_be_silent_for_longer() -> None:
    scene = Scene("   ")
    scene.ready("a")
    assert Disconnect(1) not in scene.wait(SILENT_SENDING_SECONDS - 1)
    assert Disconnect(1) in scene.wait(2.0)


def test_each_time_a_source_was_given_up_too_soon_it_gets_twice_as_long() -> None:
    """Else nothing would ever come over a link on which a piece takes longer than we wait."""
    scene = Scene("  ")
    scene.ready("a", idle=True)
    for doublings in range(3):
        session = scene.sessions["a"]
        allowed = SILENT_SENDING_SECONDS * 2**doublings
        assert Disconnect(session) not in scene.wait(allowed - 1)
        assert Disconnect(session) in scene.wait(1 + CHECK_SECONDS)
        scene.wait(RETRY_SECONDS_MAX)
        scene.connected("a")
        scene.idle("a")


def test_a_resumed_download_goes_back_to_its_sources_at_once() -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1])
    scene.written(0)
    assert scene.download.pause(scene.now) == [Send(1, Bye(1)), Disconnect(1)]
    assert scene.download.next_deadline(scene.now) is None
    assert scene.open() == " **"
    assert scene.budget.under_way == 0
    assert scene.tick(5.0) == []
    assert scene.found("b") == []
    resumed = scene._then(scene.download.resume(scene.now))
    assert [e for e in resumed if isinstance(e, Connect)] == [Connect(2, "tcp://a:1"), Connect(3, "tcp://b:1")]


def test_a_write_that_ends_while_paused_counts() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.piece("a", 0)
    scene.piece("a", 1)
    scene.download.pause(scene.now)
    assert scene.written(0) == [Gained(0, relay=False)]
    assert scene.written(1) == [Gained(1, relay=False), Completed()]


def test_closing_gives_back_the_budget() -> None:
    scene = Scene("    ")
    scene.ready("a")
    scene.piece("a", 0, promised=[1])
    scene.download.close(scene.now)
    assert scene.budget.under_way == PIECE_BYTES, "what is being written is still in memory"
    scene.download.write_failed(0)
    assert scene.budget.under_way == 0


def test_a_piece_that_arrives_after_closing_is_nothing() -> None:
    scene = Scene("  ")
    scene.ready("a")
    scene.download.close(scene.now)
    assert [e for e in scene.arrives(Piece(1, 0)) if not isinstance(e, NeedSources | Connect)] == []


# --- when there are none, or too many ---------------------------------------------------------------------


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
    connects = connected_to(scene.found(*names))
    assert len(connects) == SOURCES_PER_DOWNLOAD_COUNT_MAX
    left_out = [name for name in names if name not in connects]
    scene.connected(connects[0])
    assert [name in left_out for name in connected_to(scene.lost(connects[0]))] == [True]


def test_of_a_large_swarm_each_has_other_sources_whoever_it_hears_of_first() -> None:
    """Otherwise a few would send everything, and most nothing."""
    everybody = [f"p{number}" for number in range(10 * SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    chosen: Counter[str] = Counter()
    for seed in range(40):
        scene = Scene("  ", seed=seed, checked=False)
        scene.ready(*everybody[:SOURCES_PER_DOWNLOAD_COUNT_MAX], having="  ")
        for name in everybody[SOURCES_PER_DOWNLOAD_COUNT_MAX:]:
            scene.found(name)
        sources = [source.entry.peer for source in scene.download.sources]
        assert len(sources) == SOURCES_PER_DOWNLOAD_COUNT_MAX
        chosen.update(sources)
    assert max(chosen.values()) <= 14, "4 on average"
    assert sum(chosen[name] for name in everybody[:SOURCES_PER_DOWNLOAD_COUNT_MAX]) <= 2 * 40 * 64 // 10


def test_who_owes_a_piece_keeps_its_place_until_it_came() -> None:
    first = [f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    scene = Scene("  ", seed=3, checked=False)
    scene.ready(*first)
    scene.piece("p0", 0, promised=[1])
    scene.found(*(f"q{number}" for number in range(50 * SOURCES_PER_DOWNLOAD_COUNT_MAX)))
    assert scene.source("p0") is not None


def test_a_source_that_gives_way_is_told() -> None:
    scene = Scene("  ", seed=3, checked=False)
    scene.ready(*(f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)), having="  ")
    effects = scene.found(*(f"q{number}" for number in range(10 * SOURCES_PER_DOWNLOAD_COUNT_MAX)))
    gone = [effect.session for effect in effects if isinstance(effect, Disconnect)]
    assert gone
    assert [message.session for message in sent(effects) if isinstance(message, Bye)] == gone
    assert len(connected_to(effects)) == len(gone)


def connected_to(effects: Sequence[Effect]) -> list[str]:
    return [effect.endpoint.split("/")[2].split(":")[0] for effect in effects if isinstance(effect, Connect)]


def test_sources_that_have_nothing_make_room_for_others_when_nobody_can_help() -> None:
    """All places taken by peers with nothing to give, and the seeder the one who is left over."""
    scene = Scene("  ")
    names = [f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    scene.ready(*names, having="  ")
    effects = scene.found("seeder")
    assert "seeder" in connected_to([*effects, *scene.wait(2.0)])


def test_who_sends_nothing_makes_room_for_others_however_much_it_says_it_has() -> None:
    scene = Scene(" " * 200, checked=False)
    names = [f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    scene.ready(*names, having="*" * 199 + " ")
    scene.piece("p0", 0, promised=[199])
    for candidate in scene.pool.candidates():
        candidate.rank = 0.0  # nobody outranks them
    effects: list[Effect] = []
    for piece in range(1, 2 * int(STUCK_SECONDS)):
        if piece == STUCK_SECONDS:
            assert not [e for e in effects if isinstance(e, Disconnect)], "there is nobody else"
            scene.found(*(f"q{number}" for number in range(MAKE_ROOM_COUNT)))
        scene.gets("p1", piece)
        effects += scene.wait(1.0, answering=names)
    effects += scene.wait(5.0, answering=names)
    gone = [message.session for message in sent(effects) if isinstance(message, Bye)]
    assert len(gone) >= MAKE_ROOM_COUNT
    assert not {scene.sessions[name] for name in ("p0", "p1")} & set(gone), "one owes a piece, one sends"
    assert {Disconnect(session) for session in gone} <= {effect for effect in effects if isinstance(effect, Disconnect)}


@pytest.mark.parametrize("how", ["refused", "no answer", "no", "later", "other_peer", "no peer"])
def test_however_many_cannot_serve_the_one_that_can_gets_its_turn(how: Any) -> None:
    scene = Scene("  ", checked=False)
    unable = [f"u{number}" for number in range(5 * SOURCES_PER_DOWNLOAD_COUNT_MAX)]
    scene.found(*unable)
    scene.found("good")
    deadline = scene.now + 5 * (TEST_TIMEOUT_SECONDS + CHECK_SECONDS) + RETRY_SECONDS_MAX
    while scene.source("good") is None and scene.now < deadline:
        for source in scene.download.sources:
            name = source.entry.peer
            if how == "refused":
                scene.lost(name)
            elif how != "no answer":
                scene.connected(name)
                if how == "no peer":
                    scene.download.misbehaved(source.session, "speaks HTTP", scene.now)
                else:
                    scene.says(name, Status(source.session, how))
        scene.wait(CHECK_SECONDS)
    assert scene.source("good") is not None


# --- many names at one address ----------------------------------------------------------------------------


def crowd(scene: Scene, count: int, endpoint: str = "tcp://crowd:1") -> list[Effect]:
    """So many peers are named that are all at one address."""
    names = [SeederEntry(f"{endpoint}-{number}", "", endpoint, True) for number in range(count)]
    return scene._then(scene.download.found(names, scene.now))


def test_those_at_one_address_are_one_source() -> None:
    scene = Scene("   ")
    assert connected_to(crowd(scene, 100)) == ["crowd"]
    assert connected_to(scene.found("a")) == ["a"]
    assert connected_to(scene.wait(CHECK_SECONDS)) == []


@pytest.mark.parametrize("spelling", ["tcp://127.0.0.1:05550", "tcp://[::ffff:127.0.0.1]:5550"])
def test_however_the_address_is_spelt(spelling: str) -> None:
    scene = Scene("   ")
    assert len(connected_to(crowd(scene, 2, "tcp://127.0.0.1:5550"))) == 1
    assert connected_to(crowd(scene, 2, spelling)) == []
    assert len(connected_to(crowd(scene, 2, "tcp://127.0.0.1:5551"))) == 1


def test_an_address_where_nobody_serves_is_dialled_now_and_then_and_others_at_once() -> None:
    """Whoever is there, and has nothing to do with it, is not flooded with connections in the name of many."""
    scene = Scene("   ", checked=False)
    crowd(scene, 500)
    started, dialled = scene.now, 1
    while scene.now - started < 10.0:
        for source in scene.download.sources:
            effects = scene._then(scene.download.disconnected(source.session, "refused", scene.now))
            dialled += len(connected_to(effects))
        dialled += len(connected_to(scene.wait(CHECK_SECONDS)))
    assert dialled <= 1 + 10.0 / RETRY_SECONDS_FIRST
    assert connected_to(scene.found("a")) == ["a"]


def test_the_one_among_many_at_its_address_that_is_there_gets_its_turn() -> None:
    scene = Scene("   ", checked=False)
    crowd(scene, 20)
    until = scene.now + 60.0
    while scene.now < until:
        for source in scene.download.sources:
            scene._then(scene.download.connected(source.session, scene.now))
            state: Literal["complete", "other_peer"] = "complete" if source.entry.peer.endswith("-7") else "other_peer"
            scene._then(scene.download.handle(source.session, Status(source.session, state), scene.now))
            if source.answered:
                return
        scene.wait(CHECK_SECONDS)
    raise AssertionError("it was never asked")


def test_those_at_one_address_do_not_take_places_from_each_other() -> None:
    scene = Scene("   ", checked=False)
    scene.ready(*(f"p{number}" for number in range(SOURCES_PER_DOWNLOAD_COUNT_MAX)), having="   ")
    assert connected_to([*crowd(scene, 1_000), *scene.wait(2.0)]).count("crowd") == 1


def test_who_lies_is_banned_with_all_that_are_at_its_address() -> None:
    scene = Scene("   ")
    crowd(scene, 100)
    (liar,) = scene.download.sources
    scene._then(scene.download.connected(liar.session, scene.now))
    scene._then(scene.download.handle(liar.session, Status(liar.session, "complete"), scene.now))
    scene.arrives(Piece(liar.session, 0))
    scene.written(0, good=False)
    assert connected_to(crowd(scene, 200)) == []
    assert connected_to(scene.wait(PARDON_SECONDS - 1)) == []
    assert list(scene.download.pool.banned) == [liar.entry.peer]


def test_a_ban_holds_though_another_of_its_address_was_in_use_when_it_came() -> None:
    scene = Scene("   ")
    crowd(scene, 3)
    (liar,) = scene.download.sources
    scene._then(scene.download.connected(liar.session, scene.now))
    scene._then(scene.download.handle(liar.session, Status(liar.session, "complete"), scene.now))
    scene.arrives(Piece(liar.session, 0))
    scene._then(scene.download.disconnected(liar.session, "connection lost", scene.now))
    assert connected_to(scene.wait(2 * RETRY_SECONDS_FIRST)) == ["crowd"]
    scene.written(0, good=False)
    (other,) = scene.download.sources
    scene._then(scene.download.disconnected(other.session, "connection lost", scene.now))
    assert connected_to(scene.wait(PARDON_SECONDS - 1)) == []


def test_who_sent_a_false_piece_has_two_more_chances_and_then_none() -> None:
    scene = Scene("   ")
    scene.ready("a")
    for seconds in (PARDON_SECONDS, 2 * PARDON_SECONDS):
        (source,) = scene.download.sources
        scene.arrives(Piece(source.session, 0))
        scene.written(0, good=False)
        assert connected_to(scene.wait(seconds - 1)) == []
        assert connected_to(scene.wait(2)) == ["a"]
        assert scene.download.pool.banned == {}
        (source,) = scene.download.sources
        scene._then(scene.download.connected(source.session, scene.now))
        scene._then(scene.download.handle(source.session, Status(source.session, "complete"), scene.now))
        scene.wait(1)
    (source,) = scene.download.sources
    scene.arrives(Piece(source.session, 0))
    scene.written(0, good=False)
    assert connected_to(scene.wait(20 * PARDON_SECONDS)) == []
    assert connected_to(scene.found("a")) == []


def test_who_breaks_the_protocol_has_no_other_chance() -> None:
    scene = Scene("   ")
    scene.ready("a")
    (source,) = scene.download.sources
    scene._then(scene.download.misbehaved(source.session, "sent garbage", scene.now))
    assert connected_to(scene.wait(20 * PARDON_SECONDS)) == []
