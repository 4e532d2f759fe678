"""Questions to all trackers, and what their answers say together. Pure.

Every tracker is asked. The answer is complete when all have answered that are not known to be silent, or some time
after the first of them did: nobody has to find out which one to ask. What any of them lists is listed, so one that has
lost its state, or lies, cannot hide what another knows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from node.agent.lookups import (
    ENTRIES_COUNT_MAX,
    TOO_MANY,
    AskFailed,
    Found,
    OrdersFound,
    PeersFound,
    StandingsFound,
    TorrentsFound,
)
from node.agent.tracker import FromTracker, Tracker
from protocol.messages import (
    GetOrderList,
    GetPeerList,
    GetStandingList,
    GetTorrentList,
    LookupRequest,
    OrderEntry,
    PeerEntry,
    StandingEntry,
    TorrentEntry,
)

LATER_SECONDS = 0.5
"""How long the others are waited for after the first answer, or as long again as that one took if that is more."""


class _Question:
    def __init__(self, tag: Hashable, now: float) -> None:
        self.tag, self.asked_at = tag, now
        self.answers: dict[int, Found] = {}
        """By tracker; of those that..."""
        self.failed: dict[int, AskFailed] = {}
        """...did not fail."""
        self.until: float | None = None


class Questions:
    """To ``trackers``, in the order in which they are configured."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self._open: dict[int, _Question] = {}
        self._last = 0

    def torrents(
        self, tag: Hashable, pattern: str, now: float, *, exact: bool = False, patience: float | None = None
    ) -> list[FromTracker]:
        """Ask for swarms. No `AskFailed` for lack of an answer without ``patience``, here and below."""
        return self._put(tag, lambda after: GetTorrentList(0, pattern, exact, "", *after), now, patience)

    def peers(self, tag: Hashable, now: float, patience: float | None = None) -> list[FromTracker]:
        """Ask for all members."""
        return self._put(tag, lambda after: GetPeerList(0, "", *after), now, patience)

    def standings(self, tag: Hashable, digest: str, now: float, patience: float | None = None) -> list[FromTracker]:
        """Ask for the state of ``digest`` at every member."""
        return self._put(tag, lambda _: GetStandingList(0, digest), now, patience)

    def orders(self, tag: Hashable, now: float, patience: float | None = None) -> list[FromTracker]:
        """Ask for all orders."""
        return self._put(tag, lambda after: GetOrderList(0, "", *after), now, patience)

    def answered(self, tracker: Tracker, answer: Found | AskFailed, now: float) -> list[Found | AskFailed]:
        """What ``tracker`` says. The whole answer, under the tag of the question, if it is complete."""
        assert isinstance(answer.tag, int)
        question = self._open.get(answer.tag)
        if question is None:
            return []
        if isinstance(answer, AskFailed):
            question.failed[tracker.number] = answer
        else:
            question.answers[tracker.number] = tracker.peers(answer) if isinstance(answer, PeersFound) else answer
            if question.until is None:
                question.until = now + max(LATER_SECONDS, now - question.asked_at)
        return self._complete(answer.tag, question, now)

    def tick(self, now: float) -> list[Found | AskFailed]:
        return [
            effect for number, question in list(self._open.items()) for effect in self._complete(number, question, now)
        ]

    def next_deadline(self) -> float | None:
        return min((one.until for one in self._open.values() if one.until is not None), default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _put(
        self, tag: Hashable, request: Callable[[tuple[int, int]], LookupRequest], now: float, patience: float | None
    ) -> list[FromTracker]:
        """Ask each what ``request`` is of a state: that after which it has to answer."""
        self._last += 1
        self._open[self._last] = _Question(tag, now)
        asked: list[FromTracker] = []
        for tracker in self._trackers:
            asked += tracker.of(tracker.lookups.ask(self._last, request(tracker.after), now, patience))
        return asked

    def _complete(self, number: int, question: _Question, now: float) -> list[Found | AskFailed]:
        """The answer, if it is complete."""
        heard = question.answers.keys() | question.failed.keys()
        waits = any(tracker.number not in heard and not tracker.is_silent for tracker in self._trackers)
        if not heard or (waits and (question.until is None or now < question.until)):
            return []
        del self._open[number]
        for tracker in self._trackers:
            tracker.lookups.drop(number)
        if not question.answers:
            return [replace(next(iter(question.failed.values())), tag=question.tag)]
        merged = merge([question.answers[number] for number in sorted(question.answers)])
        if isinstance(merged, PeersFound):
            merged = replace(merged, seen_by=_seen_by(question.answers))
        if len(merged.entries) > ENTRIES_COUNT_MAX:
            return [AskFailed(question.tag, "usage", TOO_MANY)]
        without = tuple(one.number for one in self._trackers if one.number not in question.answers)
        return [replace(merged, tag=question.tag, without=without)]


def merge(answers: Sequence[Found]) -> Found:
    """The union of ``answers`` of one kind, of trackers in the order of the configuration; at least one."""
    first, *others = answers
    if not others:
        return first
    key, better = _MERGED[type(first)]
    entries: dict[Any, Any] = {}
    for answer in answers:
        for entry in answer.entries:
            known = entries.get(key(entry))
            entries[key(entry)] = entry if known is None else better(known, entry)
    union = [entries[one] for one in sorted(entries)]
    merged = replace(first, entries=union, settling=all(answer.settling for answer in answers))
    if isinstance(merged, TorrentsFound):  # what is missing is missing everywhere
        merged = replace(merged, since=min(one.since for one in answers if isinstance(one, TorrentsFound)))
    return merged


def _seen_by(answers: Mapping[int, Found]) -> dict[str, list[int]]:
    """As `PeersFound` has it. One that has just started is not expected to know everybody."""
    listed: dict[str, list[int]] = {}
    for number, answer in sorted(answers.items()):
        for entry in answer.entries if isinstance(answer, PeersFound) else ():
            listed.setdefault(entry.peer, []).append(number)
    sure = {number for number, answer in answers.items() if not answer.settling}
    return {peer: numbers for peer, numbers in listed.items() if not sure.issubset(numbers)}


def _torrent(one: TorrentEntry, other: TorrentEntry) -> TorrentEntry:
    counts = {field: max(getattr(one, field), getattr(other, field)) for field in ("have", "partial", "requesting")}
    return replace(one, announced=max(one.announced, other.announced), **counts)


def _standing(one: StandingEntry, other: StandingEntry) -> StandingEntry:
    """What is further on is later: a peer tells all trackers the same, one after another."""
    return max(one, other, key=_progress)


def _progress(one: StandingEntry) -> tuple[int, int, int, bool]:
    holding = ("requesting", "partial", "whole").index(one.holding) if one.holding is not None else -1
    if one.download is None:
        return holding, -1, -1, False
    return holding, one.download.attempt, one.download.done, one.download.state in ("failed", "done")


def _order(one: OrderEntry, other: OrderEntry) -> OrderEntry:
    """Cancelled once nobody lists it as anything else."""
    return max(one, other, key=lambda entry: (not entry.order.cancelled, entry.order.attempt))


def _first(one: PeerEntry, _other: PeerEntry) -> PeerEntry:
    return one


_MERGED: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    TorrentsFound: (lambda entry: (entry.name, entry.digest, entry.manifest, entry.signature), _torrent),
    PeersFound: (lambda entry: entry.peer, _first),
    StandingsFound: (lambda entry: entry.peer, _standing),
    OrdersFound: (lambda entry: (entry.peer, entry.order.order), _order),
}
"""By kind of answer: what its entries are known by, and which of two counts."""
