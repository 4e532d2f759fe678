"""`node.agent.membership` against the tracker's own registrar core, over a wire that loses, on a clock that jumps."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.effects import Reply
from broker.registrar_core import Registrar, Terms
from node.agent.membership import Effect, Membership, Send
from protocol.codec import Decoder, encode
from protocol.messages import Entry, Holding, RegistrarReply, RegistrarRequest

TERMS = Terms(15.0, 5.0, 10, "tcp://*:2", ("tcp://*:3",))
REQUESTS: Decoder[RegistrarRequest] = Decoder(RegistrarRequest)
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
        self.peer = Membership(PEER, b"t" * 32, "one", "tcp://tracker:1", random.Random(seed + 1))

    def carry(self, effects: list[Effect]) -> None:
        """Deliver what the peer sends, and the replies, until it is quiet."""
        todo = list(effects)
        while todo:
            effect = todo.pop(0)
            if not isinstance(effect, Send) or self.rng.random() < self.loss:
                continue
            request = REQUESTS.decode(encode(effect.message))
            for answer in self.registrar.handle(b"route", "10.0.0.1", request, self.now):
                if isinstance(answer, Reply) and self.rng.random() >= self.loss:
                    reply = answer.message
                    todo += self.peer.receive(REPLIES.decode(encode(reply, 1 << 20)), self.now)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            moments = [self.registrar.next_deadline(), self.peer.next_deadline() or until]
            self.now = max(self.now, min(*moments, until))
            if self.now >= until:
                return
            self.registrar.tick(self.now)
            self.carry(self.peer.tick(self.now))

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
            world.carry(peer.connected(world.now))
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
