"""The link between registrar and lookup, one scenario each; the property test covers their mixtures."""

from __future__ import annotations

import pytest

from broker.effects import SendLookup, Serving
from broker.link_feed import QUERY
from broker.link_messages import Ack, Changes, FromLookup, FromRegistrar, LinkBeat, LinkLost, StateRequest
from protocol import limits as lim
from protocol.codec import Decoder, encode
from protocol.messages import Entry, Goodbye, Ok
from tests.broker.link_scenes import LinkedLookup
from tests.broker.scenes import EPOCH, LEASE, Stage, digest, entry, picture


def replica_of(lookup: LinkedLookup) -> object:
    registry = lookup.lookup.replica.registry
    return None if registry is None else picture(registry)


def linked(stage: Stage) -> LinkedLookup:
    lookup = LinkedLookup(stage)
    lookup.settle()
    return lookup


def test_a_new_lookup_gets_the_state_and_then_each_change() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2, "partial"))
    lookup = linked(stage)
    assert replica_of(lookup) == picture(stage.registry)
    alice.update(Ok, [entry(3)])
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)
    assert lookup.notes == ["following the registrar: 1 peers, 2 swarms"]


def test_a_large_state_comes_in_pages_within_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 10)
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 3)
    stage = Stage()
    for n in range(20):
        stage.peer(f"peer-{n}", *(entry(k) for k in range(n)))
    lookup = LinkedLookup(stage)
    lookup.step_up()
    assert len(lookup.down) == 3
    assert replica_of(lookup) is None
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)


def test_changes_during_the_state_go_in_between_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 2)
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 1)
    stage = Stage()
    alice, bob = (stage.peer(name, *(entry(n) for n in range(4))) for name in ("alice", "bob"))
    lookup = LinkedLookup(stage)
    lookup.step_up()
    at_seq: dict[int, object] = {}
    for number in range(10, 40):
        (alice, bob)[number % 2].update(Ok, [entry(number)], [number - 10])
        at_seq[stage.registrar.seq] = picture(stage.registry)
        lookup.step_down()
        lookup.step_up()
    assert replica_of(lookup) is None, "one message a change is not enough to get ahead"
    while lookup.down or lookup.up or stage.to_lookups:
        lookup.step_down()
        if replica_of(lookup) is not None:
            assert replica_of(lookup) == at_seq[lookup.lookup.replica.seq]
        lookup.step_up()
    assert replica_of(lookup) == picture(stage.registry)


def test_the_tracker_serves_when_every_lookup_follows() -> None:
    stage = Stage()
    effects = stage.registrar.handle_link(b"a", StateRequest(1), stage.now)
    assert [type(effect).__name__ for effect in effects] == ["SendLookup"]
    effects = stage.registrar.handle_link(b"a", Ack(1, 1), stage.now)
    assert [type(effect).__name__ for effect in effects] == ["Serving"]


def test_a_lookup_that_does_not_keep_up_is_dropped_and_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    alice = stage.peer("alice")
    lookup = linked(stage)
    monkeypatch.setattr(lim, "LINK_QUEUE_COUNT_MAX", 10)
    for number in range(lim.LINK_WINDOW_COUNT + 11):
        alice.update(Ok, [entry(number)])
    assert any("11 changes behind" in note for note in stage.notes)
    assert len(stage.to_lookups) == lim.LINK_WINDOW_COUNT, "and not one more"
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)
    assert stage.registrar._ledger.feed.following == 1


@pytest.mark.parametrize("members_before", [0, 1])
def test_however_many_join_at_once_no_lookup_falls_off(monkeypatch: pytest.MonkeyPatch, members_before: int) -> None:
    """As after a restart of the registrar: nothing waits but the names of those whose lists are to be read."""
    monkeypatch.setattr(lim, "LINK_QUEUE_COUNT_MAX", 10)
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 7)
    stage = Stage()
    members = [stage.peer("bob", *(entry(n) for n in range(100)))] * members_before
    lookup = linked(stage)
    for number in range(50):
        stage.peer(f"peer-{number}", *(entry(n) for n in range(20)))
    for bob in members:
        bob.update(Ok, [entry(200)])
    assert not [note for note in stage.notes if "behind" in note]
    assert len(stage.to_lookups) == lim.LINK_WINDOW_COUNT
    shown = replica_of(lookup)
    while replica_of(lookup) == shown and (lookup.up or lookup.down or stage.to_lookups):
        lookup.step_down()
        lookup.step_up()
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)
    assert lookup.lookup.replica.seq == stage.registrar.seq


def test_a_lookup_holds_back_a_bounded_number_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events take several times the room of what they become in the registry; a new state is built as they come."""
    monkeypatch.setattr(lim, "LINK_QUEUE_COUNT_MAX", 50)
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 7)
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 2)
    stage = Stage()
    lookup = linked(stage)
    asked = held_max = 0
    for number in range(100):
        stage.peer(f"peer-{number}", *(entry(n) for n in range(20)))
        for _ in range(2):
            lookup.step_down()
            held_max = max(held_max, len(lookup.lookup.replica._held_back))
            asked += sum(isinstance(message, StateRequest) for message in lookup.up)
            lookup.step_up()
    assert held_max <= 50
    assert asked == 1, "what joins while the state comes is part of it"
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)


def test_a_peer_that_goes_and_comes_while_its_list_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 3)
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 1)
    stage = Stage()
    lookup = linked(stage)
    alice = stage.peer("alice", *(entry(n) for n in range(9)))
    lookup.step_down()
    lookup.step_up()
    alice.leave(Goodbye)
    alice.join(*(entry(n) for n in range(5, 12)))
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)


def test_a_peer_that_goes_before_its_turn_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 1)
    stage = Stage()
    lookup = linked(stage)
    stage.peer("alice", entry(1))
    stage.peer("bob", entry(2)).leave(Goodbye)
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)
    assert lookup.lookup.replica.seq == stage.registrar.seq


@pytest.mark.parametrize("ends", ["leaves", "unshares", "comes back without it", "is being read"])
def test_what_a_peer_announced_that_went_before_its_turn_holds_for_others(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(lim, "LINK_WINDOW_COUNT", 1)
    monkeypatch.setattr(lim, "LINK_PAGE_COUNT", 2)
    stage = Stage()
    stage.peer("alice", entry(1, "requesting"))
    lookup = linked(stage)
    stage.peer("waits", entry(7), entry(8))
    bob = stage.peer("bob", entry(5), entry(6), entry(1))
    if ends == "is being read":
        for _ in range(2):
            lookup.step_down()
            lookup.step_up()
    if ends == "unshares":
        bob.update(Ok, removed=[1])
    else:
        bob.leave(Goodbye)
    if ends == "comes back without it":
        bob.join(entry(6))
    lookup.settle()
    assert replica_of(lookup) == picture(stage.registry)
    assert lookup.lookup.replica.seq == stage.registrar.seq


def test_a_silent_lookup_is_forgotten() -> None:
    stage = Stage()
    lookup = linked(stage)
    lookup.pass_time(60)
    assert not [note for note in stage.notes if "silent" in note], "it answers beats"
    lookup.pass_time(20, deliver=False)
    assert [note for note in stage.notes if "silent for 10 s" in note]


def test_a_silent_registrar_is_asked_again_and_the_old_state_stays_meanwhile() -> None:
    stage = Stage()
    stage.peer("alice", entry(1))
    lookup = linked(stage)
    before = replica_of(lookup)
    lookup.pass_time(lim.LINK_SILENT_SECONDS * 1.4, deliver=False)
    assert any(isinstance(message, StateRequest) for message in lookup.up)
    assert any("silent" in note for note in lookup.notes)
    assert replica_of(lookup) == before


def test_a_restarted_registrar_is_followed_from_its_new_beginning() -> None:
    stage = Stage()
    stage.peer("alice", entry(1))
    lookup = linked(stage)
    restarted = Stage(epoch=EPOCH + 1)
    restarted.now = stage.now + 20
    bob = restarted.peer("bob", entry(2))
    lookup.stage = restarted
    lookup.reconnect()
    lookup.pass_time(lim.LINK_SILENT_SECONDS * 1.4)
    assert replica_of(lookup) == picture(restarted.registry)
    assert lookup.lookup.replica.epoch == EPOCH + 1
    bob.heartbeat(Ok)


def test_what_is_left_of_an_earlier_sync_is_ignored() -> None:
    stage = Stage()
    lookup = linked(stage)
    for message in (Changes(1, 0, 9, 9, False, 0.0, []), LinkBeat(1, 5), LinkLost(1)):
        assert lookup.lookup.handle_link(message, stage.now) == []


def test_an_ack_of_what_was_never_sent_is_answered_lost() -> None:
    stage = Stage()
    stage.registrar.handle_link(b"a", StateRequest(1), stage.now)
    for message in (Ack(1, 5), Ack(2, 0)):
        assert stage.registrar.handle_link(b"a", message, stage.now) == [SendLookup(b"a", LinkLost(message.sync))]


def test_the_number_of_lookups_is_limited() -> None:
    stage = Stage()
    for number in range(lim.LINKS_COUNT_MAX):
        assert stage.registrar.handle_link(b"%d" % number, StateRequest(1), stage.now)
    (note,) = stage.registrar.handle_link(b"one more", StateRequest(1), stage.now)
    assert "refused a lookup" in str(note)


def test_a_message_of_the_largest_events_fits_the_link() -> None:
    stage = Stage()
    stage.registrar.handle_link(b"a", StateRequest(2**53), stage.now)
    longest = [entry(n, name="\U0001f600" * 63 + f"{n:03d}") for n in range(lim.ENTRIES_PAGE_COUNT)]
    longest = [Entry(e.digest, e.manifest, e.name, lim.CONTENT_BYTES_MAX, "requesting") for e in longest]
    alice = stage.peer("p" * lim.PEER_ID_BYTES_MAX)
    for _ in range(2):
        alice.update(Ok, longest)
    events = [
        event
        for message in stage.to_lookups
        if isinstance(message.message, Changes)
        for event in message.message.events
    ]
    page = (events * lim.LINK_PAGE_COUNT)[: lim.LINK_PAGE_COUNT]
    data = encode(Changes(2**53, 2**53, 2**53, 2**53, True, 15.0, page), lim.LINK_BYTES_MAX)
    decoded: FromRegistrar = Decoder[FromRegistrar](FromRegistrar, lim.LINK_BYTES_MAX).decode(data)
    assert isinstance(decoded, Changes)
    assert decoded.events == page


@pytest.mark.parametrize("message", [StateRequest(1), Ack(1, 2)])
def test_what_a_lookup_says_survives_the_wire(message: FromLookup) -> None:
    assert Decoder[FromLookup](FromLookup).decode(encode(message)) == message


def test_settling_lasts_one_lease() -> None:
    stage = Stage()
    lookup = linked(stage)
    assert lookup.lookup.replica.settling(stage.now)
    lookup.pass_time(LEASE - 0.1)
    assert lookup.lookup.replica.settling(stage.now)
    lookup.pass_time(0.1)
    assert not lookup.lookup.replica.settling(stage.now)
    assert digest(1) not in stage.registry.swarms


def test_the_page_hears_about_the_tracker_and_is_not_waited_for() -> None:
    stage = Stage()
    stage.registrar.requests["Join"] += 3
    stage.registrar.handle_link(b"page", StateRequest(1, answers=False), stage.now)
    assert Serving() not in stage.registrar.handle_link(b"page", Ack(1, 1), stage.now)
    stage.registrar.handle_link(b"a", StateRequest(2), stage.now)
    assert Serving() in stage.registrar.handle_link(b"a", Ack(2, 1, queries=40), stage.now), "counted from here on"
    stage.registrar.handle_link(b"a", Ack(2, 1, queries=45), stage.now)
    beats = [effect for effect in stage.registrar.tick(stage.now + 1.0) if isinstance(effect, SendLookup)]
    assert {effect.route: effect.message for effect in beats} == {
        b"page": LinkBeat(1, 1, (("Join", 3), (QUERY, 5)), 1, 1),
        b"a": LinkBeat(2, 1),
    }
