"""The registrar's conversations with members, one scenario each."""

from __future__ import annotations

from typing import get_args

import pytest

from broker.registrar_core import Terms
from broker.registry import HOLDING_AFTER
from protocol import limits as lim
from protocol.messages import (
    Beat,
    DownloadState,
    Error,
    Goodbye,
    Heartbeat,
    Holding,
    ListRequest,
    Ok,
    PageOk,
    PeerLeft,
    Rejoin,
    SourceAdded,
    SourceRemoved,
    Transfer,
    TransferState,
    Update,
    Welcome,
)
from tests.broker.scenes import EPOCH, LEASE, TERMS, Actor, Stage, digest, entry

ALICE_AT = "tcp://10.0.0.9:7000"


# --- maintain --------------------------------------------------------------------------------------------


def test_heartbeats_keep_the_lease() -> None:
    stage = Stage()
    alice = stage.peer("alice")
    for _ in range(10):
        stage.pass_time(LEASE - 0.001)
        assert alice.heartbeat(Ok) == Ok(alice._ids, EPOCH, 1)


def test_a_silent_peer_expires_exactly_at_the_end_of_its_lease() -> None:
    stage = Stage()
    stage.peer("alice", entry(1), entry(2))
    stage.hints()
    stage.pass_time(LEASE - 0.001)
    assert "alice" in stage.registry.members
    stage.pass_time(0.001)
    assert not stage.registry.members
    assert not stage.registry.swarms
    assert stage.hints() == [PeerLeft("alice", expired=True)]
    assert "silent for 15 s" in stage.notes[-1]


def test_a_registrar_that_stood_still_blames_nobody() -> None:
    stage = Stage()
    alice = stage.peer("alice")
    stage.peer("bob")
    stage.now += 10 * LEASE
    stage.perform(stage.registrar.tick(stage.now))
    assert len(stage.registry.members) == 2
    alice.heartbeat(Ok)
    stage.pass_time(LEASE - 0.001)
    assert len(stage.registry.members) == 2
    stage.pass_time(0.002)
    assert len(stage.registry.members) == 0, "a full lease later both are gone"


def test_the_shortest_lease_expires_too() -> None:
    stage = Stage(TERMS._replace(lease_seconds=0.3, heartbeat_seconds=0.1))
    stage.peer("alice")
    stage.pass_time(0.3)
    assert not stage.registry.members


def test_an_unknown_peer_is_told_to_rejoin() -> None:
    alice = Actor(Stage(), "alice")
    alice.heartbeat(Rejoin)
    alice.update(Rejoin)
    alice.transfer(1, "started", Rejoin)


def test_a_heartbeat_with_another_version_asks_for_the_list() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2))
    stage.hints()
    alice.version = 9
    list_id = alice.heartbeat(ListRequest).list_id
    assert alice.heartbeat(ListRequest).list_id == list_id, "asked again in the same words"
    alice.page(list_id, 0, False, [entry(2)], PageOk)
    alice.heartbeat(Ok)  # its list is on the way
    alice.page(list_id, 1, True, [entry(3)], Welcome)
    alice.heartbeat(Ok)
    assert stage.hints() == [
        SourceRemoved(digest(1), "alice"),
        SourceAdded(digest(3), "alice", "Alice", ALICE_AT, True),
    ], "no joined: it was in all the time"


def test_the_load_is_taken_in_with_the_next_beat_and_has_no_number() -> None:
    stage = Stage()
    alice = stage.peer("alice")
    stage.pass_time(0.5)
    alice.heartbeat(Ok, load=3)
    assert stage.registry.members["alice"].load == 0
    stage.pass_time(lim.ROSTER_BEAT_SECONDS)
    assert stage.registry.members["alice"].load == 3
    assert stage.registrar.seq == 1


# --- update ----------------------------------------------------------------------------------------------


def test_downloads_are_taken_in_with_the_next_beat_and_stay_until_others_are_told() -> None:
    stage = Stage()
    a = stage.peer("a")
    seq, downloads = stage.registrar.seq, [DownloadState(digest(1), "waiting", 1000, reason="no peer has it")]
    a.heartbeat(Ok, downloads=downloads)
    stage.pass_time(1)
    assert stage.registry.members["a"].downloads == downloads
    a.heartbeat(Ok)
    stage.pass_time(1)
    assert stage.registry.members["a"].downloads == downloads
    a.heartbeat(Ok, downloads=[])
    stage.pass_time(1)
    assert stage.registry.members["a"].downloads == []
    assert stage.registrar.seq == seq


def test_the_last_downloads_of_a_peer_that_leaves_are_forgotten() -> None:
    stage = Stage()
    a = stage.peer("a")
    a.heartbeat(Ok, downloads=[DownloadState(digest(1), "failed", reason="disk full")])
    a.leave(Goodbye)
    stage.registrar.check_invariants()
    stage.pass_time(1)


def test_an_update_changes_what_it_names() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2))
    stage.hints()
    assert alice.update(Ok, [entry(3), entry(2, name="new name")], [1, 77]).seq == 6
    assert stage.hints() == [
        SourceRemoved(digest(1), "alice"),
        SourceAdded(digest(3), "alice", "Alice", ALICE_AT, True),
        SourceAdded(digest(2), "alice", "Alice", ALICE_AT, True),
    ]
    assert stage.registry.members["alice"].listings[digest(2)].name == "new name"
    stage.registrar.check_invariants()


def test_a_repeated_update_is_ok_again() -> None:
    stage = Stage()
    alice = stage.peer("alice")
    message = Update(5, "alice", alice.token, 1, 2, [entry(1)], [], alice.run)
    first, second = stage.ask(message, Ok), stage.ask(message, Ok)
    assert first == second
    assert len(stage.hints()) == 2


def test_an_update_of_another_base_asks_for_the_list() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    stage.ask(Update(5, "alice", alice.token, 7, 8, [entry(2)], [], alice.run), ListRequest)
    assert list(stage.registry.swarms) == [digest(1)]


def test_what_is_removed_and_added_at_once_is_there() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    stage.hints()
    alice.update(Ok, [entry(1)], [1])
    assert stage.hints() == []
    assert stage.registry.holding("alice", digest(1)) == "whole"


def test_an_update_that_changes_nothing_has_no_number() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    assert alice.update(Ok, [entry(1)]).seq == 2


# --- transfers -------------------------------------------------------------------------------------------


def test_a_started_download_makes_a_partial_source_whatever_the_list_says() -> None:
    stage = Stage()
    stage.peer("alice", entry(1, name="its name"))
    bob = stage.peer("bob")
    stage.hints()
    bob.transfer(1, "requesting", Ok)
    assert stage.hints() == [SourceRemoved(digest(1), "bob", 0)], "the change has a number; bob is no source"
    bob.transfer(1, "started", Ok)
    assert stage.hints() == [SourceAdded(digest(1), "bob", "Bob", ALICE_AT, False, cell=0)]
    assert stage.registry.members["bob"].listings[digest(1)].name == "its name"
    bob.transfer(1, "finished", Ok)
    assert stage.hints() == [SourceAdded(digest(1), "bob", "Bob", ALICE_AT, True, cell=0)]
    bob.transfer(1, "started", Ok)
    assert stage.hints() == []
    stage.registrar.check_invariants()


def test_a_transfer_leaves_the_names_of_an_entry_as_they_are() -> None:
    stage = Stage()
    bob = stage.peer("bob", entry(1, "partial", "one", ["two"]))
    bob.transfer(1, "finished", Ok)
    event = stage.registry.entry_event("bob", digest(1))
    assert event is not None
    assert (event.holding, event.name, [alias.name for alias in event.aliases]) == ("whole", "one", ["two"])


def test_a_failed_download_takes_back_what_it_announced() -> None:
    stage = Stage()
    stage.peer("alice", entry(1))
    bob = stage.peer("bob", entry(1, "partial"))
    stage.hints()
    for _ in range(2):
        bob.transfer(1, "failed", Ok)
    assert stage.hints() == [SourceRemoved(digest(1), "bob")]
    assert stage.registry.holding("bob", digest(1)) is None


def test_a_transfer_of_content_nobody_lists_says_what_to_do() -> None:
    stage = Stage()
    assert "Update" in stage.peer("bob").transfer(1, "started", Error).detail
    bob = stage.peer("bob", entry(1, "requesting"))
    bob.transfer(1, "started", Ok)
    assert stage.registry.holding("bob", digest(1)) == "partial"


def test_the_table_of_holdings_is_complete_and_repeatable() -> None:
    holdings: list[Holding | None] = [None, *get_args(Holding)]
    states: list[TransferState] = list(get_args(TransferState))
    assert len(HOLDING_AFTER) == len(holdings) * len(states)
    for state in states:
        for holding in holdings:
            after = HOLDING_AFTER[state, holding]
            assert HOLDING_AFTER[state, after] == after


# --- leave -----------------------------------------------------------------------------------------------


def test_a_leaving_peer_takes_every_entry_with_it() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2, "partial"), entry(3, "requesting"))
    bob = stage.peer("bob", entry(1))
    stage.hints()
    seq = alice.leave(Goodbye).seq
    assert stage.hints() == [PeerLeft("alice", expired=False)]
    assert alice.leave(Goodbye).seq == seq, "repeated"
    alice.heartbeat(Rejoin)
    assert list(stage.registry.members) == ["bob"]
    assert list(stage.registry.swarms) == [digest(1)]
    bob.heartbeat(Ok)
    stage.registrar.check_invariants()


def test_a_leave_ends_a_half_done_join() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    alice.leave(Goodbye)
    alice.page(list_id, 0, True, [], Rejoin)


# --- limits ----------------------------------------------------------------------------------------------


def test_the_number_of_peers_is_limited() -> None:
    stage = Stage(TERMS._replace(peers_max=1))
    bob = Actor(stage, "bob")
    list_id = bob.ask_join(ListRequest).list_id
    alice = stage.peer("alice")
    assert bob.page(list_id, 0, True, [], Error).code == "full"
    assert bob.ask_join(Error).code == "full"
    alice.join(entry(1))  # who is in may come again


def test_the_entries_of_a_peer_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "PEER_ENTRIES_COUNT_MAX", 3)
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2), entry(3))
    assert alice.update(Error, [entry(4)]).code == "too_many"
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.page(list_id, 0, False, [entry(n) for n in range(4)], Error).code == "too_many"
    assert stage.registry.weight == 3


def test_an_entry_counts_once_for_each_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "PEER_ENTRIES_COUNT_MAX", 3)
    stage = Stage()
    alice = stage.peer("alice", entry(1, aliases=["a"]))
    assert alice.update(Error, [entry(2, aliases=["b"])]).code == "too_many"
    list_id = alice.ask_join(ListRequest).list_id
    alice.page(list_id, 0, False, [entry(1, aliases=["a"])], PageOk)
    assert alice.page(list_id, 1, True, [entry(2, aliases=["b"])], Error).code == "too_many"
    monkeypatch.setattr(lim, "ENTRIES_COUNT_MAX", 3)
    assert stage.peer("bob", entry(1)).update(Error, [entry(2)]).code == "full"


def test_all_entries_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "ENTRIES_COUNT_MAX", 3)
    stage = Stage()
    stage.peer("alice", entry(1), entry(2))
    bob = stage.peer("bob", entry(1))
    assert bob.update(Error, [entry(4)]).code == "full"
    assert bob.transfer(2, "started", Error).code == "full"
    list_id = bob.ask_join(ListRequest).list_id
    assert bob.page(list_id, 0, True, [entry(5), entry(6)], Error).code == "full"


def test_half_done_lists_are_limited_in_number_entries_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LIST_TRANSFERS_COUNT_MAX", 2)
    monkeypatch.setattr(lim, "LIST_TRANSFER_ENTRIES_COUNT_MAX", 3)
    stage = Stage()
    alice, bob, carol = (Actor(stage, name) for name in ("alice", "bob", "carol"))
    ids = [peer.ask_join(ListRequest).list_id for peer in (alice, bob)]
    alice.page(ids[0], 0, False, [entry(1), entry(2)], PageOk)
    assert bob.page(ids[1], 0, True, [entry(3), entry(4)], Error).code == "busy"
    bob.page(bob.ask_join(ListRequest).list_id, 0, False, [entry(3)], PageOk)
    assert carol.ask_join(Error).code == "busy"
    stage.pass_time(lim.LIST_TRANSFER_SECONDS)
    alice.page(ids[0], 1, True, [], Rejoin)
    for number, peer in enumerate((alice, bob)):
        peer.page(peer.ask_join(ListRequest).list_id, 0, False, [entry(number)], PageOk)
    assert carol.ask_join(Error).code == "busy"


def test_those_who_ask_to_join_and_say_no_more_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LIST_TRANSFERS_COUNT_MAX", 3)
    stage = Stage()
    alice, bob = Actor(stage, "alice"), Actor(stage, "bob")
    of_alice = alice.ask_join(ListRequest).list_id
    alice.page(of_alice, 0, False, [entry(1)], PageOk)
    of_bob = bob.ask_join(ListRequest).list_id
    for number in range(10):
        Actor(stage, f"stranger-{number}").ask_join(ListRequest)
        stage.registrar.check_invariants()
    bob.page(of_bob, 0, True, [], Rejoin)  # his turn came too late: he joins again, and is in
    bob.join(entry(2))
    alice.page(of_alice, 1, True, [], Welcome)
    assert list(stage.registry.members) == ["bob", "alice"]


def test_half_done_lists_of_one_address_keep_those_of_others_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LIST_TRANSFERS_COUNT_MAX", 3)
    monkeypatch.setattr(lim, "LIST_TRANSFER_ENTRIES_COUNT_MAX", 6)
    stage = Stage()
    for number in range(3):
        stranger = Actor(stage, f"stranger-{number}", address="10.6.6.6")
        stranger.page(stranger.ask_join(ListRequest).list_id, 0, False, [entry(number), entry(10 + number)], PageOk)
    Actor(stage, "alice").join(entry(4))
    Actor(stage, "bob").join(entry(5))
    assert Actor(stage, "more", address="10.6.6.6").join(entry(6))
    assert stranger.ask_join(ListRequest)
    stage.registrar.check_invariants()


def test_a_page_of_nothing_that_is_not_the_last_is_refused() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    assert alice.page(alice.ask_join(ListRequest).list_id, 0, False, [], Error).code == "bad_page"


def test_where_there_is_no_room_the_address_with_the_most_members_gives_way() -> None:
    stage = Stage(TERMS._replace(peers_max=4))
    strangers = [Actor(stage, f"stranger-{number}", address="10.6.6.6") for number in range(5)]
    for stranger in strangers[:4]:
        stranger.join(entry(1))
    assert strangers[4].ask_join(Error).code == "full", "its own address has the most"
    Actor(stage, "alice").join(entry(2))
    Actor(stage, "bob").join(entry(2))
    assert sorted(stage.registry.members) == ["alice", "bob", "stranger-0", "stranger-1"]
    assert Actor(stage, "carol").ask_join(Error).code == "full", "both have as much"
    strangers[3].heartbeat(Rejoin)
    stage.registrar.check_invariants()


def test_where_there_is_no_room_the_address_with_the_most_entries_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "ENTRIES_COUNT_MAX", 6)
    stage = Stage()
    strangers = [Actor(stage, f"stranger-{number}", address="10.6.6.6") for number in range(2)]
    for number, stranger in enumerate(strangers):
        stranger.join(entry(3 * number), entry(3 * number + 1), entry(3 * number + 2))
    assert strangers[0].update(Error, [entry(9)]).code == "full"
    alice = stage.peer("alice", entry(20))
    alice.update(Ok, [entry(21)])
    assert len(stage.registry.members) == 2
    stage.registrar.check_invariants()


def test_members_with_long_lists_are_forgotten_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 4)
    stage = Stage()
    for number in range(6):
        stage.peer(f"peer-{number}", entry(number), entry(10 + number))
    stage.pass_time(LEASE - 0.1)
    stage.now += 0.2
    left = []
    while stage.registry.members:
        stage.registrar.tick(stage.now)
        left.append(len(stage.registry.members))
        assert not left[-1] or stage.registrar.next_deadline() <= stage.now
    assert left == [4, 2, 0]


# --- roster ----------------------------------------------------------------------------------------------


def test_the_roster_has_one_sequence_without_holes() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2))
    alice.update(Ok, [entry(3)], [1])
    stage.pass_time(LEASE + 1)
    numbered = [roster.seq for roster in stage.published if not isinstance(roster.event, Beat)]
    assert numbered == list(range(1, 7))
    assert {roster.epoch for roster in stage.published} == {EPOCH}


def test_a_beat_each_second_carries_the_number_of_the_last_event() -> None:
    stage = Stage()
    stage.peer("alice")
    stage.hints()
    stage.pass_time(10)
    assert [(roster.seq, roster.event) for roster in stage.published] == [(1, Beat())] * 11


def test_a_long_list_is_announced_only_as_far_as_somebody_wants_it() -> None:
    stage = Stage()
    bob = stage.peer("bob", entry(5, "requesting"), entry(6, "partial"), entry(7))
    stage.hints()
    alice = Actor(stage, "alice")
    welcome = alice.join(*(entry(n) for n in range(100)))
    announced = [(hint.digest if isinstance(hint, SourceAdded) else "joined") for hint in stage.hints()]
    assert announced == ["joined", digest(5), digest(6), digest(99)], "and what was announced last"
    assert welcome.seq == 8
    many = [entry(n) for n in range(200, 300)]
    assert bob.update(Ok, many).seq == 9, "at least one, so that the change has a number"


@pytest.mark.parametrize("kind", [Heartbeat, Transfer])
def test_any_word_of_a_member_counts_as_a_sign_of_life(kind: type) -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    stage.pass_time(LEASE - 1)
    if kind is Heartbeat:
        alice.heartbeat(Ok)
    else:
        alice.transfer(1, "finished", Ok)
    stage.pass_time(LEASE - 1)
    assert "alice" in stage.registry.members


def test_terms_are_those_of_the_welcome() -> None:
    stage = Stage(Terms(30.0, 10.0, 5, "tcp://h:2", ("tcp://h:3", "tcp://h:4")))
    welcome = Actor(stage, "alice").join()
    assert (welcome.lease_seconds, welcome.heartbeat_seconds) == (30.0, 10.0)
    assert (welcome.roster, welcome.lookups) == ("tcp://h:2", ["tcp://h:3", "tcp://h:4"])


def test_no_error_detail_is_longer_than_the_wire_allows() -> None:
    stage = Stage()
    stage.peer("a" * lim.PEER_ID_BYTES_MAX)
    impostor = Actor(stage, "a" * lim.PEER_ID_BYTES_MAX, token=b"another-token-of-16")
    assert len(impostor.heartbeat(Error).detail) <= lim.DETAIL_BYTES_MAX
