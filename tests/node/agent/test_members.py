"""`node.agent.members`: whose keys the piece server is told."""

from __future__ import annotations

import random

from node.agent.effects import ToDownloader, ToPieceServer
from node.agent.members import AGAIN_SECONDS, Effect, FindMembers, Members
from node.local_messages import MemberKeys, SourceLost
from protocol.messages import PeerEntry

KEYS = {name: f"{number:02x}" * 32 for number, name in enumerate("abcdef", start=1)}


def entry(peer: str) -> PeerEntry:
    return PeerEntry(peer, peer, "tcp://10.0.0.1:1", 0, 0, 0, 0, KEYS[peer])


class PieceServer:
    """What it admits, by what it is told."""

    def __init__(self) -> None:
        self.admits: set[str] | None = None

    def take(self, effects: list[Effect]) -> list[Effect]:
        """What is left."""
        for effect in effects:
            if isinstance(effect, ToPieceServer) and isinstance(effect.message, MemberKeys):
                told = effect.message
                base = set() if told.whole else (self.admits or set()).difference(told.removed)
                self.admits = base | set(told.added)
        return [effect for effect in effects if not isinstance(effect, ToPieceServer)]

    @property
    def peers(self) -> str:
        return "".join(sorted(peer for peer, key in KEYS.items() if key in (self.admits or ())))


def test_a_new_member_asks_for_all_and_then_hears_of_each() -> None:
    members, server = Members(True), PieceServer()
    assert members.told() == []
    assert members.welcomed(0.0) == [FindMembers()]
    server.take(members.found([entry("a"), entry("b")], False, 0.1))
    assert server.peers == "ab"
    server.take(members.joined("c", KEYS["c"]))
    server.take(members.left("a"))
    server.take(members.left("nobody"))
    assert server.peers == "bc"
    again = PieceServer()
    again.take(members.told())
    assert again.peers == "bc"


def test_what_the_roster_says_while_a_question_is_open_holds() -> None:
    members, server = Members(True), PieceServer()
    members.welcomed(0.0)
    server.take(members.joined("c", KEYS["c"]))
    server.take(members.left("a"))
    assert server.peers == "c"
    server.take(members.found([entry("a"), entry("b")], False, 0.1))
    assert server.peers == "bc"


def test_downloads_hear_of_those_whose_leaving_the_roster_did_not_tell() -> None:
    members, server = Members(True), PieceServer()
    members.welcomed(0.0)
    server.take(members.found([entry("a"), entry("b")], False, 0.1))
    members.missed(1.0, 0.0)
    assert server.take(members.found([entry("b")], True, 1.1)) == []
    members.tick(9.0)
    assert server.take(members.found([entry("b")], False, 9.1)) == [ToDownloader(SourceLost("a", ""))]


def test_while_the_tracker_may_not_know_everybody_nobody_is_put_out() -> None:
    members, server = Members(True), PieceServer()
    members.welcomed(0.0)
    server.take(members.found([entry("a"), entry("b")], False, 0.1))
    members.missed(1.0, 0.0)
    members.heard(2.0)
    server.take(members.found([entry("c")], True, 1.1))
    assert server.peers == "abc"
    assert members.next_deadline() == 1.1 + AGAIN_SECONDS
    assert members.tick(1.1 + AGAIN_SECONDS) == [FindMembers()]
    server.take(members.found([entry("c")], False, 7.0))
    assert server.peers == "c"


def test_a_silent_roster_is_not_relied_on() -> None:
    members = Members(True)
    members.welcomed(0.0)
    members.found([], False, 0.1)
    members.heard(3.0)
    assert members.tick(3.0 + AGAIN_SECONDS - 0.1) == []
    assert members.tick(3.0 + AGAIN_SECONDS) == [FindMembers()]
    assert members.next_deadline() is None  # one question at a time
    members.failed(9.0)
    assert members.next_deadline() == min(9.0, 3.0 + AGAIN_SECONDS) + AGAIN_SECONDS


def test_what_is_missed_while_a_question_is_open_is_asked_for_after_it() -> None:
    members = Members(True)
    members.welcomed(0.0)
    assert members.missed(0.1, 0.5) == []
    members.found([], False, 0.2)
    assert members.tick(0.6) == [FindMembers()]


def test_without_keys_nothing_is_asked_or_told() -> None:
    members = Members(False)
    effects = [*members.welcomed(0.0), *members.missed(1.0, 0.0), *members.joined("a", ""), *members.left("a")]
    assert (effects, members.tick(1e9), members.next_deadline(), members.told()) == ([], [], None, [])


def test_whatever_happens_in_whatever_order_the_last_word_of_each_counts() -> None:
    """Joins and leaves at random, answers of any age that begin before them."""
    for seed in range(200):
        rng = random.Random(seed)
        members, server = Members(True), PieceServer()
        truth: set[str] = set()
        members.welcomed(0.0)
        snapshot = list(truth)
        for step in range(60):
            peer, now = rng.choice("abcdef"), float(step)
            if rng.random() < 0.2 and members.next_deadline() is None:
                server.take(members.found([entry(one) for one in snapshot], False, now))
                assert server.peers == "".join(sorted(truth)), seed
                members.missed(now, 0.0)
                snapshot = list(truth)
            elif peer in truth:
                truth.discard(peer)
                server.take(members.left(peer))
            else:
                truth.add(peer)
                server.take(members.joined(peer, KEYS[peer]))
            if rng.random() < 0.2:
                snapshot = list(truth)
        server.take(members.found([entry(one) for one in snapshot], False, 100.0))
        assert server.peers == "".join(sorted(truth)), seed
