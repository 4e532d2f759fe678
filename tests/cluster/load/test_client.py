"""One client against the cores of a real tracker: what it says is right, and what is wrong in a reply is noticed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from cluster.load.client import Channel, Client, Conversation, Fault, Reply, Request
from cluster.load.content import addresses_of, common_entry, endpoint_of, own_entry, peer_of
from cluster.load.mix import MIX
from protocol.limits import ENTRIES_PAGE_COUNT, SEEDERS_COUNT_MAX
from protocol.messages import (
    Behind,
    Error,
    FileList,
    GetSeederList,
    Goodbye,
    ListRequest,
    Ok,
    PageOk,
    Rejoin,
    SeederEntry,
    SeederList,
    TorrentList,
    Welcome,
)
from tests.cluster.load.cores import EPOCH, PureTracker, converse


def clients_of(count: int, files: int = 3) -> list[Client]:
    clients: list[Client] = []
    for number in range(count):
        clients.append(Client(number, files, addresses_of(count), clients, Random(number)))
    return clients


def joined(tracker: PureTracker, count: int = 2, files: int = 3) -> list[Client]:
    clients = clients_of(count, files)
    for client in clients:
        converse(tracker, client.join())
    return clients


def told(kind: type[Any], **changes: Any) -> Callable[[Request, Reply], Reply]:
    """A lie: every reply of ``kind`` has other values in these fields."""
    return lambda _request, reply: replace(reply, **changes) if isinstance(reply, kind) else reply


def fault_of(tracker: PureTracker, talk: Conversation) -> str:
    with pytest.raises(Fault) as caught:
        converse(tracker, talk)
    return caught.value.kind


def test_who_joins_is_listed_with_all_its_files() -> None:
    tracker = PureTracker()
    joined(tracker)
    members = tracker.registrar.registry.members
    assert list(members) == [peer_of(0), peer_of(1)]
    assert members[peer_of(1)].endpoint == endpoint_of(1)
    assert list(members[peer_of(1)].listings) == [
        *(own_entry(1, file).digest for file in range(3)),
        common_entry().digest,
    ]


def test_a_long_list_goes_in_pages() -> None:
    tracker = PureTracker()
    joined(tracker, 1, files=2 * ENTRIES_PAGE_COUNT)
    pages = [request.message for request in tracker.seen if isinstance(request.message, FileList)]
    assert [(page.page, len(page.entries), page.last) for page in pages] == [
        (0, ENTRIES_PAGE_COUNT, False),
        (1, ENTRIES_PAGE_COUNT, False),
        (2, 1, True),
    ]


def test_an_update_adds_a_file_and_the_next_one_removes_it() -> None:
    tracker = PureTracker()
    client, other = joined(tracker)
    extra = own_entry(0, 3)
    for there in (True, False, True):
        converse(tracker, client.update())
        assert client.lists(extra) is there
        assert (tracker.registrar.registry.holding(client.peer, extra.digest) is not None) is there
        converse(tracker, other.listing(client, extra))
        converse(tracker, other.seeders(client, extra))
    tracker.registrar.check_invariants()


def test_who_left_and_joined_again_is_as_before() -> None:
    tracker = PureTracker()
    client = joined(tracker)[0]
    converse(tracker, client.update())
    converse(tracker, client.rejoin())
    assert client.member
    assert len(tracker.registrar.registry.members[client.peer].listings) == 5
    kinds = [type(request.message).__name__ for request in tracker.seen[-4:]]
    assert kinds == ["Leave", "GetSeederList", "Join", "FileList"]


def test_who_leaves_is_gone() -> None:
    tracker = PureTracker()
    clients = joined(tracker)
    for client in clients:
        converse(tracker, client.leave())
        assert not client.member
    assert tracker.registrar.registry.swarms == {}


def test_every_operation_of_the_mix_goes_well() -> None:
    tracker = PureTracker()
    clients = joined(tracker, 5)
    for _ in range(20):
        for operation in MIX:
            for client in clients:
                converse(tracker, client.operation(operation))
    tracker.registrar.check_invariants()


def test_a_lookup_that_is_behind_is_asked_again() -> None:
    tracker = PureTracker()
    client = joined(tracker)[0]
    behind = iter([Behind(0, EPOCH, 0)] * 7)
    tracker.lie = lambda request, reply: next(behind, reply) if request.channel is Channel.LOOKUP else reply
    converse(tracker, client.seeders(client, own_entry(0, 0)))
    assert client.asked_again == 7


def test_one_that_is_always_behind_is_an_error() -> None:
    tracker = PureTracker()
    client = joined(tracker)[0]
    tracker.lie = lambda request, reply: Behind(reply.id, EPOCH, 0) if request.channel is Channel.LOOKUP else reply
    assert fault_of(tracker, client.listing(client, own_entry(0, 0))) == "always behind"


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (told(Welcome, endpoint=endpoint_of(1)), "a wrong welcome"),
        (told(Welcome, lookups=[]), "a wrong welcome"),
        (lambda _, reply: Rejoin(reply.id) if isinstance(reply, Welcome) else reply, "answered with Rejoin"),
        (lambda _, reply: Error(reply.id, "busy", "later"), "refused (busy)"),
        (lambda _, reply: Ok(reply.id, EPOCH, 1), "answered with Ok"),
        (told(PageOk, page=7), "another page"),
        (told(PageOk, list_id=99), "another page"),
    ],
)
def test_what_is_wrong_in_a_join_is_noticed(lie: Callable[[Request, Reply], Reply], kind: str) -> None:
    tracker = PureTracker(lie)
    client = clients_of(1, files=ENTRIES_PAGE_COUNT)[0]
    assert fault_of(tracker, client.join()) == kind


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (lambda _, reply: Rejoin(reply.id), "answered with Rejoin"),
        (lambda _, reply: ListRequest(reply.id, 1), "answered with ListRequest"),
        (told(Ok, epoch=EPOCH + 1), "another epoch"),
        (told(Ok, seq=0), "an old state"),
    ],
)
def test_what_is_wrong_in_an_answer_to_a_member_is_noticed(lie: Callable[[Request, Reply], Reply], kind: str) -> None:
    for conversation in (Client.heartbeat, Client.update):
        tracker = PureTracker()
        client = joined(tracker)[0]
        tracker.lie = lie
        assert fault_of(tracker, conversation(client)) == kind


def source(number: int, **changes: Any) -> SeederEntry:
    return replace(SeederEntry(peer_of(number), peer_of(number), endpoint_of(number), True), **changes)


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (told(SeederList, total=0, seeders=[]), "what was announced is missing"),
        (told(SeederList, total=1, seeders=[source(1)]), "what was announced is missing"),
        (told(SeederList, total=1, seeders=[source(0, whole=False)]), "a wrong source"),
        (told(SeederList, total=1, seeders=[source(0, endpoint="tcp://127.0.0.1:1")]), "a wrong source"),
        (told(SeederList, total=1, seeders=[source(7)]), "a wrong source"),
        (told(SeederList, total=2), "a wrong number of sources"),
        (told(SeederList, seq=0), "an old state"),
        (told(SeederList, epoch=1), "another epoch"),
        (lambda request, _: TorrentList(request.message.id, EPOCH, 99, False, [], ""), "answered with TorrentList"),
    ],
)
def test_what_is_wrong_in_a_seeder_list_is_noticed(lie: Callable[[Request, Reply], Reply], kind: str) -> None:
    tracker = PureTracker()
    clients = joined(tracker)
    tracker.lie = lie
    for asker in clients:
        assert fault_of(tracker, asker.seeders(clients[0], own_entry(0, 0))) == kind


def test_a_missing_source_of_what_all_have_is_noticed() -> None:
    tracker = PureTracker(told(SeederList, total=1, seeders=[source(0)]))
    clients = joined(tracker)
    converse(tracker, clients[1].seeders(clients[0], common_entry()))
    assert fault_of(tracker, clients[0].seeders(clients[1], common_entry())) == "a source is missing"


def test_of_a_large_swarm_a_sample_is_enough() -> None:
    count = SEEDERS_COUNT_MAX + 10
    tracker = PureTracker()
    clients = joined(tracker, count, files=1)
    for client in clients:
        converse(tracker, client.seeders(client, common_entry()))


def test_what_is_wrong_in_a_listing_is_noticed() -> None:
    tracker = PureTracker()
    clients = joined(tracker)
    entry = own_entry(0, 0)
    (right,) = tracker.lookup_entries(entry.name)
    for changes, kind in (
        ({"entries": []}, "what was announced is missing"),
        ({"entries": [replace(right, length=1)]}, "a wrong entry"),
        ({"entries": [replace(right, digest=own_entry(0, 1).digest)]}, "a wrong entry"),
        ({"entries": [replace(right, have=2)]}, "a wrong number of sources"),
        ({"entries": [replace(right, have=0)]}, "a wrong entry"),
        ({"entries": [replace(right, partial=1)]}, "a wrong entry"),
        ({"next": "more"}, "a wrong entry"),
    ):
        tracker.lie = told(TorrentList, **changes)
        for asker in clients:
            assert fault_of(tracker, asker.listing(clients[0], entry)) == kind


def test_what_was_removed_and_is_still_there_is_noticed() -> None:
    tracker = PureTracker()
    client, other = joined(tracker)
    extra = own_entry(0, 3)
    converse(tracker, client.update())
    (listed,) = tracker.lookup_entries(extra.name)
    converse(tracker, client.update())
    tracker.lie = told(TorrentList, entries=[listed])
    assert fault_of(tracker, other.listing(client, extra)) == "what was removed is found"
    tracker.lie = told(SeederList, total=1, seeders=[source(0)])
    assert fault_of(tracker, other.seeders(client, extra)) == "what was removed is found"


def test_who_left_and_is_still_found_is_noticed() -> None:
    tracker = PureTracker()
    client = joined(tracker)[0]
    tracker.lie = told(SeederList, total=1, seeders=[source(0)])
    assert fault_of(tracker, client.leave()) == "what was removed is found"


def test_a_goodbye_of_another_epoch_is_noticed() -> None:
    tracker = PureTracker()
    client = joined(tracker)[0]
    tracker.lie = told(Goodbye, epoch=EPOCH + 1)
    assert fault_of(tracker, client.leave()) == "another epoch"


def test_while_somebody_changes_its_list_either_answer_is_right() -> None:
    tracker = PureTracker()
    client, other = joined(tracker)
    extra = own_entry(0, 3)
    change = client.update()
    update = next(change)
    before = other.seeders(client, extra)
    question = next(before)
    assert isinstance(question.message, GetSeederList)
    nobody = tracker.answer(question)
    done = tracker.answer(update)
    assert nobody is not None
    assert done is not None
    with pytest.raises(StopIteration):
        change.send(done)  # it is there now, and was not when it was looked up
    with pytest.raises(StopIteration):
        before.send(nobody)
    converse(tracker, other.seeders(client, extra))
