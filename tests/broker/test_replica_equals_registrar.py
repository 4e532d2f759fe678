"""Whatever happens to peers and to the link, a replica equals the registrar at the same place in the sequence, and a
peer that left or expired has no entry anywhere."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broker.registry import Registry
from protocol import limits as lim
from protocol.messages import Entry, Goodbye, ListRequest, Message, Ok, Rejoin, Welcome
from tests.broker.link_scenes import LinkedLookup
from tests.broker.scenes import EPOCH, LEASE, TERMS, Actor, Stage, entry, picture

ANY = Message
PEERS = [f"peer-{n}" for n in range(5)]
HOLDINGS = st.sampled_from(["whole", "partial", "requesting"])
ENTRIES = st.lists(
    st.builds(
        entry,
        st.integers(0, 7),
        HOLDINGS,
        st.sampled_from(["", "a name"]),
        st.lists(st.sampled_from(["another", "a third"]), max_size=2),
        st.sampled_from([b"", b"s" * lim.SIGNATURE_BYTES, b"t" * lim.SIGNATURE_BYTES]),
    ),
    max_size=6,
    unique_by=lambda e: e.digest,
)
SMALL_WINDOW = 2


class Network(RuleBasedStateMachine):
    """Peers join, change, go; two lookups follow over links that stall, break and lose messages."""

    def __init__(self) -> None:
        super().__init__()
        self._saved = (lim.LINK_PAGE_COUNT, lim.LINK_WINDOW_COUNT, lim.LINK_QUEUE_COUNT_MAX)
        lim.LINK_PAGE_COUNT, lim.LINK_WINDOW_COUNT, lim.LINK_QUEUE_COUNT_MAX = 3, SMALL_WINDOW, 30
        self.stage = Stage(TERMS._replace(lookups=("tcp://h:1", "tcp://h:2")))
        self.actors = {name: Actor(self.stage, name) for name in PEERS}
        self.gone: set[str] = set(PEERS)
        self.lookups = [LinkedLookup(self.stage, seed) for seed in (1, 2)]
        self.at_seq: dict[tuple[int, int], object] = {}

    def teardown(self) -> None:
        """Left alone, every lookup catches up."""
        try:
            for lookup in self.lookups:
                lookup.pass_time(2 * lim.LINK_SILENT_SECONDS)
            for lookup in self.lookups:
                lookup.settle()
                registry = lookup.lookup.replica.registry
                assert registry is not None
                assert picture(registry) == picture(self.stage.registry)
        finally:
            lim.LINK_PAGE_COUNT, lim.LINK_WINDOW_COUNT, lim.LINK_QUEUE_COUNT_MAX = self._saved

    @initialize(lists=st.lists(ENTRIES, min_size=len(PEERS) - 1, max_size=len(PEERS) - 1))
    def populate(self, lists: list[list[Entry]]) -> None:
        for name, entries in zip(PEERS, lists, strict=False):
            self.join(name, entries, 7000)

    @rule(name=st.sampled_from(PEERS), entries=ENTRIES, port=st.integers(7000, 7001))
    def join(self, name: str, entries: list[Entry], port: int) -> None:
        self.actors[name].endpoint = f"tcp://*:{port}"
        self.actors[name].join(*entries)
        self.gone.discard(name)
        self.remember()

    @rule(name=st.sampled_from(PEERS), added=ENTRIES, removed=st.lists(st.integers(0, 7), max_size=3))
    def update(self, name: str, added: list[Entry], removed: list[int]) -> None:
        self.actors[name].update(Rejoin if name in self.gone else Ok, added, removed)
        self.remember()

    @rule(
        name=st.sampled_from(PEERS),
        number=st.integers(0, 7),
        state=st.sampled_from(["requesting", "started", "failed"]),
    )
    def transfer(self, name: str, number: int, state: str) -> None:
        self.actors[name].transfer(number, state, ANY)  # type: ignore[arg-type, type-var]
        self.remember()

    @rule(name=st.sampled_from(PEERS), load=st.integers(0, 3))
    def heartbeat(self, name: str, load: int) -> None:
        reply = self.actors[name].heartbeat(ANY, load)  # type: ignore[type-var]
        if isinstance(reply, ListRequest):
            assert isinstance(self.actors[name].send_list(reply.list_id), Welcome)
        self.remember()

    @rule(name=st.sampled_from(PEERS))
    def leave(self, name: str) -> None:
        self.actors[name].leave(Goodbye)
        self.gone.add(name)
        self.remember()

    @rule(seconds=st.sampled_from([0.3, 1.0, 4.0, LEASE]))
    def pass_time(self, seconds: float) -> None:
        for lookup in self.lookups:
            lookup.pass_time(seconds / 2, deliver=False)
        self.gone = set(PEERS) - set(self.stage.registry.members)
        self.remember()

    @rule(which=st.integers(0, 1), up=st.integers(0, 8), down=st.integers(0, 8))
    def deliver(self, which: int, up: int, down: int) -> None:
        lookup = self.lookups[which]
        for _ in range(up):
            lookup.step_up()
        for _ in range(down):
            lookup.step_down()
            self.compare(lookup)

    @rule(which=st.integers(0, 1))
    def settle(self, which: int) -> None:
        self.lookups[which].settle()
        self.compare(self.lookups[which])

    @rule(which=st.integers(0, 1))
    def reconnect(self, which: int) -> None:
        self.lookups[which].reconnect()

    @rule(which=st.integers(0, 1), at=st.integers(0, 3))
    def lose_one(self, which: int, at: int) -> None:
        lookup = self.lookups[which]
        lookup.collect()
        if at < len(lookup.down):
            del lookup.down[at]

    @rule(which=st.integers(0, 1))
    def restart_lookup(self, which: int) -> None:
        old = self.lookups[which]
        old.reconnect()
        fresh = self.lookups[which] = LinkedLookup(self.stage, seed=which + 1)
        fresh.route = old.route

    def remember(self) -> None:
        """What the registrar knew at each number (load has none, so it is left out)."""
        self.at_seq[EPOCH, self.stage.registrar.seq] = numbered(self.stage.registry)

    def compare(self, lookup: LinkedLookup) -> None:
        registry = lookup.lookup.replica.registry
        if registry is None:
            return
        registry.check_invariants()
        seq = lookup.lookup.replica.seq
        if (EPOCH, seq) in self.at_seq:
            assert numbered(registry) == self.at_seq[EPOCH, seq]

    @invariant()
    def nothing_is_left_of_who_is_gone(self) -> None:
        self.stage.registrar.check_invariants()
        for name in sorted(self.gone):
            assert name not in self.stage.registry.members
            for swarm in self.stage.registry.swarms.values():
                assert swarm.holding(name) is None


def numbered(registry: Registry) -> object:
    loads = {member.peer: member.load for member in registry.members.values()}
    for member in registry.members.values():
        member.load = 0
    seen = picture(registry)
    for peer, load in loads.items():
        registry.members[peer].load = load
    return seen


Network.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestNetwork = Network.TestCase


def test_the_same_requests_give_the_same_effects() -> None:
    def run() -> list[object]:
        stage, rng = Stage(), random.Random(4)
        for name in PEERS:
            stage.peer(name, *(entry(n) for n in rng.sample(range(50), 20)))
        stage.pass_time(LEASE + 2)
        return [*stage.published, *stage.notes]

    assert run() == run()
