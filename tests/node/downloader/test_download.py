"""One download against scripted sources: the conversation, what is asked, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from node.downloader.download import CHECK_SECONDS, Completed, Gained, NeedSources, Write
from node.downloader.source import RETRY_SECONDS_FIRST, Banned, Connect, Disconnect, Send
from protocol.limits import WANT_COUNT_MAX
from protocol.messages import Accept, Bye, Error, ManifestPage, Received, Status, Want
from protocol.messages import Test as AskTest  # a class named Test* would be collected
from tests.node.downloader.scene import DIGEST, PIECE_BYTES, Scene, sent, wants

DAMAGED = "sent a damaged piece 0; run 'verify' there to check its copy"

# --- the conversation when all goes well ------------------------------------------------------------------


def test_the_main_conversation() -> None:
    scene = Scene("   ", sequential=True, started=False)
    assert scene.start() == [NeedSources()]
    assert scene.found("a") == [Connect(1, "tcp://a:1")]
    assert scene.connected("a") == [Send(1, AskTest(1, DIGEST, "a"))]
    assert scene.status("a", "** ") == [Send(1, Want(1, 1, [0, 1], batches=True))]
    assert scene.offer("a", 1, number=7) == [Send(1, Accept(1, 7))]
    assert scene.piece("a", 7, 1) == [Send(1, Received(1, 7)), Write((1,))]
    assert scene.written(1) == [Gained(1)]
    scene.wait(0.1)
    assert scene.have("a", 2) == [Send(1, Want(1, 2, [0, 2], batches=True))]
    for piece, number in ((2, 8), (0, 9)):
        assert scene.offer("a", piece, number) == [Send(1, Accept(1, number))]
        assert scene.piece("a", number, piece) == [Send(1, Received(1, number)), Write((piece,))]
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


# --- what sources say -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["later", "no", "other_peer"])
def test_who_cannot_serve_makes_room_and_is_dialled_again_in_a_while(state: Any) -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a")
    scene.accepts("a", 0)
    assert scene.says("a", Status(scene.sessions["a"], state, b"", 0))[:1] == [Disconnect(1)]
    assert scene.download.sources == []
    assert scene.budget.under_way == 0
    assert scene.download.banned == {}
    assert Connect(2, "tcp://a:1") in scene.wait(RETRY_SECONDS_FIRST + CHECK_SECONDS)
    assert sent(scene.connected("a")) == [AskTest(2, DIGEST, "a")]
    assert wants(scene.status("a")) == {2: [0, 1]}


def test_an_offer_of_a_source_that_is_not_ready_is_refused() -> None:
    """Or it could hold every claim without ever sending: only sources that are ready are looked after."""
    scene = Scene("  ")
    scene.found("a")
    scene.connected("a")
    assert scene.refuses("a", 0) == "unknown"


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
    assert effects[0] == Send(1, AskTest(1, DIGEST, "a"))
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


@pytest.mark.parametrize("connected", [True, False])
def test_what_is_no_peer_is_not_banned_for_it(connected: bool) -> None:
    scene = Scene("   ")
    scene.found("a")
    if connected:
        scene.connected("a")
    assert scene.download.misbehaved(1, "speaks HTTP", scene.now) == [Disconnect(1)]
    assert scene.download.banned == {}
    assert Connect(2, "tcp://a:1") in scene.wait(RETRY_SECONDS_FIRST + CHECK_SECONDS)


def test_a_page_of_a_manifest_means_nothing() -> None:
    scene = Scene("   ")
    scene.ready("a", "b", "c")
    assert scene.says("c", ManifestPage(3, 0, 0, b"")) == []


def test_words_of_nobody_are_nothing() -> None:
    scene = Scene("   ")
    assert scene.download.handle(77, Status(77, "complete", b"", 0), scene.now) == []
    assert scene.download.connected(77, scene.now) == []
    assert scene.download.disconnected(77, "refused", scene.now) == []
    assert scene.download.misbehaved(77, "x", scene.now) == []
    assert scene.peer_lost("nobody") == []


# --- pieces that are not what they should be --------------------------------------------------------------


def test_a_corrupt_piece_costs_the_source_its_place_and_is_fetched_elsewhere() -> None:
    scene = Scene("  ", sequential=True)
    scene.ready("a", "b")
    offer = scene.accepts("a", 0)
    kept = scene.accepts("a", 1)
    scene.piece("a", offer, 0)
    scene.wait(0.1)
    effects = scene.written(0, good=False)
    assert effects[:2] == [Send(1, Bye(1, [0])), Disconnect(1)], "the source is told, and may look at its disk"
    assert effects[2] == Banned("a", "name-a", DAMAGED)
    assert wants(effects) == {2: [0, 1]}
    assert scene.piece("a", kept, 1) == []
    assert not [e for e in scene.found("a") + scene.wait(20.0) if e == Connect(3, "tcp://a:1")]


def test_a_corrupt_piece_of_a_source_that_is_gone_bans_it_too() -> None:
    scene = Scene("  ")
    scene.ready("a")
    offer = scene.accepts("a", 0)
    scene.piece("a", offer, 0)
    scene.lost("a")
    assert scene.written(0, good=False)[0] == Banned("a", "name-a", DAMAGED)
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
