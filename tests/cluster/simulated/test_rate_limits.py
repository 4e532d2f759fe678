"""Rate limits that a person changes in the middle, in virtual time."""

from __future__ import annotations

import pytest

from cluster.simulated.peer import Role
from node.api_messages import ApiLimit
from protocol.limits import PIECE_BYTES_MIN
from tests.cluster.simulated.swarms import Swarm

NAMES = {"seed0": "upload_rate", "peer0": "download_rate"}
PROCESSES: dict[str, Role] = {"seed0": "piece_server", "peer0": "downloader"}
each_side = pytest.mark.parametrize("name", NAMES)


def limit(swarm: Swarm, name: str, rate: float) -> None:
    assert swarm.peer(name).ask(ApiLimit(1, **{NAMES[name]: rate}))


def pieces(swarm: Swarm) -> int:
    """How many the receiver has."""
    return sum(len(partial.pieces) for partial in swarm.peer("peer0").disk.partials.values())


def pieces_in(swarm: Swarm, seconds: float) -> int:
    """How many more it has after so long."""
    before = pieces(swarm)
    swarm.run(seconds)
    return pieces(swarm) - before


def slow(name: str) -> Swarm:
    """A download at full speed, two pieces a second, of which either side then allows a tenth."""
    swarm = Swarm(1, 1, 400, piece_seconds=0.5, watched=False)
    swarm.start()
    assert pieces_in(swarm, 20.0) > 30
    limit(swarm, name, 0.2 * PIECE_BYTES_MIN)
    swarm.run(30.0)  # what is on its way still comes
    return swarm


@each_side
def test_a_limit_holds_at_once_and_so_does_the_next(name: str) -> None:
    swarm = slow(name)
    assert pieces_in(swarm, 100.0) == pytest.approx(20, abs=2)
    limit(swarm, name, PIECE_BYTES_MIN)
    assert pieces_in(swarm, 40.0) == pytest.approx(40, abs=3)
    limit(swarm, name, 0.0)
    assert pieces_in(swarm, 20.0) == pytest.approx(40, abs=4)
    swarm.run_until_done(300.0)
    assert swarm.received_ratio() == 1.0
    assert swarm.banned() == {}


@each_side
def test_debt_of_hours_is_forgiven_when_the_limit_is_lifted(name: str) -> None:
    swarm = slow(name)
    limit(swarm, name, 1.0)
    assert pieces_in(swarm, 100.0) <= 2
    assert pieces_in(swarm, 100.0) == 0, "until the last one is paid for"
    limit(swarm, name, 0.0)
    assert pieces_in(swarm, 20.0) == pytest.approx(40, abs=6)


@each_side
def test_a_limit_is_that_of_the_peer_whichever_of_its_processes_is_killed(name: str) -> None:
    swarm = slow(name)
    roles: tuple[Role, ...] = (PROCESSES[name], "agent")
    for role in roles:
        swarm.peer(name).kill(role)
        swarm.run(20.0)
        assert pieces_in(swarm, 100.0) == pytest.approx(20, abs=3)
    swarm.peer(name).power_off()
    swarm.run(5.0)
    swarm.peer(name).power_on()
    swarm.run(30.0)
    assert pieces_in(swarm, 20.0) == pytest.approx(40, abs=6), "that of the configuration"
