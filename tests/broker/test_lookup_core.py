"""What a lookup answers, and when."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import queries
from protocol import limits as lim
from protocol.messages import (
    Behind,
    DownloadState,
    Error,
    GetPeerList,
    GetSeederList,
    GetStandingList,
    GetTorrentList,
    Goodbye,
    LookupReply,
    LookupRequest,
    Ok,
    PeerEntry,
    PeerList,
    SeederEntry,
    SeederList,
    StandingEntry,
    StandingList,
    TorrentEntry,
    TorrentList,
)
from tests.broker.link_scenes import LinkedLookup
from tests.broker.scenes import EPOCH, LEASE, Stage, digest, entry

R = TypeVar("R", bound=LookupReply)
AT = "tcp://10.0.0.9:7000"


class Scene:
    """A lookup that follows a registrar."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.link = LinkedLookup(self.stage)
        self.link.settle()

    def ask(self, request: LookupRequest, kind: type[R]) -> R:
        self.link.settle()
        reply = self.link.ask(request)
        assert isinstance(reply, kind), reply
        assert reply.id == request.id
        return reply

    def names(self, pattern: str = "", exact: bool = False) -> list[str]:
        """Names of all pages."""
        found, after = [], ""
        while True:
            reply = self.ask(GetTorrentList(1, pattern, exact, after), TorrentList)
            found += [entry.name for entry in reply.entries]
            after = reply.next
            if not after:
                return found


def test_each_swarm_says_how_many_have_it_have_part_of_it_and_ask_for_it() -> None:
    scene = Scene()
    scene.stage.peer("a", entry(1), entry(2, name="b-name"))
    scene.stage.peer("b", entry(1, "partial"))
    scene.stage.peer("c", entry(1, "requesting"))
    scene.stage.peer("d", entry(1))
    reply = scene.ask(GetTorrentList(7), TorrentList)
    assert reply == TorrentList(
        7,
        EPOCH,
        scene.stage.registrar.seq,
        True,
        [
            TorrentEntry("b-name", 1002, digest(2), digest(10_000_002), 1, 0, 0, EPOCH * 1_000 + 1),
            TorrentEntry("file-000001", 1001, digest(1), digest(10_000_001), 2, 1, 1, EPOCH * 1_000),
        ],
        "",
    )


def test_the_same_content_under_two_names_is_one_swarm_in_two_lines() -> None:
    scene = Scene()
    scene.stage.peer("a", entry(1, name="one"))
    scene.stage.peer("b", entry(1, name="two"))
    found = scene.ask(GetTorrentList(7, digest(1)), TorrentList).entries
    assert [(item.name, item.have) for item in found] == [("one", 2), ("two", 2)]


def test_all_names_a_peer_has_for_a_content_are_lines() -> None:
    scene = Scene()
    alice = scene.stage.peer("a", entry(1, name="one", aliases=["two"]))
    scene.stage.peer("b", entry(1, name="two"))

    def named() -> list[tuple[str, int]]:
        return [(item.name, item.have) for item in scene.ask(GetTorrentList(7, digest(1)), TorrentList).entries]

    assert named() == [("one", 2), ("two", 2)]
    assert len(scene.ask(GetTorrentList(7, "two", exact=True), TorrentList).entries) == 1
    alice.update(Ok, [entry(1, name="one")])
    assert named() == [("one", 2), ("two", 2)], "the other one has it so"
    alice.update(Ok, [entry(1, name="three", aliases=["four", "one"])])
    assert named() == [("four", 2), ("one", 2), ("three", 2), ("two", 2)]
    alice.leave(Goodbye)
    assert named() == [("two", 1)]


def test_who_lists_another_signature_takes_the_place_of_none() -> None:
    """Nobody knows here which of them is right, so all are told: whoever asks verifies them."""
    scene = Scene()
    right, wrong = b"r" * lim.SIGNATURE_BYTES, b"w" * lim.SIGNATURE_BYTES
    scene.stage.peer("a", entry(1, name="one", signature=right))
    liar = scene.stage.peer("b", entry(1, name="one", signature=wrong))
    scene.stage.peer("c", entry(1, name="one"))

    def told() -> list[tuple[bytes, int]]:
        return [(e.signature, e.have) for e in scene.ask(GetTorrentList(7, "one", True), TorrentList).entries]

    assert told() == [(b"", 3), (right, 3), (wrong, 3)]
    liar.update(Ok, [entry(1, name="one", signature=right)])
    assert told() == [(b"", 3), (right, 3)]
    liar.transfer(1, "started", Ok)
    assert told() == [(b"", 3), (right, 3)]


def test_pages_of_names_that_differ_in_their_signature_alone_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "REPLY_PAGE_COUNT", 2)
    scene = Scene()
    signatures = [bytes([n]) * lim.SIGNATURE_BYTES for n in range(7)]
    for n, signature in enumerate(signatures):
        scene.stage.peer(f"p{n}", entry(1, name="n" * 255, signature=signature))
    found, after = [], ""
    while True:
        reply = scene.ask(GetTorrentList(1, after=after), TorrentList)
        found += [e.signature for e in reply.entries]
        after = reply.next
        assert len(after) <= lim.CURSOR_BYTES_MAX
        if not after:
            break
    assert found == signatures


@pytest.mark.parametrize(
    ("pattern", "exact", "expected"),
    [
        ("", False, ["Data.csv", "data", "model.bin", "model.BIN.old", "Ünï"]),
        ("DATA", False, ["Data.csv", "data"]),
        ("data", True, ["data"]),
        ("dat", True, []),
        ("model*", False, ["model.bin", "model.BIN.old"]),
        ("*.bin", False, ["model.bin"]),
        ("?ata", False, ["data"]),
        ("ünï", False, ["Ünï"]),
        ("ÜNÏ", False, ["Ünï"]),
        ("*[", False, []),
        (digest(1), False, ["data"]),
        (digest(1), True, ["data"]),
        (digest(99), False, []),
        (digest(1)[:19], False, ["Data.csv", "data", "model.bin", "model.BIN.old", "Ünï"]),
        (digest(1)[:18], False, []),
        (digest(16)[:-1], False, []),
    ],
)
def test_the_filter(pattern: str, exact: bool, expected: list[str]) -> None:
    scene = Scene()
    names = ["data", "Data.csv", "model.bin", "model.BIN.old", "Ünï"]
    scene.stage.peer("a", *(entry(n, name=name) for n, name in enumerate(names, start=1)))
    assert sorted(scene.names(pattern, exact)) == sorted(expected)


@pytest.mark.parametrize("scan", [7, 10_000])
def test_pages_give_every_name_once_and_in_order(monkeypatch: pytest.MonkeyPatch, scan: int) -> None:
    monkeypatch.setattr(queries, "REPLY_PAGE_COUNT", 3)
    monkeypatch.setattr(queries, "LOOKUP_SCAN_COUNT_MAX", scan)
    scene = Scene()
    a = scene.stage.peer("a", *(entry(n) for n in range(50)))
    assert scene.names() == [f"file-{n:06d}" for n in range(50)]
    assert scene.names("1") == [f"file-{n:06d}" for n in range(50) if "1" in str(n)]
    assert scene.names("nothing like it") == []
    a.update(Ok, [], list(range(0, 50, 2)))
    assert scene.names() == [f"file-{n:06d}" for n in range(1, 50, 2)]


def test_a_pattern_that_takes_long_looks_at_fewer_names_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LOOKUP_SCAN_COUNT_MAX", 100)
    scene = Scene()
    scene.stage.peer("a", *(entry(n, name=f"{n:02d}" + 240 * "a") for n in range(20)))
    long = "*" + 50 * "[a-b]" + "c"
    page = scene.ask(GetTorrentList(1, long), TorrentList)
    assert page.entries == []
    assert page.next.endswith(f" 00{240 * 'a'}"), "one name was enough"
    assert scene.names(long) == []
    assert len(scene.names("*aa*")) == 20


def test_many_names_of_one_content_are_paged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "REPLY_PAGE_COUNT", 2)
    scene = Scene()
    for n in range(5):
        scene.stage.peer(f"peer-{n}", entry(1, name=f"name-{n}"))
        scene.stage.peer(f"again-{n}", entry(2 + n, name="same"))
    assert scene.names(digest(1)) == [f"name-{n}" for n in range(5)]
    assert scene.names("same", exact=True) == ["same"] * 5


@pytest.mark.parametrize("after", ["x", "a b c d", "a b 12345678901234567890 d", " ", "a b 1 "])
def test_a_cursor_of_ones_own_making_is_refused(after: str) -> None:
    assert Scene().ask(GetTorrentList(1, after=after), Error).code == "bad_message"


def test_sources_of_a_swarm_without_the_one_who_asks() -> None:
    scene = Scene()
    scene.stage.peer("a", entry(1))
    scene.stage.peer("b", entry(1, "partial"))
    scene.stage.peer("c", entry(1, "requesting"))
    everybody = [SeederEntry("a", "A", AT, True), SeederEntry("b", "B", AT, False, cell=0)]
    reply = scene.ask(GetSeederList(3, digest(1), "c"), SeederList)
    assert (reply.total, reply.seeders) == (2, everybody)
    reply = scene.ask(GetSeederList(3, digest(1), "b"), SeederList)
    assert (reply.total, reply.seeders) == (1, everybody[:1])
    assert scene.ask(GetSeederList(3, digest(9)), SeederList).total == 0


@pytest.mark.parametrize(("count", "asker", "named"), [(64, "", 64), (65, "p7", 64), (65, "", 64), (100, "p7", 64)])
def test_a_large_swarm_is_sampled(count: int, asker: str, named: int) -> None:
    scene = Scene()
    for n in range(count):
        scene.stage.peer(f"p{n}", entry(1))
    reply = scene.ask(GetSeederList(3, digest(1), asker), SeederList)
    peers = {seeder.peer for seeder in reply.seeders}
    assert (len(peers), len(reply.seeders), asker in peers) == (named, named, False)
    assert reply.total == count - bool(asker)


@pytest.mark.parametrize(("count", "asker"), [(65, ""), (66, ""), (66, "p7"), (90, "")])
def test_samples_reach_everybody(count: int, asker: str) -> None:
    scene = Scene()
    for n in range(count):
        scene.stage.peer(f"p{n}", entry(1))
    seen = {s.peer for _ in range(30) for s in scene.ask(GetSeederList(3, digest(1), asker), SeederList).seeders}
    assert len(seen | {asker}) == count + (not asker)


def test_how_each_member_stands_with_a_content() -> None:
    scene = Scene()
    scene.stage.peer("a", entry(1))
    fetching = DownloadState(digest(1), "downloading", 1001, 400, 100, 2)
    b = scene.stage.peer("b", entry(1, "partial"), entry(2, "partial"))
    b.heartbeat(Ok, downloads=[DownloadState(digest(2), "paused"), fetching])
    scene.stage.peer("c", entry(1, "requesting"))
    failed = DownloadState(digest(1), "failed", 1001, reason="disk full")
    scene.stage.peer("d", entry(2)).heartbeat(Ok, downloads=[failed])
    scene.stage.peer("e").heartbeat(Ok, downloads=[DownloadState(digest(2), "waiting")], rate=70)
    scene.stage.pass_time(1)
    reply = scene.ask(GetStandingList(3, digest(1)), StandingList)
    assert reply.peers == [
        StandingEntry("a", "A", "whole"),
        StandingEntry("b", "B", "partial", fetching),
        StandingEntry("c", "C", "requesting"),
        StandingEntry("d", "D", None, failed),
        StandingEntry("e", "E", rate=70),
    ]
    listed = scene.ask(GetTorrentList(4, digest(1)), TorrentList).entries[0]
    counts = Counter(peer.holding for peer in reply.peers)
    assert (listed.have, listed.partial, listed.requesting) == (
        counts["whole"],
        counts["partial"],
        counts["requesting"],
    )


def test_standings_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "REPLY_PAGE_COUNT", 2)
    scene = Scene()
    for name in "abcde":
        scene.stage.peer(name)
    found, after = [], ""
    for _ in range(3):
        reply = scene.ask(GetStandingList(3, digest(1), after), StandingList)
        found += [peer.peer for peer in reply.peers]
        after = reply.next
    assert (found, after) == (list("abcde"), "")


def test_members_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "REPLY_PAGE_COUNT", 2)
    scene = Scene()
    c = scene.stage.peer("c", entry(1), entry(2, "partial"), entry(3, "requesting"))
    c.heartbeat(Ok, load=4)
    for name in "dab":
        scene.stage.peer(name)
    scene.link.pass_time(1.5)
    first = scene.ask(GetPeerList(1), PeerList)
    assert ([peer.peer for peer in first.peers], first.next) == (["a", "b"], "b")
    second = scene.ask(GetPeerList(2, first.next), PeerList)
    assert second.peers[0] == PeerEntry("c", "C", AT, 1, 1, 1, 4)
    assert ([peer.peer for peer in second.peers], second.next) == (["c", "d"], "")


# --- when -------------------------------------------------------------------------------------------------


def test_a_request_for_what_has_not_arrived_waits_for_it() -> None:
    scene = Scene()
    a = scene.stage.peer("a")
    scene.link.settle()
    ok = a.update(Ok, [entry(1)])
    request = GetTorrentList(9, epoch=ok.epoch, min_seq=ok.seq)
    assert scene.link.ask(request) is None
    scene.link.settle()
    (reply,) = scene.link.replies
    assert isinstance(reply, TorrentList)
    assert [item.digest for item in reply.entries] == [digest(1)]


def test_a_request_for_what_does_not_arrive_is_answered_behind_in_time() -> None:
    scene = Scene()
    assert scene.link.ask(GetPeerList(9, epoch=EPOCH, min_seq=5)) is None
    scene.link.pass_time(lim.MIN_SEQ_WAIT_SECONDS - 0.1)
    assert not scene.link.replies
    scene.link.pass_time(0.1)
    assert scene.link.replies == [Behind(9, EPOCH, 0)]


@pytest.mark.parametrize(
    ("epoch", "seq", "parked"),
    [(0, 1, False), (0, 2, True), (EPOCH, 2, True), (EPOCH + 1, 0, True), (EPOCH - 1, 99, False)],
)
def test_which_epochs_are_waited_for(epoch: int, seq: int, parked: bool) -> None:
    scene = Scene()
    scene.stage.peer("a")
    scene.link.settle()
    assert (scene.link.ask(GetPeerList(9, epoch=epoch, min_seq=seq)) is None) == parked


def test_a_lookup_without_state_answers_nothing_from_it() -> None:
    stage = Stage()
    stage.peer("a", entry(1))
    link = LinkedLookup(stage)
    assert link.ask(GetSeederList(9, digest(1))) is None
    link.settle()
    (reply,) = link.replies
    assert isinstance(reply, SeederList)
    assert reply.total == 1
    alone = LinkedLookup(Stage())
    assert alone.ask(GetPeerList(9)) is None
    alone.pass_time(lim.MIN_SEQ_WAIT_SECONDS, deliver=False)
    assert alone.replies == [Behind(9, 0, 0)]


def test_the_waiting_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.lookup_core.LOOKUP_PARKED_COUNT_MAX", 2)
    scene = Scene()
    request = GetPeerList(9, epoch=EPOCH, min_seq=5)
    assert [scene.link.ask(request) for _ in range(3)] == [None, None, Behind(9, EPOCH, 0)]


def test_replies_say_settling_for_one_lease() -> None:
    scene = Scene()
    assert scene.ask(GetPeerList(1), PeerList).settling
    scene.link.pass_time(LEASE)
    assert not scene.ask(GetPeerList(1), PeerList).settling


@given(st.text(max_size=256))
def test_any_pattern_is_answered(pattern: str) -> None:
    scene = Scene()
    scene.stage.peer("a", entry(1), entry(2))
    scene.ask(GetTorrentList(1, pattern), TorrentList)
    scene.ask(GetTorrentList(1, pattern, exact=True), TorrentList)
