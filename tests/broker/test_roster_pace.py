"""The roster leaves out what would keep a tracker of very many peers from its work, and peers notice."""

from __future__ import annotations

import pytest

from broker import roster_pace
from broker.effects import Publish
from broker.events import PeerSet
from broker.ledger import Ledger
from broker.roster_pace import MESSAGES_COUNT_MAX, MESSAGES_PER_SECOND, RosterPace
from node.agent.roster import RefreshAll, RosterFollower
from protocol.messages import Beat, Roster
from tests.broker.scenes import EPOCH

MEMBERS = 10_000
JOINING = 20


def test_after_a_quiet_time_many_events_are_announced_and_then_some_each_second() -> None:
    pace = RosterPace(0.0)
    assert [pace.allows(MEMBERS, 0.0) for _ in range(300)].count(True) == MESSAGES_COUNT_MAX // MEMBERS
    assert [pace.allows(MEMBERS, 1.0) for _ in range(300)].count(True) == MESSAGES_PER_SECOND // MEMBERS
    assert [pace.allows(MEMBERS, 3_600.0) for _ in range(300)].count(True) == MESSAGES_COUNT_MAX // MEMBERS


def announced(key: str) -> list[Roster]:
    """What the roster says when `JOINING` peers join at the same moment, and with the beat after that."""
    ledger = Ledger(EPOCH, 0.0, 0.0)
    joins = [PeerSet(f"peer-{number}", "", "tcp://10.0.0.1:1", key) for number in range(JOINING)]
    effects = [effect for join in joins for effect in ledger.commit([join], 0.0)]
    return [effect.roster for effect in (*effects, ledger.beat()) if isinstance(effect, Publish)]


def test_what_is_left_out_is_noticed_with_the_next_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_pace, "MESSAGES_COUNT_MAX", 50)
    said = announced(key="")
    assert len(said) < JOINING
    assert (said[-1].event, said[-1].seq) == (Beat(), JOINING), "each event has a number all the same"
    follower = RosterFollower("somebody")
    follower.start(EPOCH, 0)
    hints = [follower.handle(roster, ()) for roster in said]
    assert hints == [*[[] for _ in said[:-1]], [RefreshAll()]]


def test_with_keys_nothing_is_left_out_because_all_would_ask_who_the_members_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roster_pace, "MESSAGES_COUNT_MAX", 50)
    assert len(announced(key="aa")) == JOINING + 1
