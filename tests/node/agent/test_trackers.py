"""Several trackers: each is told the same, all are asked, and what any of them lists is listed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent.effects import Subscribe
from node.agent.heartbeats import Figures
from node.agent.lookups import AskFailed, OrdersFound, PeersFound, StandingsFound, TorrentsFound
from node.agent.questions import LATER_SECONDS, merge
from node.agent.tracker import FromTracker, Who
from node.agent.trackers import Trackers
from node.local_messages import Sources
from protocol.messages import (
    ANEW,
    DownloadState,
    Entry,
    FileList,
    GetSeederList,
    GetTorrentList,
    Heartbeat,
    Join,
    ListRequest,
    LookupReply,
    LookupRequest,
    Ok,
    Order,
    OrderEntry,
    OtherTracker,
    PeerEntry,
    RegistrarReply,
    RegistrarRequest,
    SeederEntry,
    SeederList,
    StandingEntry,
    TorrentEntry,
    TorrentList,
    Update,
    Welcome,
)

A, B = "tcp://10.0.0.1:5550", "tcp://10.0.0.2:5550"


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def entry(number: int, announced: int = 0) -> Entry:
    return Entry(digest(number), digest(100 + number), f"file {number}", 7, "whole", (), announced)


def listed(number: int, have: int = 1, announced: int = 5) -> TorrentEntry:
    return TorrentEntry(f"file {number}", 7, digest(number), digest(100 + number), have, 0, 0, announced)


class Played:
    """A tracker: ``knows`` what it lists, ``stamp`` what it says of when anything was announced."""

    def __init__(self, epoch: int, stamp: int) -> None:
        self.epoch, self.stamp = epoch, stamp
        self.answers = True
        self.settling = False
        self.knows: list[TorrentEntry] = []
        self.seeders: list[SeederEntry] = []
        self.entries: dict[str, Entry] = {}
        self.heard: list[RegistrarRequest | LookupRequest] = []

    def registrar(self, message: RegistrarRequest) -> RegistrarReply:
        if isinstance(message, Join):
            self.entries.clear()
            return ListRequest(message.id, 1)
        if isinstance(message, FileList):
            lookups = ["tcp://*:2"]
            moments = self._take(message.entries)
            return Welcome(message.id, self.epoch, 9, 15.0, 5.0, "tcp://10.0.0.9:9", "tcp://*:1", lookups, moments)
        if isinstance(message, Update):
            for gone in message.removed:
                del self.entries[gone]
            return Ok(message.id, self.epoch, 9, self._take(message.added))
        assert isinstance(message, Heartbeat)
        return Ok(message.id, self.epoch, 9)

    def lookup(self, message: LookupRequest) -> LookupReply:
        if isinstance(message, GetSeederList):
            return SeederList(message.id, self.epoch, 9, self.settling, len(self.seeders), self.seeders)
        assert isinstance(message, GetTorrentList)
        return TorrentList(message.id, self.epoch, 9, self.settling, self.knows, "")

    def _take(self, entries: list[Entry]) -> list[int]:
        """As the registrar does: the later of two timestamps."""
        for one in entries:
            before = self.entries.get(one.digest)
            known = before.announced if before is not None else 0
            new = self.stamp if one.announced == ANEW or not (known or one.announced) else 0
            self.entries[one.digest] = replace(one, announced=max(known, new, one.announced))
        return [self.entries[one.digest].announced for one in entries]


class Scene:
    """A peer with two trackers, which answer at once or not at all."""

    def __init__(self) -> None:
        who = Who("me", "one", False)
        figures = Figures(trackers=lambda: self.trackers.joined_each)
        self.trackers = Trackers({A: b"a" * 32, B: b"b" * 32}, who, figures, random.Random(1))
        self.played = [Played(3, 50), Played(4, 60)]
        self.now = 0.0
        self.out: list[Any] = []

    def up(self) -> Scene:
        self.play(self.trackers.each(lambda one: one.membership.set_endpoint("tcp://*:9", self.now)))
        return self

    def play(self, effects: Iterable[Any]) -> None:
        todo = list(effects)
        while todo:
            told = todo.pop(0)
            if not isinstance(told, FromTracker):
                self.out.append(told)
                continue
            tracker, played = self.trackers.all[told.tracker], self.played[told.tracker]
            effect, now = told.effect, self.now
            if isinstance(effect, mb.Send | lk.Ask):
                played.heard.append(effect.message)
                if not played.answers:
                    continue
                if isinstance(effect, mb.Send):
                    todo += tracker.of(tracker.membership.receive(played.registrar(effect.message), now))
                else:
                    todo += tracker.of(tracker.lookups.receive(played.lookup(effect.message), now))
            elif isinstance(effect, lk.Dial):
                todo += tracker.of(tracker.lookups.connected(now))
            elif isinstance(effect, mb.Welcomed):
                todo += tracker.welcomed(effect, now)
            elif isinstance(effect, mb.Dated):
                todo += self.trackers.tell(now)
            elif isinstance(effect, lk.SeedersFound):
                self.out.append(self.trackers.seeders.found(tracker, effect))
            elif isinstance(effect, TorrentsFound | AskFailed):
                todo += self.trackers.questions.answered(tracker, effect, now)
            elif not isinstance(effect, Subscribe):
                self.out.append(effect)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.trackers.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.play(self.trackers.tick(self.now))
        self.now = until

    def ask(self, patience: float | None = 6.0) -> None:
        self.play(self.trackers.questions.torrents("list", "", self.now, patience=patience))

    def took(self, kind: type) -> list[Any]:
        found = [effect for effect in self.out if isinstance(effect, kind)]
        self.out = [effect for effect in self.out if not isinstance(effect, kind)]
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene().up()


def test_each_is_told_of_every_change(scene: Scene) -> None:
    scene.play(scene.trackers.set_entry(entry(1), 1.0))
    scene.play(scene.trackers.set_entry(entry(2), 1.0))
    scene.play(scene.trackers.remove_entry(digest(1), 1.0))
    assert [list(played.entries) for played in scene.played] == [[digest(2)], [digest(2)]]


def test_one_that_was_away_is_told_all_when_it_is_back(scene: Scene) -> None:
    scene.played[1].answers = False
    for number in range(3):
        scene.play(scene.trackers.set_entry(entry(number), 1.0))
    assert not scene.played[1].entries
    scene.played[1].answers = True
    scene.pass_time(30.0)
    assert list(scene.played[1].entries) == [digest(number) for number in range(3)]


def test_each_is_told_whether_the_other_is_there(scene: Scene) -> None:
    def told(number: int) -> OtherTracker:
        beats = [message for message in scene.played[number].heard if isinstance(message, Heartbeat)]
        (other,) = beats[-1].others
        return other

    scene.pass_time(10.0)
    assert [told(0), told(1)] == [OtherTracker(B), OtherTracker(A)]
    scene.played[1].answers = False
    scene.pass_time(30.0)
    assert told(0) == OtherTracker(B, False)
    scene.played[1].answers = True
    scene.pass_time(30.0)
    assert told(0) == OtherTracker(B)


def test_the_later_timestamp_counts_and_the_other_tracker_is_told_it_once(scene: Scene) -> None:
    scene.play(scene.trackers.set_entry(entry(1), 1.0))
    assert [played.entries[digest(1)].announced for played in scene.played] == [60, 60]
    told = [len([one for one in played.heard if isinstance(one, Update)]) for played in scene.played]
    assert sorted(told) == [1, 2]
    scene.played[0].stamp = 80
    scene.play(scene.trackers.set_entry(entry(1, ANEW), 2.0))
    assert [played.entries[digest(1)].announced for played in scene.played] == [80, 80]


def test_a_tracker_that_takes_a_timestamp_for_one_of_the_future_is_not_told_it_again_and_again(scene: Scene) -> None:
    scene.played[1].stamp = 10**9
    scene.played[0]._take = lambda entries: [50 for _ in entries]  # type: ignore[method-assign]
    scene.play(scene.trackers.set_entry(entry(1), 1.0))
    scene.pass_time(10.0)
    assert len([one for one in scene.played[0].heard if isinstance(one, Update)]) == 2


def test_an_answer_is_what_all_list_and_complete_at_once_when_all_have_answered(scene: Scene) -> None:
    scene.played[0].knows, scene.played[1].knows = [listed(1, 3)], [listed(1, 2, 8), listed(2)]
    scene.ask()
    (found,) = scene.took(TorrentsFound)
    assert found.entries == [listed(1, 3, 8), listed(2)]
    assert (found.tag, found.without) == ("list", ())


def peer(name: str) -> PeerEntry:
    return PeerEntry(name, name, "tcp://10.0.0.9:7", 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("settling", "seen_by"),
    [((False, False), {"half": [1], "other": [0]}), ((True, False), {"other": [0]}), ((True, True), {})],
)
def test_whom_one_of_them_does_not_list_is_said_unless_that_has_just_started(
    scene: Scene, settling: tuple[bool, bool], seen_by: dict[str, list[int]]
) -> None:
    (ask, other) = scene.trackers.questions.peers("peers", scene.now)
    said = [["both", "other"], ["both", "half"]]
    found: list[Any] = []
    for told, names, unsure in zip((ask, other), said, settling, strict=True):
        answer = PeersFound(told.effect.message.id, list(map(peer, names)), unsure)
        answer = replace(answer, tag=1)
        found += scene.trackers.questions.answered(scene.trackers.all[told.tracker], answer, scene.now)
    (whole,) = found
    assert [entry.peer for entry in whole.entries] == ["both", "half", "other"]
    assert whole.seen_by == seen_by


def test_one_that_came_back_empty_hides_nothing_and_unsettles_nothing(scene: Scene) -> None:
    scene.played[0].knows = [listed(1)]
    scene.played[1].settling = True
    scene.ask()
    (found,) = scene.took(TorrentsFound)
    assert (found.entries, found.settling) == ([listed(1)], False)


def test_one_that_does_not_answer_is_waited_for_a_little_and_not_at_all_once_that_is_known(scene: Scene) -> None:
    scene.played[0].knows = [listed(1)]
    scene.played[1].answers = False
    scene.ask()
    assert scene.took(TorrentsFound) == []
    scene.pass_time(LATER_SECONDS)
    (found,) = scene.took(TorrentsFound)
    assert (found.entries, found.without) == ([listed(1)], (1,))
    scene.pass_time(10.0)
    assert scene.trackers.network == "joined"
    silent = f"tracker {B} does not answer; still trying; asking {A}"
    assert scene.trackers.problem(scene.now) == silent == scene.trackers.without([scene.trackers.all[1]])
    scene.ask()
    assert len(scene.took(TorrentsFound)) == 1


def test_one_that_does_not_admit_this_peer_is_said_to_refuse_it_rather_than_to_be_silent(scene: Scene) -> None:
    scene.trackers.all[1].membership.disconnected("it has revoked the key", scene.now, denied=True)
    assert scene.trackers.problem(scene.now) == f"tracker {B}: it has revoked the key; asking {A}"
    member = scene.trackers.all[1].membership
    member.leave(scene.now)
    member.tick(scene.now + 10.0)
    assert scene.trackers.all[1].silence == f"tracker {B} does not answer; still trying"


def test_without_any_answer_a_person_is_told_so_after_a_while_and_everybody_else_waits(scene: Scene) -> None:
    for played in scene.played:
        played.answers = False
    scene.ask()
    scene.ask(None)
    scene.pass_time(7.0)
    (failed,) = scene.took(AskFailed)
    assert (failed.tag, failed.code) == ("list", "network")
    scene.played[1].answers = True
    scene.pass_time(10.0)
    assert len(scene.took(TorrentsFound)) == 1


def test_what_differs_between_trackers_is_merged_by_what_is_later() -> None:
    def standing(holding: Any, done: int, state: Any = "downloading") -> StandingEntry:
        return StandingEntry("p", "p", holding, DownloadState(digest(1), state, 9, done))

    one, other = (
        StandingsFound(0, [standing("partial", 3)], False),
        StandingsFound(0, [standing("partial", 7)], False),
    )
    assert merge([one, other]).entries == other.entries == merge([other, one]).entries
    whole = StandingsFound(0, [StandingEntry("p", "p", "whole")], True)
    assert merge([whole, other]).entries == whole.entries
    assert not merge([whole, other]).settling


def test_an_order_is_cancelled_when_no_tracker_lists_it_as_anything_else() -> None:
    order = Order("o", digest(1), digest(101), "file 1", 7)
    going, cancelled = (OrdersFound(0, [OrderEntry("p", "p", replace(order, cancelled=it))], False) for it in (0, 1))
    assert merge([going, cancelled]).entries == going.entries == merge([cancelled, going]).entries
    assert merge([cancelled, cancelled]).entries == cancelled.entries


def source(peer: str, endpoint: str = "tcp://10.0.1.1:7", cell: int | None = None) -> SeederEntry:
    return SeederEntry(peer, peer, endpoint, True, "", cell)


def test_sources_are_those_that_any_tracker_names_and_only_one_gives_places_in_the_grid(scene: Scene) -> None:
    scene.played[0].seeders = [source("p", cell=4)]
    scene.played[1].seeders = [source("p", cell=9), source("q", cell=2)]
    scene.play(scene.trackers.want(digest(1), scene.now, False))
    first, second = scene.took(Sources)
    assert ([one.peer for one in first.seeders], first.listed) == (["p"], None), "the other has not answered yet"
    assert [(one.peer, one.cell) for one in second.seeders] == [("p", 4), ("q", None)]
    assert second.listed == 2


def test_a_source_is_lost_when_the_last_tracker_that_names_it_says_so(scene: Scene) -> None:
    for played in scene.played:
        played.seeders = [source("p")]
    scene.play(scene.trackers.want(digest(1), scene.now, False))
    seeders, (one, other) = scene.trackers.seeders, scene.trackers.all
    assert not seeders.down(one, "p", digest(1)), "what one tracker says is not enough"
    assert seeders.down(other, "p", digest(1))
    assert seeders.down(other, "q", ""), "nobody names that one"


def test_where_trackers_name_two_places_of_a_peer_each_has_its_turn(scene: Scene) -> None:
    scene.played[0].seeders, scene.played[1].seeders = [source("p", "tcp://10.9.9.9:1")], [source("p")]
    scene.play(scene.trackers.want(digest(1), scene.now, False))
    scene.pass_time(30.0)
    places = {one.endpoint for told in scene.took(Sources) for one in told.seeders}
    assert places == {"tcp://10.9.9.9:1", "tcp://10.0.1.1:7"}


def test_it_has_left_when_it_has_left_all(scene: Scene) -> None:
    assert not scene.trackers.has_left
    one, other = scene.trackers.all
    one.membership.leave(scene.now)
    assert scene.trackers.network == "joined"
    other.membership.leave(scene.now)
    scene.now += 3.0
    scene.trackers.tick(scene.now)
    assert [one.membership.state for one in scene.trackers.all] == [mb.State.LEFT] * 2


def test_an_old_entry_may_be_listed_until_all_have_acknowledged_its_end_or_forgotten_the_peer(scene: Scene) -> None:
    scene.play(scene.trackers.set_entry(entry(1), scene.now))
    assert not scene.trackers.may_be_listed(digest(1), scene.now)
    scene.played[1].answers = False
    scene.play(scene.trackers.remove_entry(digest(1), scene.now))
    assert scene.trackers.may_be_listed(digest(1), scene.now)
    scene.pass_time(10.0)
    assert scene.trackers.may_be_listed(digest(1), scene.now)
    scene.pass_time(10.0)
    assert not scene.trackers.may_be_listed(digest(1), scene.now), "its lease is over"
