"""How a peer becomes a member, and who may speak for it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from protocol.limits import SIGNATURE_BYTES
from protocol.messages import (
    Alias,
    Entry,
    Error,
    FileList,
    Join,
    ListRequest,
    Ok,
    PageOk,
    PeerJoined,
    Rejoin,
    SourceAdded,
    SourceRemoved,
    Welcome,
)
from tests.broker.scenes import EPOCH, LEASE, Actor, Stage, digest, entry

ALICE_AT = "tcp://10.0.0.9:7000"


# --- join ------------------------------------------------------------------------------------------------


def test_join_in_four_steps() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.page(list_id, 0, False, [entry(1)], PageOk) == PageOk(2, list_id, 0)
    assert not stage.registry.members, "nobody is a member before the list is whole"
    welcome = alice.page(list_id, 1, True, [entry(2, "partial")], Welcome)
    assert welcome == Welcome(3, EPOCH, 3, LEASE, 5.0, ALICE_AT, "tcp://*:5551", ["tcp://*:5552"])
    assert stage.hints() == [
        PeerJoined("alice", "Alice", ALICE_AT),
        SourceAdded(digest(1), "alice", "Alice", ALICE_AT, True),
        SourceAdded(digest(2), "alice", "Alice", ALICE_AT, False, cell=0),
    ]
    assert stage.notes == [f"peer Alice (alice) joined at {ALICE_AT} with a list of 2"]
    stage.registrar.check_invariants()


def test_an_empty_list_is_one_empty_page() -> None:
    stage = Stage()
    assert stage.peer("alice").stage.registry.members.keys() == {"alice"}


def test_every_step_of_a_join_may_be_repeated() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.ask_join(ListRequest).list_id == list_id
    for _ in range(2):
        alice.page(list_id, 0, False, [entry(1)], PageOk)
    first = alice.page(list_id, 1, True, [entry(2)], Welcome)
    again = alice.page(list_id, 1, True, [entry(2)], Welcome)
    assert again.seq == first.seq == 3
    alice.page(list_id, 0, False, [entry(1)], PageOk)  # one that lay in the pipe all the time
    assert len(stage.hints()) == 3


def test_a_join_in_the_middle_of_a_list_starts_over() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    first = alice.ask_join(ListRequest).list_id
    alice.page(first, 0, False, [entry(1)], PageOk)
    second = alice.ask_join(ListRequest).list_id
    assert second != first
    assert alice.page(first, 1, True, [entry(2)], ListRequest).list_id == second
    alice.send_list(second, entry(3))
    assert list(stage.registry.swarms) == [digest(3)]


def test_pages_have_an_order_and_a_version() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.page(list_id, 1, True, [entry(1)], Error).code == "bad_page"
    alice.page(list_id, 0, False, [entry(1)], PageOk)
    alice.version = 2
    assert alice.page(list_id, 1, True, [entry(2)], ListRequest).list_id != list_id


def test_a_page_of_nobody_is_answered_rejoin() -> None:
    Actor(Stage(), "alice").page(7, 0, True, [], Rejoin)


def test_a_rejoin_replaces_the_list_in_one_step() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1), entry(2), entry(3, "partial"))
    stage.hints()
    list_id = alice.ask_join(ListRequest).list_id
    alice.page(list_id, 0, False, [entry(2), entry(3)], PageOk)
    assert list(stage.registry.members["alice"].listings) == [digest(1), digest(2), digest(3)]
    assert stage.hints() == []
    alice.page(list_id, 1, True, [entry(4)], Welcome)
    assert stage.hints() == [
        PeerJoined("alice", "Alice", ALICE_AT),
        SourceRemoved(digest(1), "alice"),
        SourceAdded(digest(3), "alice", "Alice", ALICE_AT, True, cell=0),
        SourceAdded(digest(4), "alice", "Alice", ALICE_AT, True),
    ]
    stage.registrar.check_invariants()


def test_a_rejoin_from_another_address_announces_every_entry_again() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    stage.hints()
    alice.endpoint = "tcp://10.9.8.7:7001"
    assert alice.join(entry(1)).endpoint == "tcp://10.9.8.7:7001"
    assert stage.hints() == [
        PeerJoined("alice", "Alice", "tcp://10.9.8.7:7001"),
        SourceAdded(digest(1), "alice", "Alice", "tcp://10.9.8.7:7001", True),
    ]


@pytest.mark.parametrize(
    ("endpoint", "address", "expected"),
    [
        ("tcp://*:7000", "192.168.1.5", "tcp://192.168.1.5:7000"),
        ("tcp://0.0.0.0:7000", "192.168.1.5", "tcp://192.168.1.5:7000"),
        ("tcp://*:7000", "::ffff:192.168.1.5", "tcp://192.168.1.5:7000"),
        ("tcp://*:7000", "fe80::1%eth0", "tcp://[fe80::1]:7000"),
        ("tcp://10.0.0.7:7000", "192.168.1.5", "tcp://10.0.0.7:7000"),
        ("tcp://[fe80::2]:7000", "192.168.1.5", "tcp://[fe80::2]:7000"),
        ("tcp://[::]:7000", "fd00::5", "tcp://[fd00::5]:7000"),
        ("tcp://*:7000", "127.0.0.1", "tcp://*:7000"),
        ("tcp://*:7000", "::ffff:127.0.0.1", "tcp://*:7000"),
        ("tcp://0.0.0.0:7000", "::1", "tcp://*:7000"),
        ("tcp://127.0.0.1:7000", "127.0.0.1", "tcp://127.0.0.1:7000"),
        ("tcp://[::ffff:10.0.0.7]:7000", "192.168.1.5", "tcp://10.0.0.7:7000"),
    ],
)
def test_the_endpoint_is_completed_with_the_address_seen(endpoint: str, address: str, expected: str) -> None:
    stage = Stage()
    token = b"x" * 16
    request = stage.ask(Join(1, "p", token, "", endpoint), ListRequest, address)
    assert stage.ask(FileList(2, "p", token, request.list_id, 0, True, 1, []), Welcome).endpoint == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "7000",
        "tcp://",
        "tcp://node-7.lab:7000",
        "tcp://host",
        "tcp://host:0",
        "tcp://host:65536",
        "ipc:///tmp/x",
        "tcp://a b:1",
        "tcp://h:1;h:2",
        "tcp://h:1\n",
        "udp://h:1",
        "tcp://*:*",
        "tcp://-h:1",
        "tcp://h:１",
        "tcp://10.0.0.1:0",
        "tcp://[::1:7000",
        "tcp://::1:7000",
        "tcp://10.0.0.300:7000",
        "tcp://224.0.0.1:7000",
        "tcp://[ff02::1]:7000",
        "tcp://255.255.255.255:7000",
    ],
)
def test_an_endpoint_nobody_could_dial_is_refused(endpoint: str) -> None:
    stage = Stage()
    assert stage.ask(Join(1, "p", b"x" * 16, "", endpoint), Error).code == "bad_endpoint"


def test_an_endpoint_without_host_needs_an_address_to_be_seen() -> None:
    stage = Stage()
    reply = stage.ask(Join(1, "p", b"x" * 16, "", "tcp://*:7000"), Error, address="")
    assert (reply.code, "advertise" in reply.detail) == ("bad_endpoint", True)


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "\u2028"])
def test_a_peer_name_that_would_garble_a_terminal_is_refused(name: str) -> None:
    assert Stage().ask(Join(1, "p", b"x" * 16, name, "tcp://h:1"), Error).code == "bad_name"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\x00b", "CON"])
def test_a_file_name_that_is_unsafe_is_refused(name: str) -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.page(list_id, 0, True, [entry(1, name=name)], Error).code == "bad_name"
    bob = stage.peer("bob")
    assert bob.update(Error, [entry(1, name=name)]).code == "bad_name"
    assert stage.peer("carol").update(Error, [entry(1, aliases=["good", name])]).code == "bad_name"


@pytest.mark.parametrize("length", [1, SIGNATURE_BYTES - 1])
def test_a_signature_that_can_be_none_is_refused(length: int) -> None:
    stage = Stage()
    wrong = b"s" * length
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    assert alice.page(list_id, 0, True, [entry(1, signature=wrong)], Error).code == "bad_signature"
    bob = stage.peer("bob")
    assert bob.update(Error, [entry(1, signature=wrong)]).code == "bad_signature"
    alias = Alias("another", digest(7), signature=wrong)
    bob = stage.peer("carol")
    assert bob.update(Error, [replace(entry(1), aliases=(alias,))]).code == "bad_signature"


def test_an_entry_whose_digests_are_of_different_algorithms_is_refused() -> None:
    stage = Stage()
    other = digest(2).replace("blake3", "sha256")
    mixed = Entry(digest(1), other, "film.mkv", 1, "whole")
    within = Entry(digest(1), digest(2), "a film", 1, "whole", (Alias("film.mkv", other),))
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    bob = stage.peer("bob", entry(1))
    for refusal in (
        alice.page(list_id, 0, True, [entry(3), mixed], Error),
        bob.update(Error, [mixed]),
        stage.peer("carol").update(Error, [within]),
    ):
        assert refusal.code == "bad_digest"
        assert "film.mkv" in refusal.detail
        assert "blake3" in refusal.detail
        assert "sha256" in refusal.detail
    assert list(stage.registry.swarms) == [digest(1)]
    bob.version = 1
    both = Entry("sha256:" + "1" * 64, "sha256:" + "2" * 64, "film.mkv", 1, "whole")
    bob.update(Ok, [both])


# --- tokens ----------------------------------------------------------------------------------------------


def test_another_token_is_refused_for_as_long_as_the_peer_is_a_member() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1))
    impostor = Actor(stage, "alice", token=b"another-token-of-16")
    refusals = [
        impostor.ask_join(Error),
        impostor.page(1, 0, True, [], Error),
        impostor.heartbeat(Error),
        impostor.update(Error),
        impostor.transfer(1, "failed", Error),
        impostor.leave(Error),
    ]
    assert {refusal.code for refusal in refusals} == {"wrong_token"}
    assert all("delete identity.json" in refusal.detail and "copy" not in refusal.detail for refusal in refusals)
    stage.pass_time(LEASE - 1)
    impostor.heartbeat(Error)
    alice.heartbeat(Ok)
    stage.pass_time(LEASE - 1)
    impostor.ask_join(Error)
    stage.pass_time(1)
    impostor.join()


def test_an_impostor_with_a_half_done_list_is_refused_once_the_peer_is_in() -> None:
    stage = Stage()
    alice, impostor = Actor(stage, "alice"), Actor(stage, "alice", token=b"another-token-of-16")
    squatting = impostor.ask_join(ListRequest).list_id
    alice.join(entry(1))
    assert impostor.page(squatting, 0, True, [entry(2)], Error).code == "wrong_token"
    assert list(stage.registry.swarms) == [digest(1)]
