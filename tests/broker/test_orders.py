"""Orders at the tracker: told with heartbeats, announced, replicated, listed."""

from __future__ import annotations

from typing import Any

import pytest

from protocol import limits as lim
from protocol.messages import (
    Error,
    GetOrderList,
    GetStandingList,
    Goodbye,
    Heartbeat,
    Ok,
    Order,
    OrderList,
    OrdersChanged,
    PeerLeft,
    StandingList,
)
from tests.broker.link_scenes import LinkedLookup
from tests.broker.scenes import Actor, Stage, digest


def order(number: int, **more: Any) -> Order:
    return Order(f"o{number}", digest(number), digest(1_000 + number), f"file {number}", 10, **more)


def tell(actor: Actor, *orders: Order, kind: type[Ok] | type[Error] = Ok, free: int | None = None) -> int:
    """Say in a heartbeat which orders it gives; the seq of the answer."""
    beat = Heartbeat(actor.id(), actor.name, actor.token, actor.version, 0, actor.run, None, free, list(orders))
    reply = actor.stage.ask(beat, kind)
    return reply.seq if isinstance(reply, Ok) else 0


def listed(stage: Stage, link: LinkedLookup, seq: int = 0) -> list[tuple[str, str, bool]]:
    found, after = [], ""
    while True:
        link.settle()
        reply = link.ask(GetOrderList(1, after, stage.registrar._ledger.epoch, seq))
        assert isinstance(reply, OrderList)
        found += [(entry.name, entry.order.order, entry.order.cancelled) for entry in reply.entries]
        after = reply.next
        if not after:
            return found


def test_orders_are_announced_numbered_and_listed_until_they_are_told_no_more() -> None:
    stage = Stage()
    a, b = stage.peer("a"), stage.peer("b")
    link = LinkedLookup(stage)
    stage.hints()
    seq = tell(a, order(1), order(2))
    assert stage.hints() == [OrdersChanged("a"), OrdersChanged("a")]
    assert listed(stage, link, seq) == [("A", "o1", False), ("A", "o2", False)]
    assert tell(a, order(1), order(2)) == seq, "nothing new"
    tell(b, order(3))
    seq = tell(a, order(2, cancelled=True))
    assert listed(stage, link, seq) == [("A", "o2", True), ("B", "o3", False)]
    a.heartbeat(Ok)
    assert listed(stage, link) == [("A", "o2", True), ("B", "o3", False)], "as last told"
    stage.registrar.check_invariants()


def test_the_orders_of_a_peer_that_is_gone_are_gone_and_a_new_lookup_learns_the_others() -> None:
    stage = Stage()
    a, b = stage.peer("a"), stage.peer("b")
    tell(a, order(1))
    tell(b, order(2), free=7)
    stage.hints()
    a.leave(Goodbye)
    assert stage.hints() == [PeerLeft("a", False)]
    link = LinkedLookup(stage)
    assert listed(stage, link) == [("B", "o2", False)]
    stage.registrar.check_invariants()


def test_pages_hold_all_orders_of_a_giver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.queries.ORDERS_PAGE_COUNT", lim.ORDERS_TOLD_COUNT_MAX + 1)
    stage = Stage()
    for name in "abc":
        tell(stage.peer(name), order(1), order(2))
    assert [name for name, _, _ in listed(stage, LinkedLookup(stage))] == ["A", "A", "B", "B", "C", "C"]


def test_all_orders_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lim, "ORDERS_COUNT_MAX", 2)
    stage = Stage()
    a, b = stage.peer("a"), stage.peer("b")
    tell(a, order(1))
    tell(b, order(2), order(3), kind=Error)
    tell(a, order(1), order(4))
    assert list(stage.registry.orders) == ["a"]


def test_whether_a_peer_accepts_orders_is_known_at_once_and_how_much_room_it_has_soon() -> None:
    stage = Stage()
    a = stage.peer("a")
    link = LinkedLookup(stage)

    def free() -> int | None:
        link.settle()
        reply = link.ask(GetStandingList(1, digest(1)))
        assert isinstance(reply, StandingList)
        return reply.peers[0].free

    assert free() is None
    tell(a, free=100)
    assert free() == 100
    tell(a, free=50)
    stage.pass_time(1)
    assert free() == 50
    a.heartbeat(Ok)
    assert free() is None
