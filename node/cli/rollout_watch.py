"""The progress of a rollout: which peers are expected to have it, the state of each, and the verdict. Pure.

A peer that was seen once is not forgotten. Peers that failed, refuse, are gone or were never seen are not waited for,
unless there is a timeout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from node.cli.standings import standing_cells
from protocol.limits import FREE_STEP_BYTES
from protocol.messages import Order, OrderEntry, StandingEntry
from protocol.orders import is_for
from protocol.standings import carries_out, order_state, percent, seconds_left, state_of
from service.text import printable
from service.units import counted, format_bytes, format_rate, format_seconds

RolloutState = Literal[
    "has it", "fetching", "checking", "verifying", "waits", "has not", "failed", "refuses", "gone", "absent"
]
HEADERS = ["NAME", "=STATE", ">DONE", ">RATE", ">LEFT", ">SOURCES", "DETAIL"]
AWAY = ("gone", "absent")
WENT: Mapping[RolloutState, str] = {
    "waits": "it was waiting",
    "has not": "it had none of it",
    "failed": "it had failed",
    "refuses": "it accepted no orders",
}
"""What a peer that is gone was doing, where the name of its state does not say it."""
ENDED = ("has it", "failed", "refuses", *AWAY)
_ORDER = ("failed", "refuses", "gone", "absent", "verifying", "checking", "fetching", "waits", "has not", "has it")
"""The order in which states are shown: first those that need a person's attention."""
NEW_SECONDS = 2.0
"""A peer that has just joined may be about to say that it accepts orders."""
ROOM_NAMED_COUNT = 8
"""Peers whose free space is shown before a rollout: those that have least."""
LINK_BYTES_PER_SECOND = {"1 Gbit/s": 1e9 / 8, "10 Gbit/s": 1e10 / 8}


class Expected(Struct, frozen=True):
    """The peers that should have it: any ``count`` peers; those called ``hosts``; if neither is given, all that the
    order is for. ``timeout`` in seconds, 0 for none."""

    count: int | None = None
    hosts: tuple[str, ...] = ()
    timeout: float = 0.0


class Peer(Struct):
    """A peer that is expected, or was seen. ``peer`` is empty if it was never seen. Times are seconds since the watch
    began; None: not yet."""

    peer: str
    name: str
    entry: StandingEntry
    state: RolloutState = "absent"
    detail: str = ""
    had_it: bool = False
    begun_at: float | None = None
    has_at: float | None = None

    @property
    def has_it(self) -> bool:
        return self.state == "has it"

    def cells(self) -> list[str]:
        """As a row under `HEADERS`."""
        cells = [self.name or self.peer, *standing_cells(self.entry)]
        if self.state != state_of(self.entry):
            cells[2:6] = ["", "", "", ""]
        cells[1], cells[6] = self.state, self.detail
        if self.has_at:
            cells[6] = f"verified, {format_seconds(self.has_at)}"
        return cells


class Watch:
    """Watches the order in ``target`` from ``now`` on (monotonic seconds); ``from_start``: it was given at that
    moment."""

    def __init__(self, target: OrderEntry, expected: Expected, now: float, from_start: bool = True) -> None:
        self.target = target
        self.expected = expected
        self.began = now
        self.settling = False
        self._from_start = from_start
        self._seen: dict[str, Peer] = {}
        self._missing = {name: Peer("", name, StandingEntry("", name), "absent", _ABSENT) for name in expected.hosts}

    @property
    def order(self) -> Order:
        return self.target.order

    def update(self, entries: Sequence[StandingEntry], settling: bool, now: float) -> list[Peer]:
        """Record the state of all peers; returns those whose state has changed. While the tracker is ``settling``, a
        missing peer may only have to join again."""
        changed = []
        self.settling = settling
        there = {entry.peer: entry for entry in entries if self._concerns(entry)}
        for entry in there.values():
            peer = self._seen.get(entry.peer)
            if peer is None:
                peer = self._seen[entry.peer] = Peer(entry.peer, entry.name, entry, had_it=entry.holding == "whole")
            before, peer.entry, peer.name = peer.state, entry, entry.name
            peer.state, peer.detail = self._standing(entry)
            if peer.state not in ("has not", "refuses") and peer.begun_at is None:
                peer.begun_at = now - self.began
            if peer.has_it and peer.has_at is None:
                peer.has_at = now - self.began
            if peer.state != before:
                changed.append(peer)
        for peer in self._seen.values():
            if peer.peer not in there and not settling and peer.state != "gone" and not peer.has_it:
                done = percent(peer.entry)
                peer.detail = WENT.get(peer.state, f"it was {peer.state}") + (f", {done} %" if done is not None else "")
                peer.state = "gone"
                changed.append(peer)
        return changed

    def peers(self) -> list[Peer]:
        """All peers that are expected or were seen, in the order in which a person wants to see them."""
        names = {peer.name for peer in self._seen.values()}
        missing = [peer for name, peer in self._missing.items() if name not in names]
        return sorted([*self._seen.values(), *missing], key=lambda peer: (_ORDER.index(peer.state), peer.name))

    @property
    def wanted_count(self) -> int:
        """The number of peers that should have it."""
        return self.expected.count or len(self.peers())

    @property
    def have_count(self) -> int:
        return sum(peer.has_it for peer in self.peers())

    def late(self, now: float) -> bool:
        return bool(self.expected.timeout) and now - self.began >= self.expected.timeout

    def outcome(self, now: float) -> bool | None:
        """True: all expected peers have it; False: some do not, and there is nothing more to wait for; None: it is
        still running."""
        if self.expected.count is not None:
            return True if self.have_count >= self.expected.count else False if self.late(now) else None
        peers = self.peers()
        unsure = self.settling and not self.expected.hosts
        if peers and all(peer.has_it for peer in peers) and not unsure:
            return True
        if self.late(now):
            return False
        unsure = unsure or now - self.began < NEW_SECONDS
        awaited = [p for p in peers if p.state not in ENDED or (self.expected.timeout and p.state in AWAY)]
        return None if awaited or unsure or not peers else False

    # --- words -------------------------------------------------------------------------------------------

    def progress(self) -> str:
        """``12 of 20 have it; 7 fetching, 1 failed; about 13 s left at present rates``."""
        counts: dict[str, int] = {}
        for peer in self.peers():
            counts[peer.state] = counts.get(peer.state, 0) + 1
        parts = [f"{self.have_count} of {self.wanted_count} have it"]
        parts += ["the tracker has just started: others may be about to join"] if self.settling else []
        parts += filter(None, [", ".join(f"{count} {state}" for state, count in counts.items() if state != "has it")])
        running = [peer.entry.download for peer in self.peers() if peer.state == "fetching"]
        left = [seconds_left(download) for download in running if download is not None]
        known = [seconds for seconds in left if seconds is not None]
        if known and len(known) == len(running):
            parts.append(f"about {format_seconds(max(known))} left at present rates")
        return "; ".join(parts)

    def verdict(self, complete: bool, now: float) -> list[str]:
        """The last lines: how many have it, and which have not and why."""
        seconds = format_seconds(now - self.began)
        counts = f"{self.have_count} of {self.wanted_count} have it"
        if complete:
            return [f"{counts}, verified" + (f", {seconds}" if self._from_start else "")]
        lines = []
        for peer in self.peers():
            if not peer.has_it:
                done = percent(peer.entry) if peer.state == state_of(peer.entry) else None
                words = peer.state if done is None or peer.state == "failed" else f"{peer.state}, {done} %"
                lines.append(f"{printable(peer.name or peer.peer)}: {words}" + _after(": ", printable(peer.detail)))
        return [f"{counts} after {seconds}", *lines]

    def receipt(self, verdict: str, options: dict[str, Any], began_at: float, now: float) -> dict[str, Any]:
        """The contents of the receipt file. ``began_at`` is wall-clock time (`time.time`)."""
        order, seconds = self.order, now - self.began
        return {
            "format": "zswarm-rollout",
            "version": 1,
            "verdict": verdict,
            "have": self.have_count,
            "expected": self.wanted_count,
            "name": order.name,
            "digest": order.digest,
            "manifest": order.manifest,
            "length": order.length,
            "order": order.order,
            "attempt": order.attempt,
            "from": {"peer": self.target.peer, "name": self.target.name},
            "began_at": round(began_at, 3),
            "ended_at": round(began_at + seconds, 3),
            "seconds": round(seconds, 3),
            "options": options,
            "peers": [_peer_fields(peer) for peer in self.peers()],
        }

    # --- steps -------------------------------------------------------------------------------------------

    def _concerns(self, entry: StandingEntry) -> bool:
        if self.expected.hosts:
            return entry.name in self.expected.hosts
        return entry.peer != self.target.peer and is_for(self.order.peers, entry.name)

    def _standing(self, entry: StandingEntry) -> tuple[RolloutState, str]:
        """State and detail. Who has the content, but is silent about an order that was just given, may not have it
        where it was ordered to."""
        state, detail = order_state(self.order, entry)
        silent = entry.free is not None and not carries_out(self.order, entry)
        return ("waits", _ELSEWHERE) if state == "has it" and silent and self._from_start else (state, detail)


_ABSENT = "no peer of this name is in the network"
_ELSEWHERE = "it has the content, but has not reported on this order"


def expectation(watch: Watch, upload_rate: float) -> list[str]:
    """What to expect before it begins: what is known, and what is not. ``upload_rate`` limits the only source; 0: no
    limit."""
    order, peers = watch.order, watch.peers()
    need = order.length
    accept = [peer for peer in peers if peer.entry.free is not None and not peer.has_it]
    lines = [f"{printable(order.name)}, {format_bytes(need)}, to {counted(len(peers), 'peer')}"]
    have = watch.have_count
    lines[0] += f"; {have} of them {'has' if have == 1 else 'have'} it already" if have else ""
    for state, words in (("refuses", "accept no orders"), ("absent", "not in the network")):
        if names := [peer.name or peer.peer for peer in peers if peer.state == state]:
            lines.append(f"{words}: {printable(', '.join(names))}")
    room = sorted((peer.entry.free or 0, peer.name or peer.peer) for peer in accept)
    if little := [f"{name} ({_free(free)} free)" for free, name in room if free + FREE_STEP_BYTES <= need]:
        who = printable(", ".join(little))
        lines.append(f"not enough space, as of the last heartbeat; each checks again before it starts: {who}")
    if enough := [(free, name) for free, name in room if free + FREE_STEP_BYTES > need]:
        named = ", ".join(f"{name} {_free(free)}" for free, name in enough[:ROOM_NAMED_COUNT])
        more = len(enough) - ROOM_NAMED_COUNT
        lines.append(f"free space: {printable(named)}" + (f", and {more} that have more" if more > 0 else ""))
    if upload_rate and accept:
        what = f"only this peer has it, and it sends at most {format_rate(upload_rate)}"
        lines.append(f"it takes at least {format_seconds(need / upload_rate)}: {what}")
    return [*lines, *([_estimate(need, accept, upload_rate)] if accept else [])]


def _free(told: int) -> str:
    """What is known of the free space of a peer that has ``told`` as much."""
    return format_bytes(told) if told >= FREE_STEP_BYTES else f"under {format_bytes(FREE_STEP_BYTES)}"


def _estimate(need: int, fetching: Sequence[Peer], upload_rate: float) -> str:
    """How long it will take those ``fetching`` if each is as fast as last time, as far as that has been measured."""
    measured = [peer for peer in fetching if peer.entry.rate]
    if not measured:
        unknown = "no estimate: none of them has measured a rate yet"
        floors = [f"{format_seconds(need / rate)} over links of {name}" for name, rate in LINK_BYTES_PER_SECOND.items()]
        worth_saying = need >= LINK_BYTES_PER_SECOND["1 Gbit/s"]
        return f"{unknown}; it takes at least {', '.join(floors)}" if worth_saying else unknown
    slowest = min(measured, key=lambda peer: peer.entry.rate)
    rate, others = slowest.entry.rate, len(fetching) - len(measured)
    seconds = format_seconds(need / min(rate, upload_rate or rate))
    text = f"estimate: {seconds}; {printable(slowest.name)}, the slowest, fetched at {format_rate(rate)} last time"
    return f"{text}; of {counted(others, 'peer')} no rate is known yet" if others else text


def _peer_fields(peer: Peer) -> dict[str, Any]:
    return {
        "peer": peer.peer,
        "name": peer.name,
        "state": peer.state,
        "verified": peer.has_it,
        "had_it": peer.had_it,
        "percent": percent(peer.entry),
        "began_seconds": None if peer.begun_at is None else round(peer.begun_at, 3),
        "seconds": None if peer.has_at is None else round(peer.has_at, 3),
        "reason": "" if peer.has_it else peer.detail,
        "free": peer.entry.free,
    }


def _after(separator: str, text: str) -> str:
    return f"{separator}{text}" if text else ""
