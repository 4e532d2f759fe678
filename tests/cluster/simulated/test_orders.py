"""Orders in virtual time: they reach everybody who accepts them, whatever dies meanwhile."""

from __future__ import annotations

from cluster.simulated.host import PeerTerms
from cluster.simulated.peer import Peer
from node.api_messages import ApiCancelRollout, ApiRollout
from tests.cluster.simulated.swarms import Swarm

BASE = "/rollouts"
DEST = f"{BASE}/a/data.bin"


def ordered(peers: int, pieces: int) -> tuple[Swarm, list[Peer]]:
    """``seed0`` orders what it has, and ``peers`` peers that accept orders have heard of it."""
    swarm = Swarm(1, 0, pieces, piece_seconds=0.2)
    takers = [swarm.add(f"taker{n}", terms=PeerTerms(rollouts=BASE)) for n in range(peers)]
    for peer in swarm.world.peers.values():
        peer.start()
    assert swarm.run(30.0, lambda: swarm.world.joined() == 1 + peers)
    assert swarm.peer("seed0").ask(ApiRollout(1, swarm.content.link, "a"))
    assert swarm.run(20.0, lambda: all(taker.disk.partials for taker in takers))
    return swarm, takers


def has_it(peer: Peer) -> bool:
    return DEST in peer.disk.files


def test_all_get_it_though_tracker_giver_and_agents_die_and_one_comes_late() -> None:
    swarm, takers = ordered(4, 60)
    swarm.world.tracker.kill_registrar()
    takers[0].kill("agent")
    takers[1].power_off()
    swarm.run(3.0)
    swarm.peer("seed0").kill("agent")
    takers[1].power_on()
    late = swarm.add("late", terms=PeerTerms(rollouts=BASE))
    unwilling = swarm.add("unwilling")
    late.start()
    unwilling.start()
    assert swarm.run(120.0, lambda: all(map(has_it, [*takers, late])))
    assert not unwilling.disk.files


def test_who_was_away_when_it_was_cancelled_deletes_what_there_is_of_it_too() -> None:
    swarm, takers = ordered(3, 200)
    swarm.run(10.0)  # by then it is durable that there is a download
    takers[0].power_off()
    assert swarm.peer("seed0").ask(ApiCancelRollout(2, "data.bin"))
    assert swarm.run(20.0, lambda: not any(taker.disk.partials for taker in takers[1:]))
    takers[0].power_on()
    assert swarm.run(40.0, lambda: not takers[0].disk.partials)
    assert not any(taker.disk.files or taker.disk.downloads for taker in takers)
