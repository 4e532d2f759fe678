"""Whole swarms of the real cores in virtual time: that everybody completes, how fast, and whatever befalls them."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from cluster.simulated.content import StandIn
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.liars import Kind, fetch_lies, server_lies
from node.downloader.patience import SILENT_SENDING_SECONDS
from protocol.limits import PIECE_BYTES_MIN
from protocol.messages import Message, Piece
from tests.cluster.simulated.planting import Edit, edited
from tests.cluster.simulated.swarms import Swarm

some_seeds = pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])

# --- all goes well ---------------------------------------------------------------------------------------


@some_seeds
@pytest.mark.parametrize(("receivers", "pieces"), [(1, 40), (2, 40), (7, 40), (12, 20)])
def test_everybody_completes(receivers: int, pieces: int, seed: int) -> None:
    swarm = Swarm(1, receivers, pieces, seed=seed)
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)
    assert swarm.received_ratio() <= 1.07
    assert swarm.banned() == {}


def test_a_link_works_whatever_its_sources_call_the_content() -> None:
    swarm = Swarm(0, 2, 8)
    renamed = msgspec.structs.replace(swarm.content, name="other.bin")
    for number in range(70):  # more than a receiver asks at a time
        swarm.world.give(swarm.add(f"seed{number}"), renamed)
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)


@pytest.mark.slow
def test_sixteen_receivers_finish_close_to_the_bound() -> None:
    """A guard against regressions; `benchmarks/scheduling.py` has the figures."""
    swarm = Swarm(1, 16, 512, down_seconds=1.0, watched=False)
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)
    assert swarm.last() / swarm.bound <= 1.1
    assert swarm.received_ratio() <= 1.02
    assert swarm.sent_ratio("seed0") <= 1.1


def test_one_receiver_takes_hardly_longer_than_a_plain_copy() -> None:
    """More pieces than one message names, on a link where a piece takes as long as a round trip."""
    swarm = Swarm(1, 1, 1_500, piece_seconds=0.01, watched=False)
    swarm.start()
    swarm.run_until_done(100.0)
    assert swarm.last() <= 1.03 * 15.0
    assert swarm.received_ratio() == 1.0


@pytest.mark.parametrize(
    ("receivers", "round_trip", "allowed"),
    [
        (1, 8.0, 1.35),
        (4, 0.5, 1.09),
        pytest.param(16, 0.5, 1.15, marks=pytest.mark.slow),
        pytest.param(16, 8.0, 1.8, marks=pytest.mark.slow),
    ],
)
def test_far_away_receivers_are_kept_supplied(receivers: int, round_trip: float, allowed: float) -> None:
    """``round_trip`` in piece times, so many of which are on their way when the links are in use all the time."""
    swarm = Swarm(1, receivers, 256, piece_seconds=0.05, down_seconds=0.05, delay=round_trip * 0.025, watched=False)
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)
    assert swarm.last() / swarm.bound <= allowed
    assert swarm.received_ratio() <= 1.02


@pytest.mark.parametrize(("receivers", "allowed"), [(1, 1.3), pytest.param(4, 1.5, marks=pytest.mark.slow)])
def test_a_fast_link_to_far_away_is_used(receivers: int, allowed: float) -> None:
    """50 pieces are on their way when it is in use; until it is, and to be introduced, takes some ten round trips."""
    swarm = Swarm(1, receivers, 2_000, piece_seconds=0.002, down_seconds=0.002, delay=0.05, watched=False)
    swarm.start()
    swarm.run_until_done(10 * swarm.bound)
    assert swarm.last() / swarm.bound <= allowed
    assert swarm.received_ratio() <= 1.02


@pytest.mark.parametrize(
    ("fast", "slow", "times"),
    [(1, 1, 1.5), (1, 1, 4.0), (2, 3, 4.0), pytest.param(4, 5, 4.0, marks=pytest.mark.slow), (1, 1, 100.0)],
)
def test_fast_receivers_do_not_take_the_pace_of_slow_ones(fast: int, slow: int, times: float) -> None:
    """Even where most are slow, and whoever is fast has hardly anybody to push to."""
    swarm = Swarm(1, fast + slow, 128, piece_seconds=0.1, down_seconds=0.1, watched=False)
    rate = PIECE_BYTES_MIN / (0.1 * times)
    for number in range(fast, fast + slow):
        swarm.world.network.links.set_rates(swarm.peer(f"peer{number}").net.port, rate, rate)
    swarm.start()
    names = [f"peer{number}" for number in range(fast)]
    assert swarm.run(1.4 * 12.8, lambda: all(swarm.has(name) for name in names))


@pytest.mark.parametrize(
    ("seconds", "allowed"),
    [
        ([1.0] * 16, 1.1),
        ([1.0] * 4, 1.1),
        ([0.1, 1.0], 1.2),
        ([0.1, 10.0], 1.4),
        ([0.1] * 4 + [1.0] * 4, 1.3),
        ([0.1] * 2 + [3.0] * 8, 1.4),
    ],
)
def test_one_receiver_uses_all_that_its_sources_have(seconds: list[float], allowed: float) -> None:
    """Slow sources must not keep the fast ones waiting, nor one the others."""
    swarm = Swarm(len(seconds), 1, 300, watched=False)
    links = swarm.world.network.links
    for peer, each in zip(swarm.world.peers.values(), seconds, strict=False):
        links.set_rates(peer.net.port, PIECE_BYTES_MIN / each, float("inf"))
    swarm.start()
    ideal = swarm.pieces / sum(1 / each for each in seconds)
    swarm.run_until_done(20 * ideal)
    assert swarm.last() / ideal <= allowed
    assert swarm.received_ratio() <= 1.05


@pytest.mark.parametrize(
    ("seeders", "receivers", "seconds"), [(1, 1, 40.0), pytest.param(1, 4, 40.0, marks=pytest.mark.slow), (3, 2, 40.0)]
)
def test_very_slow_uplinks_deliver_too(seeders: int, receivers: int, seconds: float) -> None:
    """Where a piece takes longer than anybody waits at first, and than the laws of the simulated world allow."""
    swarm = Swarm(seeders, receivers, 6, piece_seconds=seconds, watched=False)
    swarm.start()
    swarm.run_until_done(20 * swarm.bound)
    assert swarm.last() <= 10 * swarm.bound
    assert swarm.received_ratio() <= 1.35


@pytest.mark.slow
def test_several_seeders_seldom_assign_the_same_piece() -> None:
    swarm = Swarm(2, 8, 128, watched=False)
    swarm.start()
    swarm.run_until_done(20 * swarm.bound)
    assert swarm.received_ratio() <= 1.04


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_tiny_content(pieces: int) -> None:
    swarm = Swarm(1, 5, pieces)
    swarm.start()
    swarm.run_until_done(20.0)


# --- hosts come and go -----------------------------------------------------------------------------------


def all_out(swarm: Swarm) -> bool:
    """Every piece is held whole by some receiver."""
    held = [swarm.peer(name).disk.partials.values() for name in swarm.wishes]
    pieces = {piece for partials in held for partial in partials for piece in partial.pieces}
    return len(pieces) == swarm.pieces


def test_the_seeder_may_die_once_one_copy_is_out() -> None:
    swarm = Swarm(1, 6, 40)
    swarm.start()
    assert swarm.run(1_000.0, lambda: all_out(swarm))
    assert not swarm.done()
    swarm.peer("seed0").power_off()
    swarm.run_until_done(1_000.0)
    assert swarm.sent_ratio("seed0") <= 1.3


def test_without_a_seeder_each_says_what_is_missing_and_goes_on_when_it_is_back() -> None:
    swarm = Swarm(1, 3, 40)
    swarm.start()
    swarm.run(10.0)
    swarm.peer("seed0").power_off()
    swarm.run(100.0)
    assert not any(swarm.has(name) for name in swarm.wishes)
    had = {name: swarm.report(name).done_pieces for name in swarm.wishes}
    assert all("nobody has" in swarm.report(name).detail for name in swarm.wishes)
    swarm.peer("seed0").power_on()
    swarm.run_until_done(300.0)
    assert min(had.values()) > 0
    assert swarm.received_ratio() <= 1.05


@some_seeds
def test_almost_a_third_of_the_hosts_is_killed(seed: int) -> None:
    swarm = Swarm(1, 10, 40, seed=seed)
    swarm.start()
    rng = Random(seed)
    for name in rng.sample(list(swarm.wishes), 3):
        swarm.run(rng.uniform(2.0, 12.0))
        swarm.peer(name).power_off()
    swarm.run_until_done(1_000.0)
    assert swarm.last() <= 3 * swarm.bound


def test_newcomers_are_served_by_all() -> None:
    swarm = Swarm(1, 4, 40)
    swarm.start()
    swarm.run(20.0)
    for number in range(3):
        swarm.run(5.0)
        swarm.join(f"new{number}")
    swarm.run_until_done(1_000.0)
    assert swarm.sent_ratio("seed0") < 2.5


def test_who_leaves_is_not_missed() -> None:
    swarm = Swarm(2, 5, 40)
    swarm.start()
    swarm.run(8.0)
    swarm.world.tell_leave(swarm.peer("peer1"))
    swarm.run(4.0)
    swarm.world.tell_leave(swarm.peer("seed1"))
    others = [name for name in swarm.wishes if name != "peer1"]
    assert swarm.run(1_000.0, lambda: all(swarm.has(name) for name in others))
    assert not swarm.has("peer1")
    swarm.world.tell_join(swarm.peer("peer1"))
    swarm.run_until_done(1_000.0)


@some_seeds
def test_broken_connections_cost_what_was_on_them(seed: int) -> None:
    swarm = Swarm(1, 5, 40, seed=seed)
    swarm.start()
    rng = Random(seed)
    names = list(swarm.world.peers)
    for _ in range(20):
        swarm.run(1.0)
        swarm.break_connection(rng.choice(names[1:]), rng.choice(names))
    swarm.run_until_done(1_000.0)
    assert swarm.last() <= 3 * swarm.bound


@pytest.mark.parametrize("name", ["peer0", "seed0"])
@pytest.mark.parametrize("role", ["agent", "piece_server", "downloader"])
def test_a_process_that_is_killed_is_missed_for_a_moment(name: str, role: str) -> None:
    swarm = Swarm(1, 4, 40)
    swarm.start()
    swarm.run(15.0)
    swarm.peer(name).kill(role)  # type: ignore[arg-type]
    swarm.run_until_done(1_000.0)
    assert swarm.last() <= 2 * swarm.bound
    assert swarm.banned() == {}


def test_the_tracker_may_be_gone_while_sources_are_known() -> None:
    swarm = Swarm(1, 4, 40)
    swarm.start()
    swarm.run(5.0)
    tracker = swarm.world.tracker
    for process in (tracker.registrar, *tracker.lookups):
        process.pause()
    swarm.run_until_done(3 * swarm.bound)


# --- hosts misbehave -------------------------------------------------------------------------------------


def test_a_lying_host_is_banned_and_nothing_of_it_is_kept() -> None:
    swarm = Swarm(1, 6, 40, liars=("peer0",))
    swarm.peer("peer0").tamper = server_lies("corrupt", 40, Random(1))
    swarm.start()
    swarm.run_until_done(1_000.0)
    assert all(banned == ["peer0"] for banned in swarm.banned().values())
    assert swarm.banned()


def test_a_liar_gets_rid_of_one_bad_piece_each_time_it_is_tried() -> None:
    """Three times. What was under way when it was banned does not count as received from it."""
    swarm = Swarm(1, 6, 40, liars=("peer0",))
    bad: list[int] = []

    def always(message: Message, data: bytes) -> tuple[Message, bytes]:
        if isinstance(message, Piece):
            bad.append(message.piece)
            return message, StandIn.of(b"wrong", len(data))
        return message, data

    swarm.peer("peer0").tamper = always
    swarm.start()
    swarm.run_until_done(1_000.0)
    assert 0 < len(bad) <= 3 * 2 * 5


@pytest.mark.slow
def test_a_host_that_claims_what_it_has_not_delays_nobody_for_long() -> None:
    swarm = Swarm(1, 6, 40, liars=("peer0",))
    swarm.peer("peer0").tamper = server_lies("boastful", 40, Random(1))
    swarm.start()
    swarm.run_until_done(1_000.0)
    assert swarm.last() <= 2 * swarm.bound


def with_liar(kind: Kind, hoarded: int = 4_000, pieces: int = 256, seconds: float = 0.1) -> Swarm:
    """A hoarder asks for ``hoarded`` pieces more than it would. A piece takes ``seconds`` on any link."""
    swarm = Swarm(1, 8, pieces, piece_seconds=seconds, down_seconds=seconds, liars=("peer0",))
    swarm.peer("peer0").tamper = server_lies(kind, pieces, Random(1))
    swarm.peer("peer0").tamper_fetch = fetch_lies(kind, hoarded)
    swarm.start()
    return swarm


@pytest.mark.slow
@pytest.mark.parametrize("hoarded", [4, 4_000])
def test_a_host_that_takes_pieces_and_passes_none_on_costs_a_bounded_part(hoarded: int) -> None:
    swarm = with_liar("hoarder", hoarded)
    swarm.run_until_done(1.3 * swarm.bound)


@pytest.mark.slow
def test_a_host_that_promises_pieces_and_sends_few_is_got_around() -> None:
    swarm = with_liar("promiser")
    swarm.run_until_done(1.3 * swarm.bound)


@pytest.mark.parametrize(
    ("kind", "pieces", "seconds", "broken", "edit"),
    [
        (
            "hoarder",
            256,
            0.1,
            "leaves pieces that nobody else has with",
            Edit("node.piece_server.swarm:Swarm._could_have_spread", "return any(", "return False and any("),
        ),
        (
            "hoarder",
            256,
            0.1,
            "forgot that nobody but",
            Edit("node.piece_server.swarm:Swarm.not_spread", "back += old", "pass"),
        ),
        pytest.param(
            "promiser",
            128,
            1.0,
            "that peer0 promised, and others have",
            Edit("node.downloader.download:Download.tick", "self._give_up_overdue(now)", "pass"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_it_breaks_an_invariant_where_nobody_minds(
    kind: Kind, pieces: int, seconds: float, broken: str, edit: Edit
) -> None:
    with edited((edit,)), pytest.raises(BrokenInvariantError, match=broken):
        with_liar(kind, pieces=pieces, seconds=seconds).run_until_done(1_000.0)


@pytest.mark.parametrize("name", ["peer0", "seed0"])
@pytest.mark.parametrize("seconds", [5.0, pytest.param(15.0, marks=pytest.mark.slow), 40.0])
def test_a_host_that_sleeps_for_a_while(name: str, seconds: float) -> None:
    swarm = Swarm(2, 5, 40)
    swarm.start()
    swarm.run(6.0)
    swarm.peer(name).pause()
    swarm.run(seconds)
    swarm.peer(name).go_on()
    swarm.run_until_done(1_000.0)
    assert swarm.last() <= 6.0 + seconds + SILENT_SENDING_SECONDS + 2 * swarm.bound
    assert swarm.banned() == {}
