"""`node.agent.lookups`: questions, pages, silence and the next lookup, with a clock that jumps."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

import msgspec
import pytest

from node.agent.effects import Note
from node.agent.lookups import (
    ENTRIES_COUNT_MAX,
    PAGES_COUNT_MAX,
    Ask,
    AskFailed,
    Dial,
    Effect,
    Lookups,
    PeersFound,
    SeedersFound,
    TorrentsFound,
)
from node.agent.outage import REMIND_SECONDS
from protocol.limits import (
    ENDPOINT_BYTES_MAX,
    LOCAL_BYTES_MAX,
    NAME_BYTES_MAX,
    PEER_ID_BYTES_MAX,
    REFRESH_SECONDS,
    REPLY_PAGE_COUNT,
    REQUEST_TIMEOUT_SECONDS,
)
from protocol.messages import (
    Behind,
    Error,
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    PeerEntry,
    PeerList,
    SeederEntry,
    SeederList,
    TorrentEntry,
    TorrentList,
)

DIGEST = "blake3:" + "1" * 64
SEEDER = SeederEntry("p", "name", "tcp://h:1", True)
A, B = "tcp://a:1", "tcp://b:1"


def torrent(name: str) -> TorrentEntry:
    return TorrentEntry(name, 1, DIGEST, DIGEST, 1, 0, 0)


def connected(*endpoints: str) -> Lookups:
    lookups = Lookups("me", random.Random(2))
    (dial,) = lookups.set_endpoints(list(endpoints) or [A], 0.0)
    assert isinstance(dial, Dial)
    assert lookups.connected(0.0) == []
    return lookups


def asked(effects: list[Effect]) -> Any:
    (ask,) = [effect for effect in effects if isinstance(effect, Ask)]
    return ask.message


def search(
    lookups: Lookups,
    tag: Hashable,
    pattern: str,
    now: float,
    *,
    exact: bool = False,
    after: tuple[int, int] = (0, 0),
    patience: float | None = None,
) -> list[Effect]:
    return lookups.ask(tag, GetTorrentList(0, pattern, exact, "", *after), now, patience)


def seeders(request: GetSeederList) -> SeederList:
    return SeederList(request.id, 1, 1, False, 1, [SEEDER])


def test_a_list_is_asked_for_page_by_page() -> None:
    lookups = connected()
    first = asked(search(lookups, "tag", "x", 0.0, exact=True, after=(3, 9)))
    assert (first.pattern, first.exact, first.epoch, first.min_seq) == ("x", True, 3, 9)
    second = asked(lookups.receive(TorrentList(first.id, 3, 9, False, [torrent("a")], "a"), 0.1))
    assert isinstance(second, GetTorrentList)
    assert second.after == "a"
    assert second.id != first.id
    effects = lookups.receive(TorrentList(second.id, 3, 9, True, [torrent("b")], ""), 0.2)
    assert effects == [TorrentsFound("tag", [torrent("a"), torrent("b")], True, 3_000)]
    assert lookups.receive(TorrentList(second.id, 3, 9, True, [torrent("b")], ""), 0.2) == []
    assert lookups.next_deadline() is None


def test_a_tracker_whose_pages_never_end_is_not_believed() -> None:
    lookups = connected()
    effects: list[Effect] = search(lookups, "tag", "x", 0.0)
    pages = 0
    while any(isinstance(effect, Ask) for effect in effects):
        pages += 1
        assert pages <= PAGES_COUNT_MAX
        effects = lookups.receive(TorrentList(asked(effects).id, 3, 9, False, [torrent("a")], f"page {pages}"), 0.1)
    assert pages == PAGES_COUNT_MAX
    (failed,) = effects
    assert isinstance(failed, AskFailed)
    assert (failed.tag, failed.code) == ("tag", "bad_message")
    assert lookups.next_deadline() is None


def test_an_answer_too_long_for_anybody_is_an_error_that_says_what_to_do() -> None:
    lookups = connected()
    effects: list[Effect] = search(lookups, "tag", "", 0.0)
    page = [torrent("a")] * REPLY_PAGE_COUNT
    while any(isinstance(effect, Ask) for effect in effects):
        effects = lookups.receive(TorrentList(asked(effects).id, 3, 9, False, page, "more"), 0.1)
    (failed,) = effects
    assert isinstance(failed, AskFailed)
    assert failed.code == "usage"
    assert "100,000" in failed.detail


def test_a_whole_answer_fits_a_message_to_the_command_line() -> None:
    wide = 2**63
    entry = TorrentEntry("n" * NAME_BYTES_MAX, wide, DIGEST, DIGEST, wide, wide, wide)
    peer = PeerEntry("p" * PEER_ID_BYTES_MAX, "n" * NAME_BYTES_MAX, "e" * ENDPOINT_BYTES_MAX, wide, wide, wide, wide)
    for part in (entry, peer):
        assert len(msgspec.msgpack.encode(part)) * ENTRIES_COUNT_MAX < LOCAL_BYTES_MAX - 1_000


def test_members_are_listed() -> None:
    lookups = connected()
    request = asked(lookups.ask("tag", GetPeerList(0), 0.0))
    assert isinstance(request, GetPeerList)
    peer = PeerEntry("p", "n", "tcp://h:1", 1, 0, 0, 0)
    assert lookups.receive(PeerList(request.id, 1, 1, False, [peer], ""), 0.1) == [PeersFound("tag", [peer], False)]


def test_questions_wait_for_a_lookup_and_for_its_connection() -> None:
    lookups = Lookups("me", random.Random(2))
    assert search(lookups, "tag", "", 0.0) == []
    assert lookups.set_endpoints([A], 1.0) == [Dial(A)]
    request = asked(lookups.connected(1.1))
    assert request.pattern == ""


def test_it_stays_with_its_lookup_while_there_is_one() -> None:
    lookups = connected(A, B)
    chosen = lookups.endpoint
    assert lookups.set_endpoints([B, A], 1.0) == []
    assert lookups.endpoint == chosen


def test_a_silent_lookup_is_left_for_the_next_which_is_asked_everything() -> None:
    lookups = connected(A, B)
    first, second = lookups.endpoint, B if lookups.endpoint == A else A
    request = asked(search(lookups, "tag", "x", 0.0))
    effects = lookups.tick(REQUEST_TIMEOUT_SECONDS)
    assert effects == [Note("warning", f"lookup {first} does not answer; asking {second}"), Dial(second)]
    assert lookups.connected(3.5) == [Ask(request)]
    effects = lookups.receive(TorrentList(request.id, 1, 1, False, [], ""), 3.6)
    assert effects[0] == Note("info", f"lookup {second} answers, after 4 s")


def test_a_lost_connection_leads_to_the_next_lookup_at_once() -> None:
    lookups = connected(A, B)
    second = B if lookups.endpoint == A else A
    search(lookups, "tag", "x", 0.0)
    assert Dial(second) in lookups.disconnected("connection lost", 0.5)
    assert connected(A).disconnected("connection lost", 0.5) == [
        Note("warning", f"lookup {A}: connection lost; still trying")
    ]


def test_behind_is_asked_again_shortly_and_a_lookup_that_stays_behind_is_left() -> None:
    lookups = connected(A, B)
    first = lookups.endpoint
    request = asked(search(lookups, "tag", "x", 0.0, after=(1, 9)))
    now, asked_again = 0.0, 0
    while lookups.endpoint == first:
        assert lookups.receive(Behind(request.id, 1, 5), now) == []
        now = lookups.next_deadline() or 0.0
        effects = lookups.tick(now)
        asked_again += Ask(request) in effects
        assert now < 30.0
    assert asked_again >= 5


def test_patience_ends_in_a_failure() -> None:
    lookups = connected()
    search(lookups, "tag", "x", 0.0, patience=1.0)
    assert lookups.next_deadline() == 1.0
    (failure,) = lookups.tick(1.0)
    assert isinstance(failure, AskFailed)
    assert (failure.tag, failure.code) == ("tag", "network")


@pytest.mark.parametrize("given_up", ["dropped", "no longer wanted", "late"])
def test_a_lookup_that_was_silent_is_known_to_be_back_also_when_nobody_waits_any_more(given_up: str) -> None:
    lookups = connected()
    if given_up == "no longer wanted":
        request = asked(lookups.want(DIGEST, 0.0))
    else:
        request = asked(search(lookups, "tag", "x", 0.0, patience=2 * REQUEST_TIMEOUT_SECONDS))
    lookups.tick(REQUEST_TIMEOUT_SECONDS)
    assert lookups.problem(REQUEST_TIMEOUT_SECONDS)
    if given_up == "late":
        assert AskFailed in [type(effect) for effect in lookups.tick(2 * REQUEST_TIMEOUT_SECONDS)]
    lookups.drop("tag")
    lookups.unwant(DIGEST)
    assert lookups.connected(20.0) == [Ask(request)]
    answer: SeederList | TorrentList = TorrentList(request.id, 1, 1, False, [], "")
    if given_up == "no longer wanted":
        answer = seeders(request)
    effects = lookups.receive(answer, 20.1)
    assert isinstance(effects[0], Note)
    assert not lookups.is_silent
    assert not any(isinstance(effect, SeedersFound) for effect in effects)
    assert lookups.next_deadline() is None


def test_a_silent_lookup_owes_one_answer_and_no_more() -> None:
    lookups = connected()
    asked(search(lookups, "tag", "x", 0.0))
    lookups.tick(REQUEST_TIMEOUT_SECONDS)
    for tag in range(100):
        search(lookups, tag, "x", 4.0)
    for tag in [*range(100), "tag"]:
        lookups.drop(tag)
    assert len(lookups.connected(5.0)) == 1


def test_a_refused_question_fails() -> None:
    lookups = connected()
    request = asked(search(lookups, "tag", "x", 0.0))
    assert lookups.receive(Error(request.id, "bad_message", "no"), 0.1) == [AskFailed("tag", "bad_message", "no")]


def test_seeders_are_asked_for_at_once_and_every_few_seconds() -> None:
    lookups = connected()
    moments = []
    request = asked(lookups.want(DIGEST, 0.0))
    assert request.peer == "me"
    now = 0.0
    for _ in range(10):
        assert lookups.receive(seeders(request), now) == [SeedersFound(DIGEST, [SEEDER], False, 1)]
        now = lookups.next_deadline() or 0.0
        request = asked(lookups.tick(now))
        moments.append(now)
    gaps = [after - before for before, after in zip([0.0, *moments], moments, strict=False)]
    assert all(0.8 * REFRESH_SECONDS <= gap <= 1.2 * REFRESH_SECONDS for gap in gaps)
    assert len(set(gaps)) > 5


def test_a_refresh_comes_soon_but_not_in_floods() -> None:
    lookups = connected()
    request = asked(lookups.want(DIGEST, 0.0))
    assert lookups.refresh(DIGEST, 0.01) == []
    lookups.receive(seeders(request), 0.02)
    due = lookups.next_deadline() or 0.0
    assert 0.2 < due < 0.3
    assert isinstance(asked(lookups.tick(due)), GetSeederList)


def test_refresh_all_is_spread() -> None:
    lookups = connected()
    digests = [f"blake3:{number:064x}" for number in range(10)]
    for digest in digests:
        lookups.receive(seeders(asked(lookups.want(digest, 0.0))), 0.0)
    lookups.refresh_all(1.0, within=1.0)
    moments: set[float] = set()
    while len(moments) < 10:
        now = lookups.next_deadline() or 0.0
        assert now <= 2.0
        moments.add(now)
        lookups.receive(seeders(asked(lookups.tick(now))), now)


def test_what_is_wanted_no_longer_is_not_asked_for() -> None:
    lookups = connected()
    request = asked(lookups.want(DIGEST, 0.0))
    lookups.unwant(DIGEST)
    assert lookups.receive(seeders(request), 0.1) == []
    assert lookups.next_deadline() is None


def test_a_peer_may_want_to_be_named_itself() -> None:
    lookups = connected()
    assert asked(lookups.want(DIGEST, 0.0, own_too=True)).peer == ""


def test_a_lookup_that_fails_in_two_ways_in_turn_is_told_of_once_and_now_and_then_again() -> None:
    lookups = connected(A)
    request = asked(lookups.want(DIGEST, 0.0))
    said: list[tuple[float, str]] = []
    now = 0.0
    while now < 2.2 * REMIND_SECONDS:
        now = lookups.next_deadline() or 0.0
        for effects in (lookups.tick(now), lookups.disconnected("connection refused", now)):
            said += [(now, effect.text) for effect in effects if isinstance(effect, Note)]
    assert [text for _, text in said[:2]] == [
        f"lookup {A} does not answer; still trying",
        f"lookup {A}: connection refused; still trying",
    ]
    assert len(said) == 4
    assert said[3][0] - said[2][0] >= REMIND_SECONDS
    lookups.connected(now)
    effects = lookups.receive(seeders(request), now)
    assert [effect.text for effect in effects if isinstance(effect, Note)] == [f"lookup {A} answers, after {now:.0f} s"]


def test_why_there_is_no_answer_can_be_asked_for() -> None:
    lookups = connected(A)
    request = asked(search(lookups, "tag", "x", 0.0))
    assert lookups.problem(1.0) == ""
    lookups.tick(REQUEST_TIMEOUT_SECONDS)
    assert lookups.problem(6.4) == f"lookup {A} does not answer; still trying (no answer for 6 s)"
    lookups.disconnected("connection refused", 7.0)
    assert lookups.problem(7.0) == f"lookup {A}: connection refused; still trying (no answer for 7 s)"
    assert lookups.connected(8.0) == [Ask(request)]
    assert lookups.problem(8.0), "one that hangs takes connections too"
    lookups.receive(TorrentList(request.id, 1, 1, False, [], ""), 8.1)
    assert lookups.problem(8.1) == ""


def test_a_lookup_that_is_not_asked_anything_is_back_with_its_connection() -> None:
    lookups = connected(A)
    lookups.disconnected("connection lost", 1.0)
    assert lookups.problem(1.0)
    assert lookups.connected(3.0) == [Note("info", f"lookup {A} answers, after 2 s")]
    assert lookups.problem(3.0) == ""


def test_lookups_that_all_refuse_are_tried_in_turn_without_haste() -> None:
    lookups = connected(A, B)
    now, dials, told = 1.0, list[tuple[float, str]](), 0
    effects = lookups.disconnected("connection refused", now)
    while now < 30.0:
        dials += [(now, effect.endpoint) for effect in effects if isinstance(effect, Dial)]
        told += sum(isinstance(effect, Note) for effect in effects)
        effects = lookups.disconnected("connection refused", now)
        due = lookups.next_deadline()
        assert due is not None
        now = due
        effects += lookups.tick(now)
    assert {endpoint for _, endpoint in dials} == {A, B}
    assert 10 < len(dials) < 100
    assert told == 2
