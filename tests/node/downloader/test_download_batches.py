"""One download against scripted sources that offer and send several pieces in one message."""

from __future__ import annotations

import pytest

from node.downloader.claims import CLAIMS_BUSY_COUNT, OVERDUE_SECONDS_MIN
from node.downloader.download import CHECK_SECONDS, Effect, Write
from node.downloader.source import Banned, Send
from protocol.messages import Accept, Offer, Received, Refuse
from tests.node.downloader.scene import PIECE_BYTES, Scene, sent, wants


def offers(scene: Scene, name: str, first: int, *pieces: int, spare: bool = True) -> list[Accept | Refuse]:
    """``name``, which sends four times as many as usual at a time, offers ``pieces`` in one message under the numbers
    from ``first`` on; returns what it is answered."""
    at_once = 4 * CLAIMS_BUSY_COUNT
    message = Offer(scene.sessions[name], first, 1, pieces[0], spare, at_once, list(pieces[1:]))
    return [answer for answer in sent(scene.says(name, message)) if isinstance(answer, Accept | Refuse)]


def arrive(scene: Scene, name: str, *promised: tuple[int, int]) -> list[Effect]:
    """The pieces of these offers arrive in one message."""
    return scene.pieces(name, promised, [scene.size(piece) for _, piece in promised])


def test_several_pieces_cost_one_message_of_each_kind() -> None:
    scene = Scene(" " * 20)
    scene.ready("a")
    assert offers(scene, "a", 7, 4, 2, 9) == [Accept(1, 7, [8, 9])]
    assert arrive(scene, "a", (7, 4), (8, 2), (9, 9)) == [
        Send(1, Received(1, 7, [8, 9])),
        Write((4, 2, 9)),
    ]
    for piece in (4, 2, 9):
        scene.written(piece)
    assert scene.download.have.count_set == 3
    assert scene.download.received_bytes == 3 * PIECE_BYTES
    assert scene.download.received_from == {"a": 3 * PIECE_BYTES}


def test_each_piece_is_accepted_or_refused_for_a_reason_of_its_own() -> None:
    scene = Scene(" " * 20)
    scene.ready("a", "b")
    scene.accepts("b", 5)
    scene.gets("b", 6)
    assert offers(scene, "a", 10, 5, 1, 6, 2) == [Refuse(1, 10, "claimed", [12]), Accept(1, 11, [13])]


def test_of_a_batch_as_much_is_accepted_as_there_is_room_for() -> None:
    scene = Scene(" " * 20, budget_bytes=3 * PIECE_BYTES)
    scene.ready("a")
    assert offers(scene, "a", 1, 0, 1, 2, 3, 4) == [Accept(1, 1, [2, 3]), Refuse(1, 4, "full", [5])]


def test_a_piece_that_nobody_asked_for_beside_others_costs_the_source_its_place_and_not_the_others() -> None:
    scene = Scene(" " * 20)
    scene.ready("a")
    offers(scene, "a", 1, 0, 1)
    effects = arrive(scene, "a", (1, 0), (2, 1), (3, 2))
    assert Write((0, 1)) in effects
    assert any(isinstance(effect, Banned) for effect in effects)


def test_a_batch_may_bring_what_others_have_sent_meanwhile() -> None:
    scene = Scene(" " * 20)
    scene.ready("a", "b")
    for name, piece in (("a", 10), ("b", 11)):
        scene.gets(name, piece, seconds=0.1)
    offers(scene, "a", 100, 0, 1, 2)
    scene.wait(OVERDUE_SECONDS_MIN + CHECK_SECONDS)
    scene.gets("b", 1)
    effects = arrive(scene, "a", (100, 0), (101, 1), (102, 2))
    assert effects == [Send(1, Received(1, 100, [101, 102])), Write((0, 2))]
    assert scene.download.duplicate_bytes == PIECE_BYTES


@pytest.mark.parametrize("beyond", [20, 262_143])
def test_a_batch_with_a_piece_that_does_not_exist_is_not_looked_at_further(beyond: int) -> None:
    scene = Scene(" " * 20)
    scene.ready("a")
    message = Offer(1, 1, 1, 0, True, 16, [1, beyond])
    assert any(isinstance(effect, Banned) for effect in scene.says("a", message))
    assert scene.download.have.count_set == 0


def test_two_offers_under_one_number_cost_the_source_its_place_and_no_piece_its_chance() -> None:
    scene = Scene(" " * 20)
    scene.ready("a", "b")
    offers(scene, "a", 5, 0, 1)
    effects = scene.says("a", Offer(1, 6, 1, 2))
    assert any(isinstance(effect, Banned) for effect in effects)
    for piece in range(3):
        scene.gets("b", piece)


def test_one_that_offers_more_than_there_is_room_for_keeps_nobody_from_being_told() -> None:
    scene = Scene(" " * 60)
    names = [f"p{number}" for number in range(CLAIMS_BUSY_COUNT)]
    scene.ready(*names, "greedy")
    taken = [scene.accepts(name, piece) for piece, name in enumerate(names)]
    greedy = scene.sessions["greedy"]
    answers = sent(scene.says("greedy", Offer(greedy, 1000, 1, 40, more=[41, 42, 43])))
    assert [answer for answer in answers if isinstance(answer, Refuse)] == [
        Refuse(greedy, 1000, "full", [1001, 1002, 1003])
    ]
    assert greedy in wants(scene.piece(names[0], taken[0], 0))


@pytest.mark.parametrize(("batch", "told"), [(1, 2), (4, 1)])
def test_whoever_offers_several_is_told_of_room_for_as_many(batch: int, told: int) -> None:
    """Or all that were refused would offer what there is room for once."""
    scene = Scene(" " * 60)
    names = [f"p{number}" for number in range(CLAIMS_BUSY_COUNT)]
    scene.ready(*names, "x", "y")
    for number, name in enumerate(names):
        pieces = range(4 * number, 4 * number + 4)
        assert offers(scene, name, 10 * number + 1, *pieces, spare=False) == [
            Accept(number + 1, 10 * number + 1, list(range(10 * number + 2, 10 * number + 5)))
        ]
    for name, first in (("x", 100), ("y", 200)):
        (answer,) = offers(scene, name, first, *range(40, 40 + batch), spare=False)
        assert isinstance(answer, Refuse)
        assert answer.reason == "full"
    arrived = arrive(scene, names[0], *((1 + number, number) for number in range(4)))
    waiting = wants(arrived).keys() & {scene.sessions["x"], scene.sessions["y"]}
    assert len(waiting) == told
