"""What a download says holds it back, in swarms of which that is known."""

from __future__ import annotations

from cluster.simulated.peer import Peer
from node.api_messages import ApiLimit
from node.local_messages import Bottleneck
from protocol.limits import PIECE_BYTES_MIN
from tests.cluster.simulated.swarms import Swarm


def found(swarm: Swarm, name: str = "peer0") -> Bottleneck:
    slow = swarm.report(name).bottleneck
    assert slow is not None
    return slow


def begun(swarm: Swarm, seconds: float = 15.0) -> Swarm:
    swarm.start()
    swarm.run(seconds)
    return swarm


def test_a_slow_uplink_of_the_only_source() -> None:
    assert found(begun(Swarm(1, 1, 200, piece_seconds=0.5))) == Bottleneck(
        "one_source", "waits for its only source, seed0 (128.0 KiB/s): it had pieces on their way 100 % of the time"
    )


def test_slow_uplinks_of_several_sources() -> None:
    slow = found(begun(Swarm(4, 1, 400, piece_seconds=1.0)))
    assert slow.kind == "sources"
    assert slow.text.startswith("waits for its 4 sources: 4.0 had pieces on their way on average, the fastest was seed")


def test_the_download_limit_of_the_peer_itself() -> None:
    swarm = begun(Swarm(1, 1, 400, piece_seconds=0.05), 1.0)
    assert swarm.peer("peer0").ask(ApiLimit(1, download_rate=2.0 * PIECE_BYTES_MIN))
    swarm.run(30.0)
    assert found(swarm).kind == "rate_limit"
    assert found(swarm).text.startswith("this peer's download limit of 128.0 KiB/s held it back ")


def test_the_upload_limit_of_a_source_looks_like_its_uplink() -> None:
    swarm = begun(Swarm(1, 1, 400, piece_seconds=0.05), 1.0)
    assert swarm.peer("seed0").ask(ApiLimit(1, upload_rate=2.0 * PIECE_BYTES_MIN))
    swarm.run(30.0)
    assert found(swarm).kind == "one_source"
    assert "it had pieces on their way 100 % of the time" in found(swarm).text


def receiver_with_slow_disk(swarm: Swarm) -> Peer:
    slow = swarm.add("slow", disk_rate=PIECE_BYTES_MIN / 60.0)
    swarm.start()
    swarm.run(30.0)
    return slow


def test_a_slow_disk_when_all_has_come() -> None:
    swarm = Swarm(1, 0, 400, piece_seconds=0.005, watched=False)
    receiver_with_slow_disk(swarm)
    assert found(swarm, "slow") == Bottleneck("disk", "pieces waited to be verified and written 100 % of the time")


def test_a_slow_disk_while_more_may_not_come() -> None:
    swarm = Swarm(1, 0, 2000, piece_seconds=0.005, watched=False)
    receiver_with_slow_disk(swarm)
    assert swarm.report("slow").received_bytes < swarm.content.manifest.length, "not all has come"
    assert found(swarm, "slow") == Bottleneck("disk", "pieces waited to be verified and written 100 % of the time")


def test_pieces_that_nobody_has() -> None:
    swarm = begun(Swarm(1, 2, 40, piece_seconds=0.5), 8.0)
    swarm.peer("seed0").power_off()
    swarm.run(90.0)
    slow = found(swarm)
    assert slow.kind == "missing_pieces"
    assert slow.text.startswith("nobody has ")


def test_no_source_at_all() -> None:
    swarm = begun(Swarm(1, 1, 40, piece_seconds=0.5), 8.0)
    swarm.peer("seed0").power_off()
    swarm.run(90.0)
    assert found(swarm) == Bottleneck("no_sources", "no peer has it at the moment; waiting for one")
