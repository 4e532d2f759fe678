"""Links that are shared max-min fairly: against an exact solver, and that nothing is lost or sent twice."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count
from math import inf
from random import Random

import pytest

from cluster.simulated.links import OVER, UNDER, Flow, Links, Port, Side


class FakeClock:
    """Virtual time; calls of one moment come in the order they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = count()
        self.heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []

    def at(self, when: float, call: Callable[..., None], *args: object) -> None:
        assert when >= self.now, "nothing is called in the past"
        heapq.heappush(self.heap, (when, next(self.order), call, args))

    def run(self, until: float = inf) -> None:
        """Let time pass to ``until``, or to when nothing more happens."""
        while self.heap and self.heap[0][0] <= until:
            self.now, _, call, args = heapq.heappop(self.heap)
            call(*args)
        if until < inf:
            self.now = until


class Scene:
    """Ports and what was sent between them; ``ended`` is when each was done, by name."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.links = Links(self.clock)
        self.ended: dict[str, float] = {}

    def send(self, name: str, source: Port, receiver: Port, size: float) -> Flow:
        return self.links.send(source, receiver, size, partial(self.note, name))

    def note(self, name: str) -> None:
        assert name not in self.ended, "done is called once"
        self.ended[name] = self.clock.now


@pytest.fixture
def scene() -> Scene:
    return Scene()


def exact(flows: dict[Flow, tuple[Port, Port]]) -> dict[Flow, float]:
    """Max-min fair rates: fill all flows alike, freeze those on the link that is full first, and again."""
    rates: dict[Flow, float] = {}
    links: dict[Side, list[Flow]] = {}
    for flow, (source, receiver) in flows.items():
        links.setdefault(source.up, []).append(flow)
        links.setdefault(receiver.down, []).append(flow)
    while len(rates) < len(flows):
        shares = []
        for link, on in links.items():
            free = [flow for flow in on if flow not in rates]
            if free:
                shares.append(((link.capacity - sum(rates.get(flow, 0.0) for flow in on)) / len(free), free))
        lowest = min(share for share, _ in shares)
        for share, free in shares:
            if share <= lowest * (1 + 1e-12):
                rates.update((flow, lowest) for flow in free)
    return rates


# --- simple cases ----------------------------------------------------------------------------------------


def test_a_flow_alone_has_the_slower_of_its_links(scene: Scene) -> None:
    scene.send("a", Port(10.0, 10.0), Port(1.0, 4.0), 100.0)
    scene.clock.run()
    assert scene.ended == {"a": 25.0}


@pytest.mark.parametrize("number", [2, 3, 7])
def test_flows_of_an_uplink_share_it(scene: Scene, number: int) -> None:
    source = Port(10.0, 10.0)
    for name in range(number):
        scene.send(str(name), source, Port(10.0, 10.0), 100.0)
    scene.clock.run()
    assert list(scene.ended.values()) == pytest.approx([10.0 * number] * number)


def test_who_is_done_leaves_its_share_to_others(scene: Scene) -> None:
    source = Port(10.0, 10.0)
    scene.send("short", source, Port(10.0, 10.0), 50.0)
    scene.send("long", source, Port(10.0, 10.0), 150.0)
    scene.clock.run()
    assert scene.ended == pytest.approx({"short": 10.0, "long": 20.0})


def test_who_comes_later_takes_its_share(scene: Scene) -> None:
    source, receiver = Port(10.0, 10.0), Port(10.0, 10.0)
    scene.send("first", source, receiver, 100.0)
    scene.clock.run(5.0)
    scene.send("second", Port(10.0, 10.0), receiver, 50.0)
    scene.clock.run()
    assert scene.ended == pytest.approx({"first": 15.0, "second": 15.0})


def test_what_a_flow_cannot_use_at_its_other_end_goes_to_others(scene: Scene) -> None:
    source = Port(10.0, 10.0)
    scene.send("slow", source, Port(1.0, 2.0), 20.0)
    scene.send("fast", source, Port(1.0, 100.0), 80.0)
    scene.send("too", source, Port(1.0, 100.0), 80.0)
    scene.clock.run(0.0)
    assert [flow.rate for flow in source.up.flows] == [2.0, 4.0, 4.0]
    scene.clock.run()
    assert scene.ended == pytest.approx({"slow": 10.0, "fast": 18.0, "too": 18.0})


def test_news_of_a_full_link_reach_the_one_behind(scene: Scene) -> None:
    """a-x, b-x, b-y, c-y: a third flow to x leaves more of b to y, which leaves less to c."""
    a, b, c, x, y = (Port(12.0, 12.0) for _ in range(5))
    for source, receiver in ((a, x), (b, x), (b, y), (c, y)):
        scene.send(f"{len(b.up.flows)}", source, receiver, 1e6)
    scene.clock.run(0.0)
    assert [flow.rate for port in (a, b, c) for flow in port.up.flows] == [6.0, 6.0, 6.0, 6.0]
    scene.send("more", Port(12.0, 12.0), x, 1e6)
    scene.clock.run(1.0)
    assert [flow.rate for port in (a, b, c) for flow in port.up.flows] == [4.0, 4.0, 6.0, 6.0]


def test_without_limits_nothing_takes_time(scene: Scene) -> None:
    source, receiver = Port(inf, inf), Port(inf, inf)
    scene.clock.run(3.0)
    scene.send("a", source, receiver, 1e12)
    scene.send("b", source, Port(inf, 100.0), 50.0)
    scene.send("c", Port(100.0, 1.0), receiver, 50.0)
    scene.clock.run()
    assert scene.ended == {"a": 3.0, "b": 3.5, "c": 3.5}


def test_nothing_takes_no_time_and_done_is_not_called_by_send(scene: Scene) -> None:
    scene.send("nothing", Port(1.0, 1.0), Port(1.0, 1.0), 0.0)
    assert scene.ended == {}
    scene.clock.run()
    assert scene.ended == {"nothing": 0.0}


# --- connections break, links change ---------------------------------------------------------------------


def test_what_is_cancelled_is_never_done_and_leaves_its_share(scene: Scene) -> None:
    source = Port(10.0, 10.0)
    broken = scene.send("broken", source, Port(10.0, 10.0), 100.0)
    scene.send("whole", source, Port(10.0, 10.0), 100.0)
    scene.clock.run(10.0)
    scene.links.cancel(broken)
    scene.links.cancel(broken)
    scene.clock.run()
    assert scene.ended == pytest.approx({"whole": 15.0})


def test_to_cancel_what_is_done_changes_nothing(scene: Scene) -> None:
    flow = scene.send("a", Port(10.0, 10.0), Port(10.0, 10.0), 100.0)
    scene.clock.run()
    scene.links.cancel(flow)
    scene.clock.run()
    assert scene.ended == {"a": 10.0}


def test_a_link_that_changes_carries_on_what_is_on_it(scene: Scene) -> None:
    source, receiver = Port(10.0, 10.0), Port(10.0, 10.0)
    scene.send("a", source, receiver, 100.0)
    scene.clock.run(5.0)
    scene.links.set_rates(source, 5.0, 10.0)
    scene.clock.run(7.0)
    scene.links.set_rates(receiver, 10.0, 0.0)
    scene.clock.run(100.0)
    assert scene.ended == {}
    scene.links.set_rates(receiver, 10.0, inf)
    scene.links.set_rates(source, 40.0, 10.0)
    scene.clock.run()
    assert scene.ended == pytest.approx({"a": 101.0})


# --- any network -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_rates_are_close_to_max_min(seed: int) -> None:
    """Flows come and go in a network of unequal links: no link carries more than it can do, none leaves a flow waiting
    that could go faster, and flows are as fast as they should be, on average within 0.2 % and each within 5 %."""
    rng = Random(seed)
    scene = Scene()
    speeds = [[10.0], [1.0, 2.0, 4.0, 8.0], [3.0, 10.0, inf]][seed % 3]
    ports = [Port(rng.choice(speeds), rng.choice(speeds)) for _ in range(20)]
    ports.append(Port(5.0, 5.0))
    flows: dict[Flow, tuple[Port, Port]] = {}
    errors: list[float] = []
    for _ in range(300):
        if len(flows) > 80 or (flows and rng.random() < 0.4):
            gone = rng.choice(list(flows))
            del flows[gone]
            scene.links.cancel(gone)
        else:
            source, receiver = rng.choice(ports), rng.choice(ports)
            if inf not in (source.up.capacity, receiver.down.capacity):
                flows[scene.send("any", source, receiver, 1e12)] = (source, receiver)
        scene.clock.run(scene.clock.now + 0.001)
        errors += [abs(flow.rate / rate - 1) for flow, rate in exact(flows).items()]
        check_loads(ports)
    assert sum(errors) / len(errors) <= 0.002
    assert max(errors) <= 0.05


def check_loads(ports: list[Port]) -> None:
    for side in [side for port in ports for side in (port.up, port.down) if side.flows]:
        load = sum(flow.rate for flow in side.flows)
        assert load <= side.capacity * (1 + OVER) + 1e-9
        for flow, far in side.flows.items():
            full = load >= side.capacity * (1 - UNDER)
            far_full = sum(other.rate for other in far.flows) >= far.capacity * (1 - UNDER)
            assert full or far_full, f"{flow.rate} could be more"


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_arrives_and_no_link_carries_more_than_it_can(seed: int) -> None:
    rng = Random(seed)
    scene = Scene()
    ports = [Port(rng.choice([1.0, 4.0]), rng.choice([1.0, 4.0])) for _ in range(30)]
    sent = dict.fromkeys(range(len(ports)), 0.0)
    names = count()

    def again(source: int) -> None:
        size = rng.choice([0.5, 1.0, 3.0])
        receiver = rng.randrange(len(ports))
        sent[source] += size
        if scene.clock.now < 200.0:
            scene.links.send(ports[source], ports[receiver], size, partial(ended, source, next(names)))

    def ended(source: int, name: int) -> None:
        scene.note(str(name))
        again(source)

    for source in range(len(ports)):
        for _ in range(3):
            again(source)
    scene.clock.run()
    assert len(scene.ended) == next(names)
    assert not any(side.flows for port in ports for side in (port.up, port.down))
    for number, size in sent.items():
        assert size <= ports[number].up.capacity * scene.clock.now * (1 + OVER) + 9.0


def test_the_same_calls_give_the_same_moments() -> None:
    runs = []
    for _ in range(2):
        rng = Random(7)
        scene = Scene()
        ports = [Port(rng.uniform(1.0, 9.0), rng.uniform(1.0, 9.0)) for _ in range(12)]
        for number in range(60):
            scene.send(str(number), rng.choice(ports), rng.choice(ports), rng.uniform(1.0, 5.0))
            scene.clock.run(scene.clock.now + 0.1)
        scene.clock.run()
        runs.append(scene.ended)
    assert runs[0] == runs[1]
