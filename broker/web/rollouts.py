"""Rollouts and their verdicts, as of now. Pure.

A command that watches a rollout remembers peers that were there before (`node.cli.rollout_watch`); this counts members.
"""

from __future__ import annotations

import heapq

from broker.registry import Registry
from broker.web.flows import name_of
from broker.web.rows import Problem, RolloutRow, Verdict
from broker.web.survey import percent_of_all
from protocol.messages import Order
from protocol.orders import is_for
from protocol.standings import OrderState, order_state, percent, seconds_left

PROBLEMS_COUNT_MAX = 20
_SEVERITY: tuple[OrderState, ...] = ("failed", "refuses", "waits", "has not")
_OVER = ("has it", "failed", "refuses")


def orders_after(registry: Registry, after: str, count: int) -> list[tuple[str, Order]]:
    """Up to ``count`` orders and their givers, in order, from the one behind ``after`` (``GIVER ORDER``) on."""
    keys = ((giver, order) for giver, orders in registry.orders.items() for order in orders)
    chosen = heapq.nsmallest(count, (key for key in keys if " ".join(key) > after))
    return [(giver, registry.orders[giver][order]) for giver, order in chosen]


def rollout_row(giver: str, order: Order, registry: Registry) -> RolloutRow:
    """How ``order`` stands at all members that it is for."""
    counts: dict[str, int] = {}
    problems: list[tuple[int, Problem]] = []
    done = rate = 0
    left: list[float | None] = []
    for peer, member in registry.members.items():
        if peer == giver or not is_for(order.peers, member.name):
            continue
        entry = registry.standing(peer, order.digest)
        state, reason = order_state(order, entry)
        counts[state] = counts.get(state, 0) + 1
        if state == "has it":
            done += order.length
        elif entry.download is not None and state != "failed":
            done += min(entry.download.done, order.length)
            rate += entry.download.rate
            left.append(seconds_left(entry.download))
        if state in _SEVERITY:
            problem = Problem(peer, name_of(peer, registry), state, percent(entry), reason)
            problems.append((_SEVERITY.index(state), problem))
    wanted, have = sum(counts.values()), counts.get("has it", 0)
    problems.sort(key=lambda one: (one[0], one[1].name))
    return RolloutRow(
        order=order.order,
        digest=order.digest,
        name=order.name,
        length=order.length,
        giver=giver,
        giver_name=name_of(giver, registry),
        directory=order.directory,
        pattern=order.peers,
        attempt=order.attempt,
        verdict=_verdict(order, counts),
        have=have,
        wanted=wanted,
        percent=percent_of_all(have, wanted, done, order.length),
        rate=rate,
        seconds_left=max((one for one in left if one is not None), default=None),
        counts=counts,
        problems=[problem for _, problem in problems[:PROBLEMS_COUNT_MAX]],
    )


def _verdict(order: Order, counts: dict[str, int]) -> Verdict:
    if order.cancelled:
        return "cancelled"
    if not counts:
        return "nobody"
    if counts.keys() == {"has it"}:
        return "complete"
    return "incomplete" if all(state in _OVER for state in counts) else "running"
