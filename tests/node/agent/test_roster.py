"""`node.agent.roster`: hints, and what gaps mean."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.agent.roster import Heard, Hint, RefreshAll, RosterFollower, SourceDown, SourceUp
from protocol.messages import (
    Beat,
    PeerJoined,
    PeerLeft,
    Roster,
    RosterEvent,
    SeederEntry,
    SourceAdded,
    SourceRemoved,
)

MINE = "blake3:" + "1" * 64
OTHER = "blake3:" + "2" * 64


@pytest.fixture
def follower() -> RosterFollower:
    follower = RosterFollower("me")
    follower.start(5, 10)
    return follower


def added(digest: str = MINE, peer: str = "p") -> SourceAdded:
    return SourceAdded(digest, peer, "name", "tcp://h:1", True)


def feed(follower: RosterFollower, seq: int, event: RosterEvent, epoch: int = 5) -> list[Hint]:
    return follower.handle(Roster(epoch, seq, event), {MINE: None})


def test_sources_of_what_is_wanted_are_hints(follower: RosterFollower) -> None:
    assert feed(follower, 11, added()) == [SourceUp(MINE, SeederEntry("p", "name", "tcp://h:1", True))]
    assert feed(follower, 12, added(OTHER)) == []
    assert feed(follower, 13, SourceRemoved(MINE, "p")) == [SourceDown("p", MINE)]
    assert feed(follower, 14, PeerJoined("q", "name", "tcp://h:2")) == []
    assert feed(follower, 15, PeerLeft("q", True)) == [SourceDown("q", "")]


def test_when_a_content_was_announced_is_told_whether_it_is_wanted_or_not(
    follower: RosterFollower,
) -> None:
    dated = replace(added(OTHER), announced=7)
    assert feed(follower, 11, dated) == [Heard(OTHER, 7)]
    assert feed(follower, 12, replace(dated, digest=MINE))[0] == Heard(MINE, 7)


def test_what_this_peer_did_is_no_hint(follower: RosterFollower) -> None:
    assert feed(follower, 11, added(peer="me")) == []
    assert feed(follower, 12, PeerLeft("me", False)) == []


def test_a_gap_means_refresh_and_the_event_still_counts(follower: RosterFollower) -> None:
    assert feed(follower, 13, SourceRemoved(MINE, "p")) == [RefreshAll(), SourceDown("p", MINE)]
    assert feed(follower, 14, SourceRemoved(MINE, "q")) == [SourceDown("q", MINE)]


def test_a_beat_shows_a_lost_tail_and_is_otherwise_silent(follower: RosterFollower) -> None:
    assert feed(follower, 10, Beat()) == []
    assert feed(follower, 12, Beat()) == [RefreshAll()]
    assert feed(follower, 12, Beat()) == []


def test_old_events_change_nothing(follower: RosterFollower) -> None:
    assert feed(follower, 10, added()) == []
    assert (follower.epoch, follower.seq) == (5, 10)


def test_a_new_epoch_means_refresh(follower: RosterFollower) -> None:
    assert feed(follower, 1, Beat(), epoch=6) == [RefreshAll()]
    assert feed(follower, 2, SourceRemoved(MINE, "p"), epoch=6) == [SourceDown("p", MINE)]
    follower.start(6, 1)
    assert follower.seq == 2
