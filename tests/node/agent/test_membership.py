"""`node.agent.membership`: conversations as prose, with a clock that jumps."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest

from node.agent.effects import Note
from node.agent.membership import (
    LEAVE_SECONDS,
    REFUSED_RETRY_SECONDS,
    Announced,
    Departed,
    Effect,
    Send,
    State,
    Welcomed,
)
from protocol.codec import encode
from protocol.limits import CONTROL_BYTES_MAX, NAME_BYTES_MAX
from protocol.messages import (
    DownloadState,
    Entry,
    Error,
    FileList,
    Goodbye,
    Heartbeat,
    Holding,
    Join,
    Leave,
    ListRequest,
    Ok,
    PageOk,
    Rejoin,
    Transfer,
    Update,
    Welcome,
)
from tests.node.agent.sole_membership import SoleMembership

TRACKER = "tcp://tracker:5550"


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def entry(number: int, holding: Holding = "whole", name: str = "") -> Entry:
    return Entry(digest(number), digest(10_000 + number), name or f"file {number}", number, holding)


def new_member() -> SoleMembership:
    return SoleMembership("peer-1", b"t" * 32, "one", TRACKER, random.Random(1))


def sent(effects: list[Effect]) -> list[Any]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def only(effects: list[Effect]) -> Any:
    (message,) = sent(effects)
    return message


def notes(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Note)]


def welcome(request: FileList, epoch: int = 7, seq: int = 40) -> Welcome:
    return Welcome(request.id, epoch, seq, 15.0, 5.0, "tcp://10.0.0.1:9", "tcp://*:5551", ["tcp://*:5552"])


def joined(peer: SoleMembership, now: float = 0.0) -> list[Effect]:
    """Carry ``peer`` through joining with a list of one page."""
    join = only(peer.set_endpoint("tcp://*:9", now))
    assert isinstance(join, Join)
    page = only(peer.receive(ListRequest(join.id, 1), now))
    assert isinstance(page, FileList)
    assert page.last
    return peer.receive(welcome(page), now)


def test_joins_in_four_steps_once_the_port_is_known() -> None:
    peer = new_member()
    assert peer.set_entry(entry(1), 0.0) == []
    assert (peer.tick(5.0), peer.network) == ([], "joining")
    effects = joined(peer, 6.0)
    (arrival,) = [effect for effect in effects if isinstance(effect, Welcomed)]
    assert arrival.welcome.roster == "tcp://tracker:5551"
    assert arrival.welcome.lookups == ["tcp://tracker:5552"]
    assert Announced((digest(1),)) in effects
    assert peer.network == "joined"
    assert notes(effects) == [f"joined the network of {TRACKER} as tcp://10.0.0.1:9"]


def test_a_long_list_goes_page_by_page_and_every_page_fits() -> None:
    peer = new_member()
    wide = "\N{SNOWMAN}" * (NAME_BYTES_MAX // 3)
    for number in range(1, 400):
        peer.set_entry(entry(number, "requesting", wide), 0.0)
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 3), 0.0))
    numbers: list[int] = []
    while True:
        assert len(encode(page)) <= CONTROL_BYTES_MAX
        assert (page.list_id, page.page) == (3, len(numbers) and numbers[-1] + 1)
        numbers.append(page.page)
        if page.last:
            break
        page = only(peer.receive(PageOk(page.id, 3, page.page), 0.0))
    assert len(numbers) >= 3
    assert any(isinstance(effect, Welcomed) for effect in peer.receive(welcome(page), 0.0))


def test_an_unanswered_page_is_repeated_with_its_id_and_a_stale_reply_changes_nothing() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    assert only(peer.tick(peer.next_deadline() or 0.0)) == page
    assert sent(peer.receive(ListRequest(join.id, 1), 4.0)) == []
    assert peer.receive(PageOk(page.id, 2, 0), 4.0) == []
    assert any(isinstance(effect, Welcomed) for effect in peer.receive(welcome(page), 4.0))
    assert sent(peer.receive(welcome(page), 4.1)) == []


def test_an_unreachable_tracker_is_said_once_and_so_is_its_return() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    said: list[str] = []
    now = 0.0
    while now < 60.0:
        now = peer.next_deadline() or 0.0
        effects = peer.tick(now)
        said += notes(effects)
        assert sent(effects) == [join]
    assert said == [f"tracker {TRACKER} does not answer; still trying"]
    assert (peer.network, peer.problem) == ("unreachable", *said)
    effects = peer.receive(ListRequest(join.id, 1), now)
    assert notes(effects) == [f"tracker {TRACKER} is back after {now:.0f} s"]
    assert peer.network == "joining"


def test_why_the_tracker_is_not_reached_is_told_once_each() -> None:
    peer = new_member()
    peer.set_endpoint("tcp://*:9", 0.0)
    said = [
        note
        for now in range(1, 20)
        for why in ("connection refused", "no answer")
        for note in notes(peer.disconnected(why if now > 9 else "no answer", float(now)))
    ]
    assert said == [f"tracker {TRACKER}: no answer", f"tracker {TRACKER}: connection refused"]
    assert (peer.network, peer.problem) == ("unreachable", f"tracker {TRACKER}: no answer")
    peer.connected("10.0.0.9", 20.0)
    assert (peer.network, peer.problem) == ("unreachable", f"tracker {TRACKER} does not answer; still trying")


def test_the_tracker_is_where_it_was_reached() -> None:
    peer = new_member()
    peer.connected("[fd00::9]", 0.0)
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    answer = msgspec.structs.replace(welcome(page), endpoint="tcp://*:9")
    (arrival,) = [effect for effect in peer.receive(answer, 0.0) if isinstance(effect, Welcomed)]
    assert (arrival.welcome.roster, arrival.welcome.lookups) == ("tcp://[fd00::9]:5551", ["tcp://[fd00::9]:5552"])
    assert (peer.endpoint, peer.reach_problem) == ("tcp://[fd00::9]:9", "")


@pytest.mark.parametrize(
    ("own", "told", "warned"),
    [
        ("tcp://*:9", "tcp://10.0.0.1:9", False),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", True),
        ("tcp://[::1]:9", "tcp://[::1]:9", True),
        ("tcp://0.0.0.0:9", "tcp://10.0.0.1:9", False),
        ("tcp://0.0.0.0:9", "tcp://[fd00::1]:9", True),
        ("tcp://[::]:9", "tcp://[fd00::1]:9", False),
    ],
)
def test_a_peer_that_others_cannot_dial_is_warned(own: str, told: str, warned: bool) -> None:
    peer = new_member()
    join = only(peer.set_endpoint(own, 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    effects = peer.receive(msgspec.structs.replace(welcome(page), endpoint=told), 0.0)
    assert bool(peer.reach_problem) is warned
    assert (peer.reach_problem in notes(effects)) is warned


def test_a_new_connection_repeats_what_is_open_without_complaint() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    assert peer.connected("10.0.0.9", 0.1) == [Send(join)]


def test_heartbeats_carry_the_list_version_and_stay_within_their_period() -> None:
    peer = new_member()
    joined(peer)
    beats = []
    for _ in range(20):
        now = peer.next_deadline() or 0.0
        beat = only(peer.tick(now))
        assert isinstance(beat, Heartbeat)
        assert beat.version == peer.told.version
        beats.append(now)
        peer.receive(Ok(beat.id, 7, 41), now)
    gaps = [after - before for before, after in itertools.pairwise(beats)]
    assert all(4.0 <= gap <= 5.0 for gap in gaps)
    assert len(set(gaps)) > 10


def test_downloads_are_told_when_they_changed_and_more_often_while_they_do() -> None:
    downloads: list[DownloadState] = []
    peer = SoleMembership("peer-1", b"t" * 32, "one", TRACKER, random.Random(1), downloads=lambda _now: list(downloads))
    joined(peer)
    beats: list[tuple[float, Heartbeat]] = []

    def beat() -> Heartbeat:
        now = peer.next_deadline()
        assert now is not None
        message = only(peer.tick(now))
        assert isinstance(message, Heartbeat)
        beats.append((now, message))
        peer.receive(Ok(message.id, 7, 41), now)
        return message

    assert beat().downloads == [], "the registrar may have others, of another time"
    assert beat().downloads is None
    for done in (1, 2, 3):
        downloads = [DownloadState(digest(1), "downloading", 10, done, rate=1_000_000)]
        assert beat().downloads == downloads
    assert beat().downloads is None
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(beats)]
    assert [gap > 2.0 for gap in gaps] == [True, True, False, False, False]


def test_downloads_that_nobody_acknowledged_are_told_again() -> None:
    told = [DownloadState(digest(1), "failed", reason="disk full")]
    peer = SoleMembership("peer-1", b"t" * 32, "one", TRACKER, random.Random(1), downloads=lambda _now: told)
    joined(peer)
    lost = only(peer.tick(5.0))
    assert lost.downloads == told
    page = only(peer.receive(ListRequest(lost.id, 2), 5.0))
    peer.receive(welcome(page), 5.0)
    assert only(peer.tick(10.0)).downloads == told


def test_what_people_wait_for_is_told_soon_and_not_without_a_pause() -> None:
    peer = new_member()
    joined(peer)
    peer.beats.hasten(2.0)
    beat = only(peer.tick(2.0))
    peer.receive(Ok(beat.id, 7, 41), 2.0)
    peer.beats.hasten(2.1)
    assert peer.next_deadline() == 3.0


def test_a_tracker_that_wants_heartbeats_without_a_pause_gets_some_twenty_a_second() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    peer.receive(msgspec.structs.replace(welcome(page), heartbeat_seconds=1e-9), 0.0)
    beats = 0
    while (now := peer.next_deadline() or 0.0) < 1.0:
        beat = only(peer.tick(now))
        assert isinstance(beat, Heartbeat)
        peer.receive(Ok(beat.id, 7, 41), now)
        beats += 1
        assert beats <= 25


def test_updates_wait_for_welcome_and_go_one_at_a_time() -> None:
    peer = new_member()
    joined(peer)
    first = only(peer.set_entry(entry(1), 1.0))
    assert isinstance(first, Update)
    assert (first.base, first.version) == (1, 2)
    assert peer.set_entry(entry(2), 1.0) == []
    assert peer.remove_entry(digest(1), 1.0) == []
    effects = peer.receive(Ok(first.id, 7, 42), 1.1)
    assert Announced((digest(1),)) in effects
    second = only(effects)
    assert (second.base, second.version) == (2, 3)
    assert [added.digest for added in second.added] == [digest(2)]
    assert second.removed == [digest(1)]
    assert second in sent(peer.tick(4.5))


def test_the_same_entry_again_is_no_news() -> None:
    peer = new_member()
    joined(peer)
    update = only(peer.set_entry(entry(1), 1.0))
    peer.receive(Ok(update.id, 7, 42), 1.0)
    assert peer.set_entry(entry(1), 2.0) == []
    assert peer.remove_entry(digest(5), 2.0) == []


def test_a_transfer_is_reported_after_its_entry_and_repeated_until_ok() -> None:
    peer = new_member()
    joined(peer)
    update = only(peer.set_entry(entry(1, "requesting"), 1.0))
    assert peer.transfer(digest(1), "requesting", 1.0) == []
    report = only(peer.receive(Ok(update.id, 7, 41), 1.0))
    assert isinstance(report, Transfer)
    again = peer.tick(4.9)
    assert report in sent(again)
    assert sent(peer.receive(Ok(report.id, 7, 42), 5.0)) == []


def test_a_list_request_at_any_time_means_the_whole_list_as_it_is_now() -> None:
    peer = new_member()
    joined(peer)
    update = only(peer.set_entry(entry(1), 1.0))
    peer.set_entry(entry(2), 1.0)
    page = only(peer.receive(ListRequest(update.id, 9), 1.1))
    assert isinstance(page, FileList)
    assert [listed.digest for listed in page.entries] == [digest(1), digest(2)]
    effects = peer.receive(welcome(page), 1.2)
    assert sent(effects) == []
    later = only(peer.set_entry(entry(3), 1.3))
    assert later.base == page.version


def test_what_changes_while_the_list_is_under_way_follows_as_an_update() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    assert peer.set_entry(entry(1), 0.1) == []
    update = only(peer.receive(welcome(page), 0.2))
    assert isinstance(update, Update)
    assert update.base == page.version


def test_a_late_report_does_not_bring_back_what_is_gone() -> None:
    peer = new_member()
    joined(peer)
    update = only(peer.set_entry(entry(1, "partial"), 1.0))
    peer.transfer(digest(1), "started", 1.0)
    peer.transfer(digest(1), "finished", 1.0)
    peer.remove_entry(digest(1), 1.0)
    page = only(peer.receive(ListRequest(update.id, 2), 1.1))
    assert page.entries == []
    assert sent(peer.receive(welcome(page), 1.2)) == []


def test_rejoin_joins_again_with_everything() -> None:
    peer = new_member()
    peer.set_entry(entry(1), 0.0)
    joined(peer)
    beat = only(peer.tick(peer.next_deadline() or 0.0))
    join = only(peer.receive(Rejoin(beat.id), 5.0))
    assert isinstance(join, Join)
    page = only(peer.receive(ListRequest(join.id, 1), 5.1))
    assert [listed.digest for listed in page.entries] == [digest(1)]


def test_a_join_that_the_registrar_forgot_is_tried_again_later_and_later() -> None:
    """Those who join at once, more than there is room for, would push each other out for ever."""
    peer = new_member()
    now = 0.0
    join = only(peer.set_endpoint("tcp://*:9", now))
    waited = []
    for _ in range(12):
        page = only(peer.receive(ListRequest(join.id, 1), now))
        assert sent(peer.receive(Rejoin(page.id), now)) == []
        due = peer.next_deadline()
        assert due is not None
        waited.append(due - now)
        now = due
        join = only(peer.tick(now))
        assert isinstance(join, Join)
    assert 0.1 <= waited[0] <= 0.2 < waited[3] < waited[5] <= 10.0
    assert 5.0 <= waited[-1] <= 10.0
    page = only(peer.receive(ListRequest(join.id, 1), now))
    peer.receive(welcome(page), now)
    assert peer.problem == ""


def test_another_port_means_joining_again() -> None:
    peer = new_member()
    joined(peer)
    assert peer.set_endpoint("tcp://*:9", 1.0) == []
    join = only(peer.set_endpoint("tcp://*:10", 1.0))
    assert join.endpoint == "tcp://*:10"


@pytest.mark.parametrize("code", ["wrong_token", "bad_version", "replaced"])
def test_a_lasting_refusal_is_said_once_and_tried_slowly(code: str) -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    effects = peer.receive(Error(join.id, code, "no"), 0.1)
    assert [effect.level for effect in effects if isinstance(effect, Note)] == ["error"]
    assert peer.network == "refused"
    assert code in peer.problem
    assert peer.tick(REFUSED_RETRY_SECONDS / 2) == []
    again = only(peer.tick(REFUSED_RETRY_SECONDS * 1.3))
    assert isinstance(again, Join)
    assert again.run == join.run, "a retry takes nothing away from another peer of this identity"
    assert peer.receive(Error(again.id, code, "no"), 80.0) == []


def test_a_member_that_was_replaced_says_so_and_asks_slowly() -> None:
    peer = new_member()
    joined(peer)
    update = only(peer.set_entry(entry(1), 1.0))
    effects = peer.receive(Error(update.id, "replaced", "another peer"), 1.1)
    assert notes(effects) == [f"tracker {TRACKER} refused Update: another peer (replaced)"]
    assert (peer.network, peer.joined) == ("refused", False)
    assert sent(peer.set_entry(entry(2), 2.0)) == []
    assert REFUSED_RETRY_SECONDS * 0.8 <= (peer.next_deadline() or 0.0) - 1.1 <= REFUSED_RETRY_SECONDS * 1.2
    assert REFUSED_RETRY_SECONDS == 60.0


def test_a_person_may_have_a_refused_peer_join_at_once_in_place_of_the_other_one() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    peer.receive(Error(join.id, "replaced", "no"), 0.1)
    again = only(peer.join(1.0))
    assert isinstance(again, Join)
    assert again.run != join.run
    page = only(peer.receive(ListRequest(again.id, 1), 1.1))
    assert page.run == again.run
    peer.receive(welcome(page), 1.2)
    assert (peer.network, peer.problem) == ("joined", "")
    assert peer.join(2.0) == []


def test_every_request_of_one_run_of_the_agent_names_that_run() -> None:
    peer = SoleMembership("peer-1", b"t" * 32, "one", TRACKER, random.Random(5))
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    page = only(peer.receive(ListRequest(join.id, 1), 0.0))
    peer.receive(welcome(page), 0.0)
    beat = only(peer.tick(peer.next_deadline() or 0.0))
    update = only(peer.set_entry(entry(1), 5.0))
    peer.transfer(digest(1), "started", 5.0)
    transfer = only(peer.receive(Ok(update.id, 7, 41), 5.0))
    leave = only(peer.leave(6.0))
    assert {request.run for request in (page, beat, update, transfer, leave)} == {join.run}
    assert join.run
    other = only(SoleMembership("peer-1", b"t" * 32, "one", TRACKER, random.Random(6)).set_endpoint("tcp://*:9", 0.0))
    assert other.run != join.run


def test_a_replaced_peer_that_leaves_is_out_already() -> None:
    peer = new_member()
    joined(peer)
    leave = only(peer.leave(1.0))
    assert peer.receive(Error(leave.id, "replaced", "no"), 1.1) == [Departed(True)]


def test_a_refused_peer_has_nothing_to_leave() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    peer.receive(Error(join.id, "wrong_token", "no"), 0.1)
    assert peer.leave(1.0) == [Departed(True)]


def test_a_passing_refusal_is_tried_again_soon() -> None:
    peer = new_member()
    join = only(peer.set_endpoint("tcp://*:9", 0.0))
    assert len(notes(peer.receive(Error(join.id, "busy", "later"), 0.1))) == 1
    again = only(peer.tick(10.0))
    assert isinstance(again, Join)
    assert notes(peer.receive(Error(again.id, "busy", "later"), 10.1)) == []


def test_leaving_is_acknowledged_and_rejoin_means_nothing_then() -> None:
    peer = new_member()
    joined(peer)
    leave = only(peer.leave(1.0))
    assert isinstance(leave, Leave)
    assert peer.receive(Rejoin(leave.id), 1.1) == []
    assert peer.set_entry(entry(4), 1.2) == []
    assert only(peer.tick(1.8)) == leave
    assert peer.receive(Goodbye(leave.id, 7, 50), 1.9) == [Departed(True)]
    assert peer.network == "left"
    assert peer.next_deadline() is None
    assert peer.set_endpoint("tcp://*:11", 2.0) == []
    join = only(peer.join(3.0))
    assert join.endpoint == "tcp://*:11"
    assert peer.join(3.0) == []


def test_leaving_a_silent_tracker_takes_bounded_time() -> None:
    peer = new_member()
    joined(peer)
    peer.leave(1.0)
    now = 1.0
    effects: list[Effect] = []
    while peer.state is State.LEAVING:
        now = peer.next_deadline() or 0.0
        effects = peer.tick(now)
    assert effects == [Departed(False)]
    assert now == pytest.approx(1.0 + LEAVE_SECONDS)


def test_leaving_before_joining_is_done_at_once() -> None:
    peer = new_member()
    assert peer.leave(0.0) == [Departed(True)]
    assert peer.set_endpoint("tcp://*:9", 1.0) == []
