"""Rollouts: the orders that this peer gives, and those of others that it carries out (PROTOCOL.md, section 4.6). Pure.

A new order is first stored on disk, then sent with the next heartbeat, and again after every join; a cancelled one is
sent for as long as there is room. A peer that accepts orders, below one directory, reads all of them when it joins and
when the roster hints at changes. For each it begins an ordinary download, which continues whatever becomes of the
giver; only ``cancelled`` ends it.
"""

from __future__ import annotations

import posixpath
import random
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from node.agent.effects import FindOrders, KeepOrders, MeasureRoom, Note, PrepareOrder, Wish
from node.agent.gets import Gets
from node.agent.jobs import JobBook
from node.agent.library import KeptOrders, TakenOrder
from node.api_messages import ApiDone, ApiGet, ApiReply, ApiRollout, ApiRolloutReply
from protocol.digest import advice_on, begins_digest, short
from protocol.errors import NotFoundError, UsageError
from protocol.limits import FREE_STEP_BYTES, ORDERS_TOLD_COUNT_MAX
from protocol.link import Link, format_link, parse_link
from protocol.messages import Order, OrderEntry
from protocol.orders import check_directory, is_for

ASK_SPREAD_SECONDS = 0.5
"""All peers that accept orders hear of a new one at the same moment."""
RETRY_SECONDS = 5.0
MEASURE_SECONDS = 10.0
TAKEN_COUNT_MAX = 256
"""Orders remembered so that they can be cancelled."""
_ORDER_BITS = 64


class _Running(Struct):
    """An order that this run of the agent carries out. ``job`` is 0 while its directory is prepared."""

    order: Order
    job: int = 0


class Orders:
    """``peer`` and ``name`` are this peer's; ``base`` is the directory below which it carries out orders, empty for
    none."""

    def __init__(self, peer: str, name: str, base: str, gets: Gets, jobs: JobBook, rng: random.Random) -> None:
        self._peer, self._name, self._base, self._gets, self._jobs, self._rng = peer, name, base, gets, jobs, rng
        self._given: list[Order] = []
        self._taken: dict[str, TakenOrder] = {}
        self._running: dict[str, _Running] = {}
        self._ask_at: float | None = None
        self._measure_at: float | None = None

    @property
    def given(self) -> list[Order]:
        """All that is told of: cancelled ones too."""
        return self._given

    @property
    def jobs(self) -> dict[int, Order]:
        """Those that carry out orders, or have, by number."""
        return {running.job: running.order for running in self._running.values()}

    def start(self, kept: KeptOrders, now: float) -> list[Wish]:
        """What the library knows."""
        self._given = list(kept.given)
        self._taken = {order.order: order for order in kept.taken}
        if self._base:
            self._measure_at = now
        return self.tick(now)

    # --- given -------------------------------------------------------------------------------------------

    def give(self, request: ApiRollout, route: bytes) -> list[Wish]:
        """Give an order for a person. Repeating it makes another attempt; an earlier order with its name and directory
        is cancelled. Raises `UsageError`."""
        link = parse_link(request.link)
        content = (link.digest, link.manifest, link.name, link.length)
        directory = check_directory(request.directory)
        identity = f"{self._rng.getrandbits(_ORDER_BITS):016x}"
        order = Order(identity, *content, directory=directory, peers=request.peers, force=request.force)
        given = []
        for one in self._given:
            same_place = (one.name, one.directory) == (order.name, order.directory)
            if not one.cancelled and one == replace(order, order=one.order, attempt=one.attempt):
                order = replace(one, attempt=one.attempt + 1)
            else:
                given.append(replace(one, cancelled=True) if same_place else one)
        while len(given) >= ORDERS_TOLD_COUNT_MAX:
            over = next((one for one in given if one.cancelled), None)
            if over is None:
                names = ", ".join(dict.fromkeys(one.name for one in given))
                most = f"this peer has {len(given)} rollouts, the maximum: {names}"
                raise UsageError(f"{most}; cancel one with 'rollout --cancel NAME': peers that have it keep it")
            given.remove(over)
        return [self._keep([*given, order], (route, ApiRolloutReply(request.id, order)))]

    def cancel(self, name: str, route: bytes, number: int) -> list[Wish]:
        """Cancel the order of the content that is called ``name``, or has that digest or order id. Raises
        `NotFoundError`."""
        going = [one for one in self._given if not one.cancelled]
        meant = [one for one in going if name in (one.name, one.order) or begins_digest(name, one.digest)]
        if not meant:
            what = f"this peer has no rollout of {name}{advice_on(name)}"
            raise NotFoundError(f"{what}; each is cancelled at the peer that started it")
        given = [replace(one, cancelled=True) if one in meant else one for one in self._given]
        done = f"cancelled the rollout of {name}; peers that do not have all of it stop, and delete what they fetched"
        return [self._keep(given, (route, ApiDone(number, done)))]

    def kept(self, kept: KeptOrders) -> None:
        """The orders are on disk: they take effect now."""
        self._given = list(kept.given)

    # --- taken -------------------------------------------------------------------------------------------

    def ask(self, now: float) -> None:
        """The orders may have changed."""
        if self._base:
            self._ask_at = now + self._rng.uniform(0, ASK_SPREAD_SECONDS)

    def ask_failed(self, now: float) -> None:
        self._ask_at = now + RETRY_SECONDS

    def found(self, entries: Iterable[OrderEntry], now: float) -> list[Wish]:
        """All listed orders. One that is not among them stays in effect: its giver may be away."""
        wishes: list[Wish] = []
        listed = {entry.order.order: entry for entry in entries}
        mine = [one for one in listed.values() if one.peer != self._peer and is_for(one.order.peers, self._name)]
        wanted = {_what(entry.order) for entry in mine if not entry.order.cancelled}
        for entry in mine:
            order = entry.order
            running = self._running.get(order.order)
            if order.cancelled:
                wishes += self._stop(order, _what(order) in wanted, now)
            elif running is None or self._tries_again(running, order):
                who = entry.name or entry.peer
                note = Note("info", f"{who} orders {order.name} ({short(order.digest)}) to {order.directory or '.'}")
                self._running[order.order] = _Running(order)
                wishes += [note, PrepareOrder(order, self._base)]
        for name, running in list(self._running.items()):
            job = self._jobs.get(running.job)
            if name not in listed and running.job and (job is None or job.over):
                del self._running[name]
        return wishes

    def prepared(self, order: Order, directory: str, now: float) -> list[Wish]:
        """``directory`` is there, below the place for orders."""
        running = self._running.get(order.order)
        if running is None or running.order != order:
            return []
        self._taken[order.order] = TakenOrder(order.order, order.digest, posixpath.join(directory, order.name))
        for old in list(self._taken)[: len(self._taken) - TAKEN_COUNT_MAX]:
            del self._taken[old]
        link = format_link(Link(order.digest, order.manifest, order.name, order.length))
        request = ApiGet(0, link, directory, b"", order.force, sequential=False)
        job, wishes = self._gets.request(request, now, order.order.encode())
        running.job = job.job
        return [self._keep(self._given), *wishes]

    def refused(self, order: Order, code: str, detail: str, now: float) -> list[Wish]:
        """The directory cannot be prepared. The download fails, so that people see it."""
        running = self._running.get(order.order)
        if running is None or running.order != order:
            return []
        job = self._jobs.new("get", order.name, posixpath.join(self._base, order.directory), "waiting", now)
        job.digest, job.length = order.digest, order.length
        self._jobs.fail(job, code, detail, now)
        running.job = job.job
        return [Note("warning", f"cannot carry out an order: {detail}")]

    def measured(self, free: int, now: float) -> int:
        """``free`` bytes are left at the place for orders; what is told of it."""
        self._measure_at = now + MEASURE_SECONDS
        return free // FREE_STEP_BYTES * FREE_STEP_BYTES

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Wish]:
        wishes: list[Wish] = []
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = None
            wishes.append(FindOrders())
        if self._measure_at is not None and now >= self._measure_at:
            self._measure_at = None
            wishes.append(MeasureRoom(self._base))
        return wishes

    def next_deadline(self) -> float | None:
        return min((at for at in (self._ask_at, self._measure_at) if at is not None), default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _tries_again(self, running: _Running, order: Order) -> bool:
        job = self._jobs.get(running.job)
        return order.attempt > running.order.attempt and (job is None or job.over)

    def _stop(self, order: Order, wanted: bool, now: float) -> list[Wish]:
        """``order`` is cancelled; the same is ``wanted`` by another one."""
        self._running.pop(order.order, None)
        taken = self._taken.pop(order.order, None)
        if taken is None:
            return []
        cancelled = None if wanted else self._gets.cancel(taken.digest, now, taken.dest)
        return [Note("info", f"the order of {order.name} is cancelled"), self._keep(self._given), *(cancelled or [])]

    def _keep(self, given: list[Order], reply: tuple[bytes, ApiReply] | None = None) -> KeepOrders:
        return KeepOrders(KeptOrders(given, list(self._taken.values())), reply)


def _what(order: Order) -> tuple[str, str, str]:
    """What it is about, whoever gives it."""
    return order.digest, order.directory, order.name
