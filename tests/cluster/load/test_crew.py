"""Many clients against the cores of a real tracker, in virtual time: phases, pace, leases, and what an error stops."""

from __future__ import annotations

from random import Random

import pytest

from cluster.load.client import Channel, Reply, Request
from cluster.load.crew import AT_ONCE_COUNT, LOOK_SECONDS, REPLY_SECONDS, Crew
from cluster.load.messages import Phase
from cluster.load.plan import LoadPlan
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS
from protocol.messages import Error, Heartbeat, Join, Leave, Ok, Update
from tests.cluster.load.cores import Played, PureTracker


def plan(clients: int, seconds: float, idle: bool = False) -> LoadPlan:
    return LoadPlan(clients=clients, trackers=1, files=2, seconds=seconds, idle=idle, seed=1)


def play(clients: int, delay: float = 0.01, seconds: float = 5.0, seed: int = 1) -> Played:
    return Played(Crew(range(clients), plan(clients, seconds), Random(seed)), PureTracker(), delay)


def go(played: Played, phase: Phase) -> None:
    played.take(played.crew.go(phase, played.now))


def errors_of(played: Played) -> list[tuple[str, str, int]]:
    return [(error.request, error.kind, error.count) for error in played.crew.tally.errors()]


def test_all_join_ask_and_leave() -> None:
    played = play(20)
    go(played, Phase.JOIN)
    played.run_phase()
    assert (played.crew.settled, len(played.tracker.registrar.registry.members)) == (20, 20)
    go(played, Phase.LOAD)
    began = played.now
    played.run_phase()
    assert played.crew.seconds(played.now) == 5.0
    assert played.crew.tally.request_count == pytest.approx(20 * 5.0 / 0.01, rel=0.02), "a closed loop"
    asked = set(played.crew.tally.requests)
    assert asked == {"Heartbeat", "Update", "GetSeederList", "GetTorrentList", "Leave", "Join", "FileList"}
    go(played, Phase.LEAVE)
    played.run_phase()
    assert played.crew.settled == 20
    assert played.tracker.registrar.registry.members == {}
    assert (played.crew.tally.error_count, played.crew.given_up) == (0, 0)
    assert played.crew.state == (7_000, played.tracker.registrar.seq)
    assert played.now > began


def test_a_few_join_at_a_time() -> None:
    played = play(3 * AT_ONCE_COUNT)
    go(played, Phase.JOIN)
    assert played.open_count_max == AT_ONCE_COUNT
    played.run_phase()
    assert played.open_count_max == AT_ONCE_COUNT
    assert played.crew.settled == 3 * AT_ONCE_COUNT


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[str]:
        played = play(5, seed=seed)
        for phase in (Phase.JOIN, Phase.LOAD, Phase.LEAVE):
            go(played, phase)
            played.run_phase()
        return [f"{request.message}" for request in played.tracker.seen]

    assert asked(3) == asked(3) != asked(4)


def test_who_waits_for_the_others_keeps_its_lease() -> None:
    played = play(3)
    go(played, Phase.JOIN)
    played.run_phase()
    played.run(played.now + 3 * LEASE_SECONDS)
    assert len(played.tracker.registrar.registry.members) == 3
    beats = [request for request in played.tracker.seen if isinstance(request.message, Heartbeat)]
    assert len(beats) == pytest.approx(3 * 3 * LEASE_SECONDS / HEARTBEAT_SECONDS, abs=9), "no more than a peer would"
    go(played, Phase.LEAVE)
    played.run_phase()
    assert played.crew.tally.error_count == 0


def test_idle_clients_send_heartbeats_alone() -> None:
    crew = Crew(range(5), plan(5, 4 * HEARTBEAT_SECONDS, idle=True), Random(1))
    played = Played(crew, PureTracker())
    for phase in (Phase.JOIN, Phase.LOAD):
        go(played, phase)
        played.run_phase()
    assert list(crew.tally.requests) == ["Heartbeat"]
    assert crew.tally.request_count == pytest.approx(5 * 4, abs=5)
    go(played, Phase.LEAVE)
    played.run_phase()
    assert (crew.settled, crew.tally.error_count) == (5, 0)


def test_who_asks_lookups_only_keeps_its_lease() -> None:
    """With replies this slow a client has a handful of operations in a lease."""
    played = play(40, delay=3.0, seconds=120.0)
    go(played, Phase.JOIN)
    played.run_phase()
    go(played, Phase.LOAD)
    played.run_phase(patience=200.0)
    assert errors_of(played) == []


def test_a_reply_that_does_not_come_is_an_error_and_the_client_stops() -> None:
    played = play(4, delay=0.05, seconds=15.0)
    go(played, Phase.JOIN)
    played.run_phase()
    lost: list[Request] = []

    def lose_one(request: Request, reply: Reply) -> Reply | None:
        if lost or not isinstance(request.message, Update):
            return reply
        lost.append(request)
        return None

    played.tracker.lie = lose_one
    go(played, Phase.LOAD)
    played.run(played.now + REPLY_SECONDS - 0.1)
    assert errors_of(played) == []
    played.run(played.now + LOOK_SECONDS + 0.2)
    assert errors_of(played) == [("Update", "no reply", 1)]
    assert played.crew.given_up == 1
    (error,) = played.crew.tally.errors()
    assert error.example.startswith("load-0000")
    before = len(played.tracker.seen)
    played.run(played.now + 1.0)
    peers = {getattr(request.message, "peer", "") for request in played.tracker.seen[before:]}
    assert len(peers - {""}) == 3, "the others go on"
    played.run_phase()
    go(played, Phase.LEAVE)
    played.run_phase()
    assert played.crew.settled == 4, "it leaves all the same"
    assert played.tracker.registrar.registry.members == {}


def test_what_comes_too_late_is_no_second_error() -> None:
    played = play(1)
    go(played, Phase.JOIN)
    played.run_phase()
    (ask,) = played.crew.go(Phase.LOAD, played.now)
    played.crew.tick(played.now + REPLY_SECONDS + LOOK_SECONDS)
    assert played.crew.given_up == 1
    late = played.tracker.answer(ask.request)
    assert late is not None
    assert played.crew.receive(0, ask.request.channel, late, played.now) == []
    assert played.crew.tally.error_count == 1


def test_of_one_that_has_stopped_the_others_expect_nothing() -> None:
    """Its lease ends while they ask about it."""
    played = play(3, seconds=3 * LEASE_SECONDS)
    go(played, Phase.JOIN)
    played.run_phase()
    go(played, Phase.LOAD)
    played.crew.broken(0, "not a msgpack message", played.now)
    played.run_phase(patience=4 * LEASE_SECONDS)
    assert "load-00000" not in played.tracker.registrar.registry.members
    assert sum(count for _, _, count in errors_of(played)) == 1


def test_a_load_in_which_nobody_is_left_is_over() -> None:
    played = play(3, seconds=1_000.0)
    go(played, Phase.JOIN)
    played.run_phase()
    played.tracker.lie = lambda _request, reply: Error(reply.id, "full", "no room")
    go(played, Phase.LOAD)
    played.run_phase(patience=5.0)
    assert played.crew.given_up == 3
    assert sum(count for _, _, count in errors_of(played)) == 3


def test_who_cannot_join_does_not_hold_up_the_others() -> None:
    played = play(10 * AT_ONCE_COUNT)

    def refuse_some(request: Request, reply: Reply) -> Reply:
        refused = isinstance(request.message, Join) and request.message.peer.endswith("7")
        return Error(reply.id, "full", "no room") if refused else reply

    played.tracker.lie = refuse_some
    go(played, Phase.JOIN)
    played.run_phase()
    assert errors_of(played) == [("Join", "refused (full)", AT_ONCE_COUNT)]
    assert played.crew.settled == 9 * AT_ONCE_COUNT


def test_a_reply_nobody_asked_for_is_an_error() -> None:
    played = play(1)
    go(played, Phase.JOIN)
    played.run_phase()
    assert played.crew.receive(0, Channel.REGISTRAR, Ok(1, 7_000, 1), played.now) == []
    assert errors_of(played) == [("nothing", "a reply to nothing", 1)]


def test_a_reply_on_the_other_socket_is_an_error() -> None:
    played = play(1)
    (ask,) = played.crew.go(Phase.JOIN, played.now)
    reply = played.tracker.answer(ask.request)
    assert reply is not None
    played.crew.receive(0, Channel.LOOKUP, reply, played.now)
    assert errors_of(played) == [("Join", "a reply to nothing", 1)]


def test_what_is_no_message_is_an_error() -> None:
    played = play(1)
    played.crew.go(Phase.JOIN, played.now)
    played.crew.broken(0, "not a msgpack message", played.now)
    assert errors_of(played) == [("Join", "a reply that is no message", 1)]
    assert played.crew.over, "there is nobody left to join"


def test_who_is_in_the_middle_of_something_finishes_it_before_it_leaves() -> None:
    played = play(5, delay=0.4, seconds=1.0)
    go(played, Phase.JOIN)
    played.run_phase()
    go(played, Phase.LOAD)
    played.run_phase()
    go(played, Phase.LEAVE)  # requests of the load are open
    played.run_phase()
    assert errors_of(played) == []
    assert played.tracker.registrar.registry.members == {}
    kinds = [type(request.message) for request in played.tracker.seen]
    assert kinds.count(Leave) >= 5


def test_times_are_from_request_to_reply() -> None:
    played = play(5, delay=0.25)
    go(played, Phase.JOIN)
    played.run_phase()
    histogram = played.crew.tally.requests["Join"]
    assert 250_000 <= histogram.percentile(50) <= histogram.longest == pytest.approx(250_000, abs=1)


def test_what_is_answered_after_the_load_does_not_count() -> None:
    played = play(3, delay=0.3, seconds=1.0)
    go(played, Phase.JOIN)
    played.run_phase()
    go(played, Phase.LOAD)
    played.run(played.now + 3.0)
    assert played.crew.tally.request_count == 9, "three each in the first second; the fourth came later"
