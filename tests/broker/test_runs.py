"""Restarts of a peer, what is late of the run before, and two peers with one identity."""

from __future__ import annotations

from broker.sessions import REPLACED_RUNS_COUNT
from protocol.limits import DETAIL_BYTES_MAX, PEER_ID_BYTES_MAX
from protocol.messages import (
    Error,
    Goodbye,
    ListRequest,
    Ok,
    PageOk,
    PeerJoined,
    Rejoin,
    SourceAdded,
    SourceRemoved,
    Welcome,
)
from tests.broker.scenes import LEASE, Actor, Stage, digest, entry

ALICE_AT = "tcp://10.0.0.9:7000"


def refusals_of(actor: Actor, list_id: int = 1) -> list[Error]:
    """Everything a peer can say, refused."""
    return [
        actor.ask_join(Error),
        actor.page(list_id, 0, True, [entry(9)], Error),
        actor.heartbeat(Error),
        actor.update(Error, [entry(9)]),
        actor.transfer(1, "failed", Error),
        actor.leave(Error),
    ]


def test_a_restarted_peer_is_a_member_all_the_time() -> None:
    stage = Stage()
    stage.peer("alice", entry(1), entry(2))
    stage.hints()
    again = Actor(stage, "alice", run=2)
    list_id = again.ask_join(ListRequest).list_id
    assert list(stage.registry.members["alice"].listings) == [digest(1), digest(2)]
    again.page(list_id, 0, True, [entry(2), entry(3)], Welcome)
    assert stage.hints() == [
        PeerJoined("alice", "Alice", ALICE_AT),
        SourceRemoved(digest(1), "alice"),
        SourceAdded(digest(3), "alice", "Alice", ALICE_AT, True),
    ]
    again.heartbeat(Ok)
    again.update(Ok, [entry(4)])
    again.transfer(4, "finished", Ok)
    again.leave(Goodbye)
    stage.registrar.check_invariants()


def test_nothing_that_is_late_of_a_dead_run_does_harm() -> None:
    stage = Stage()
    dead = Actor(stage, "alice")
    list_id = dead.ask_join(ListRequest).list_id
    dead.page(list_id, 0, True, [entry(1)], Welcome)
    again = Actor(stage, "alice", run=2)
    again.join(entry(2))
    seq = stage.registrar.seq
    stage.pass_time(LEASE - 1)
    assert {refusal.code for refusal in refusals_of(dead, list_id)} == {"replaced"}
    assert list(stage.registry.members["alice"].listings) == [digest(2)]
    assert stage.registrar.seq == seq
    stage.pass_time(1)
    assert not stage.registry.members, "and no lease is renewed by it"
    stage.registrar.check_invariants()


def test_what_is_late_of_a_dead_run_does_not_disturb_a_list_on_its_way() -> None:
    stage = Stage()
    dead = stage.peer("alice", entry(1))
    again = Actor(stage, "alice", run=2)
    list_id = again.ask_join(ListRequest).list_id
    again.page(list_id, 0, False, [entry(2)], PageOk)
    dead.ask_join(ListRequest)
    dead.update(Ok, [entry(3)])
    dead.leave(Goodbye)
    assert not stage.registry.members
    again.page(list_id, 1, True, [entry(4)], Welcome)
    assert list(stage.registry.members["alice"].listings) == [digest(2), digest(4)]
    stage.registrar.check_invariants()


def test_of_two_that_join_at_once_the_one_whose_list_is_whole_last_stays() -> None:
    stage = Stage()
    one, two = Actor(stage, "alice", run=1), Actor(stage, "alice", run=2)
    ids = [actor.ask_join(ListRequest).list_id for actor in (one, two)]
    one.page(ids[0], 0, False, [entry(1)], PageOk)
    two.page(ids[1], 0, True, [entry(2)], Welcome)
    one.page(ids[0], 1, True, [], Welcome)
    assert list(stage.registry.members["alice"].listings) == [digest(1)]
    assert two.heartbeat(Error).code == "replaced"
    assert two.page(ids[1], 0, True, [entry(2)], Error).code == "replaced", "a repeated last page as well"


def test_the_refusal_says_what_has_happened_and_what_to_do_and_the_log_says_it_once() -> None:
    stage = Stage()
    copy = Actor(stage, "a" * PEER_ID_BYTES_MAX)
    copy.join(entry(1))
    Actor(stage, copy.name, run=2).join(entry(2))
    stage.notes.clear()
    refusals = refusals_of(copy) + refusals_of(copy)
    for refusal in refusals:
        assert "another peer" in refusal.detail
        assert "copy" in refusal.detail
        assert "delete identity.json" in refusal.detail
        assert len(refusal.detail) <= DETAIL_BYTES_MAX
    (note,) = stage.notes
    assert "two peers" in note


def test_a_late_word_that_is_no_join_is_not_worth_a_line_in_the_log() -> None:
    stage = Stage()
    dead = stage.peer("alice")
    Actor(stage, "alice", run=2).join()
    stage.notes.clear()
    dead.heartbeat(Error)
    assert stage.notes == []


def test_who_was_replaced_may_come_back_once_the_other_is_gone() -> None:
    stage = Stage()
    one = stage.peer("alice", entry(1))
    two = Actor(stage, "alice", run=2)
    two.join(entry(2))
    assert one.ask_join(Error).code == "replaced"
    two.leave(Goodbye)
    one.heartbeat(Rejoin)
    one.join(entry(1))
    Actor(stage, "alice", run=3).join(entry(3))
    assert one.ask_join(Error).code == "replaced"
    stage.pass_time(LEASE)
    one.join(entry(1))


def test_a_run_the_registrar_has_never_seen_joins_first() -> None:
    """As after the registrar's restart: one of two is in again, the other one's heartbeat comes."""
    stage = Stage()
    stage.peer("alice", entry(1))
    other = Actor(stage, "alice", run=2)
    other.heartbeat(Rejoin)
    other.update(Rejoin)
    other.transfer(1, "failed", Rejoin)
    other.page(7, 0, True, [], Rejoin)
    assert list(stage.registry.members["alice"].listings) == [digest(1)]


def test_a_peer_that_leaves_before_its_list_is_whole_takes_the_run_before_with_it() -> None:
    stage = Stage()
    stage.peer("alice", entry(1))
    again = Actor(stage, "alice", run=2)
    again.ask_join(ListRequest)
    again.leave(Goodbye)
    assert not stage.registry.members


def test_a_peer_that_is_restarted_for_ever_takes_no_more_room() -> None:
    stage = Stage()
    for run in range(1, 10 * REPLACED_RUNS_COUNT):
        actor = Actor(stage, "alice", run=run)
        actor.join(entry(run))
    session = stage.registrar._sessions.get("alice")
    assert session is not None
    assert len(session.replaced) == REPLACED_RUNS_COUNT
    assert Actor(stage, "alice", run=run - 1).heartbeat(Error).code == "replaced"
    actor.heartbeat(Ok)


def test_a_peer_that_does_not_say_its_run_is_one_run() -> None:
    stage = Stage()
    old = Actor(stage, "alice", run=0)
    old.join(entry(1))
    old.join(entry(2))
    old.heartbeat(Ok)
