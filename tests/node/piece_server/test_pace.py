"""How far ahead a piece server offers."""

from __future__ import annotations

import pytest
from node.piece_server.pace import Pace
from node.piece_server.session import Promise, Session, Swarm

from protocol.bitfield import Bitfield
from tests.node.piece_server.scene import DIGEST, Scene, offers_to, sends


def receiver(number: int = 1) -> Session:
    return Session(b"r%d" % number, number, Swarm(DIGEST, Bitfield(9), 900, 100, [0] * 9), 0.0)


@pytest.mark.parametrize(
    ("handshake", "piece", "ahead"), [(0.001, 0.4, 0), (0.1, 0.8, 1), (0.1, 0.4, 2), (0.1, 0.1, 4), (0.0, 0.4, 0)]
)
def test_as_much_is_offered_ahead_as_ends_during_a_few_handshakes(handshake: float, piece: float, ahead: int) -> None:
    pace = Pace()
    pace.answered(receiver(), handshake)
    pace.received(receiver(), piece)
    assert pace.ahead(4) == ahead


def test_as_many_are_offered_ahead_as_are_sent_while_nothing_is_known() -> None:
    assert Pace().ahead(3) == 3


def test_an_answer_that_came_behind_a_piece_says_nothing() -> None:
    pace, session = Pace(), receiver()
    pace.received(session, 0.4)
    session.promises[1] = Promise(0, 100, 0.0, accepted=True, sent_at=0.0)
    pace.answered(session, 0.4)
    assert pace.ahead(4) == 0


def test_where_a_handshake_is_short_nothing_is_promised_before_it_can_be_sent() -> None:
    scene = Scene("******", slots=2)
    scene.opened("a", "b")
    scene.wants("a", 0, 1, 2)
    scene.accepts("a", 0)
    scene.accepts("a", 1)
    scene.now += 1.0
    scene.refuses("a", 2)
    assert offers_to(scene.received("a", 0)) == []
    assert offers_to(scene.wants("b", 3, 4, 5)) == [("b", 3)]
    assert sends(scene.accepts("b", 3)) == [("b", 3)]
    assert offers_to(scene.received("a", 1)) == [("b", 4)]
