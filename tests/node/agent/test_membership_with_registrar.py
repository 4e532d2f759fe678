"""`node.agent.membership` against the tracker's own registrar core, over a wire that loses, on a clock that jumps."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.effects import Reply
from broker.registrar_core import Registrar, Terms
from node.agent.membership import Effect, Send
from protocol.codec import Decoder, encode
from protocol.messages import Entry, Holding, MemberRequest, RegistrarReply
from tests.node.agent.sole_membership import SoleMembership

TERMS = Terms(15.0, 5.0, 10, "tcp://*:2", ("tcp://*:3",))
REQUESTS: Decoder[MemberRequest] = Decoder(MemberRequest)
REPLIES: Decoder[RegistrarReply] = Decoder(RegistrarReply, 1 << 20)
PEER = "peer-1"


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


class World:
    """One peer, one registrar, and a wire that loses a message with probability ``loss``."""

    def __init__(self, seed: int, loss: float) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.loss = loss
        self.epoch = 1
        self.registrar = Registrar(TERMS, self.epoch, self.now)
        self.peer = SoleMembership(PEER, b"t" * 32, "one", "tcp://tracker:1", random.Random(seed + 1))

    def carry(self, effects: list[Effect], peer: SoleMembership | None = None) -> None:
        """Deliver what ``peer`` (None: the one) sends, and the replies, until it is quiet."""
        peer = peer or self.peer
        todo = list(effects)
        while todo:
            effect = todo.pop(0)
            if not isinstance(effect, Send) or self.rng.random() < self.loss:
                continue
            request = REQUESTS.decode(encode(effect.message))
            for answer in self.registrar.handle(b"route", "10.0.0.1", request, self.now):
                if isinstance(answer, Reply) and self.rng.random() >= self.loss:
                    reply = answer.message
                    todo += peer.receive(REPLIES.decode(encode(reply, 1 << 20)), self.now)

    def run(self, seconds: float, *others: SoleMembership) -> None:
        """Let time go by for the registrar, the peer and ``others``."""
        until = self.now + seconds
        peers = (self.peer, *others)
        while True:
            moments = [self.registrar.next_deadline(), *(peer.next_deadline() or until for peer in peers)]
            self.now = max(self.now, min(*moments, until))
            if self.now >= until:
                return
            self.registrar.tick(self.now)
            for peer in peers:
                self.carry(peer.tick(self.now), peer)

    def another_run(self, number: int, port: int = 9) -> SoleMembership:
        """A peer of the same identity, with one entry, that has just joined from ``port``."""
        peer = SoleMembership(PEER, b"t" * 32, "one", "tcp://tracker:1", random.Random(1000 + number))
        self.carry(peer.set_entry(Entry(digest(number), digest(100 + number), "f", number, "whole"), self.now), peer)
        self.carry(peer.set_endpoint(f"tcp://*:{port}", self.now), peer)
        return peer

    def restart_tracker(self) -> None:
        self.epoch += 1
        self.registrar = Registrar(TERMS, self.epoch, self.now)

    def listed(self) -> dict[str, Holding | None]:
        member = self.registrar.registry.members.get(PEER)
        return {} if member is None else {d: self.registrar.registry.holding(PEER, d) for d in member.listings}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["whole", "partial", "requesting"]), st.integers(0, 5)),
        st.tuples(st.sampled_from(["remove", "started", "finished", "failed"]), st.integers(0, 5)),
        st.tuples(st.sampled_from(["restart", "connected"]), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 20)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 2**16), st.sampled_from([0.0, 0.3]))
def test_the_registrar_ends_up_with_the_list_of_the_peer(steps: list[tuple[str, int]], seed: int, loss: float) -> None:
    world = World(seed, loss)
    peer = world.peer
    wanted: dict[str, Holding] = {}
    world.carry(peer.set_endpoint("tcp://*:9", world.now))
    for what, number in steps:
        name = digest(number)
        if what == "wait":
            world.run(float(number))
        elif what == "restart":
            world.restart_tracker()
        elif what == "connected":
            world.carry(peer.connected("10.0.0.9", world.now))
        elif what == "remove":
            wanted.pop(name, None)
            world.carry(peer.remove_entry(name, world.now))
        elif what in ("whole", "partial", "requesting"):
            wanted[name] = what  # type: ignore[assignment]
            entry = Entry(name, digest(100 + number), f"file {number}", number, wanted[name])
            world.carry(peer.set_entry(entry, world.now))
        elif (what == "started" and wanted.get(name) == "partial") or (what == "finished" and name in wanted):
            if what == "finished":
                wanted[name] = "whole"
                whole = Entry(name, digest(100 + number), f"file {number}", number, "whole")
                world.carry(peer.set_entry(whole, world.now))
            world.carry(peer.transfer(name, what, world.now))  # type: ignore[arg-type]
        elif what == "failed" and wanted.get(name) in ("partial", "requesting"):
            del wanted[name]
            world.carry(peer.transfer(name, "failed", world.now))
            world.carry(peer.remove_entry(name, world.now))
    world.loss = 0.0
    world.run(60.0)
    assert peer.joined
    assert world.listed() == wanted
    world.registrar.check_invariants()
    world.carry(peer.leave(world.now))
    assert world.listed() == {}


def test_a_tracker_restarted_empty_knows_the_peer_within_a_heartbeat() -> None:
    world = World(3, 0.0)
    world.carry(world.peer.set_endpoint("tcp://*:9", world.now))
    for number in range(500):
        entry = Entry(digest(number), digest(9_000 + number), f"file {number}", number, "whole")
        world.carry(world.peer.set_entry(entry, world.now))
    world.restart_tracker()
    world.run(5.1)
    assert len(world.listed()) == 500


def test_of_two_peers_with_one_identity_the_last_to_join_stays_until_it_ends() -> None:
    world = World(3, 0.0)
    world.peer = one = world.another_run(1, port=1)
    other = world.another_run(2, port=2)
    world.run(6.0, other)
    assert (one.network, other.network) == ("refused", "joined")
    assert "identity.json" in one.problem
    for _ in range(100):
        world.run(10.0, other)
        assert (one.network, other.network) == ("refused", "joined")
        assert list(world.listed()) == [digest(2)]
    world.carry(other.leave(world.now), other)
    world.run(80.0, other)
    assert (one.network, other.network) == ("joined", "left")
    assert list(world.listed()) == [digest(1)]


def test_a_person_decides_which_of_two_peers_with_one_identity_is_in() -> None:
    world = World(3, 0.0)
    world.peer = one = world.another_run(1, port=1)
    other = world.another_run(2, port=2)
    world.run(6.0, other)
    world.carry(one.join(world.now), one)
    world.run(100.0, other)
    assert (one.network, other.network) == ("joined", "refused")


def test_a_restarted_agent_is_let_in_at_once_and_what_is_late_of_its_dead_run_changes_nothing() -> None:
    world = World(3, 0.0)
    dead = world.another_run(1)
    late = [*dead.leave(world.now)]
    world.peer = world.another_run(2)
    assert world.peer.joined
    world.carry(late, dead)
    world.run(30.0)
    assert world.peer.joined
    assert list(world.listed()) == [digest(2)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["tracker restarts", "one restarts", "other restarts", "wait"]), max_size=12))
def test_whatever_is_restarted_one_of_two_peers_with_one_identity_is_in_and_the_other_knows(steps: list[str]) -> None:
    world = World(5, 0.0)
    world.peer = world.another_run(1, port=1)
    other = world.another_run(2, port=2)
    for number, step in enumerate(steps, start=3):
        if step == "tracker restarts":
            world.restart_tracker()
        elif step == "one restarts":
            world.peer = world.another_run(number, port=1)
        elif step == "other restarts":
            other = world.another_run(number, port=2)
        world.run(3.0, other)
    world.run(90.0, other)
    before = (world.peer.network, other.network)
    assert sorted(before) == ["joined", "refused"]
    world.run(300.0, other)
    assert (world.peer.network, other.network) == before
    world.registrar.check_invariants()
