"""The records of one content: whether one more piece comes in time."""

from __future__ import annotations

import pytest

from node.piece_server.swarm import Session, Swarm
from protocol.bitfield import Bitfield


def in_rounds(receivers: int, late: float) -> tuple[Swarm, Session]:
    """Everybody is assigned a piece in the same moment, twice, a second apart, but one a little ``late``. As many
    pieces as there are receivers are left."""
    swarm = Swarm("digest", Bitfield.full_of(receivers), receivers * 100, 100)
    swarm.in_stock = Bitfield.full_of(receivers)
    for number in range(receivers):
        route = number.to_bytes(2)
        session = Session(route, "address", 1, swarm, 0.0, 0.0, Bitfield(receivers), Bitfield(receivers))
        swarm.sessions[session.key] = session
    *others, last = swarm.sessions.values()
    for now in (1.0, 2.0):
        for session in others:
            swarm.note_assigned(session, now)
        swarm.note_assigned(last, now + late * (now - 1.0))
    return swarm, last


@pytest.mark.parametrize("receivers", [20, 64, 100, 200])
def test_who_is_hardly_slower_than_others_relays_to_the_end_however_many_there_are(receivers: int) -> None:
    """The last of the assignments are all of one moment: they say nothing about the pace."""
    swarm, last = in_rounds(receivers, late=0.1)
    assert swarm.in_time(last)


@pytest.mark.parametrize("receivers", [20, 64, 100, 200])
def test_who_is_so_slow_that_all_would_wait_for_it_relays_no_more(receivers: int) -> None:
    swarm, last = in_rounds(receivers, late=0.9)
    assert not swarm.in_time(last)
