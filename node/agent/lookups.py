"""The peer's conversation with a lookup of its tracker (PROTOCOL.md, section 5). Pure.

Picks one of the lookups that `Welcome` names and stays with it, or switches to the next one when it does not answer.
Lists are requested page by page until they are complete. Seeder lists of the wanted swarms are requested at once, on
demand, and every `REFRESH_SECONDS`.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

import msgspec
from msgspec import Struct, field

from node.agent.effects import Note
from node.agent.outage import Outage
from protocol.limits import REFRESH_SECONDS, REQUEST_TIMEOUT_SECONDS
from protocol.messages import (
    Behind,
    Error,
    GetOrderList,
    GetPeerList,
    GetSeederList,
    GetStandingList,
    GetTorrentList,
    LookupReply,
    LookupRequest,
    Moment,
    OrderEntry,
    OrderList,
    PeerEntry,
    PeerList,
    SeederEntry,
    SeederList,
    StandingEntry,
    StandingList,
    TorrentEntry,
    TorrentList,
)

BEHIND_SECONDS = 0.2
BEHIND_COUNT_MAX = 8
"""A lookup waits a second before it says it is behind; one that is so this often in a row is cut off, not slow."""
PAGES_COUNT_MAX = 2_000
"""Pages of one answer: twice as many as it takes to examine every name that a tracker can have."""
ENTRIES_COUNT_MAX = 100_000
"""Entries of one answer: more would not fit into a message to the command line, nor be readable."""
TOO_MANY = f"more than {ENTRIES_COUNT_MAX:,} entries match; ask for fewer with a longer name or pattern"
SWITCH_SECONDS, SWITCH_SECONDS_MAX = 0.2, 2.0
"""If none of several lookups can be reached, the next one is tried after this time, with random jitter."""
REFRESH_SECONDS_MIN = 0.25
"""Minimum time between two requests for a swarm's seeders."""


class Dial(Struct, frozen=True):
    """Close the connection to a lookup, if there is one, and connect to ``endpoint``."""

    endpoint: str


class Ask(Struct, frozen=True):
    message: LookupRequest


class TorrentsFound(Struct, frozen=True):
    """The whole answer to `GetTorrentList`. While the tracker is ``settling``, what was announced before it started,
    at ``since``, may be missing."""

    tag: Hashable
    entries: list[TorrentEntry]
    settling: bool
    since: Moment = 0
    without: tuple[int, ...] = ()
    """The trackers that have not answered, by number, here and below."""


class PeersFound(Struct, frozen=True):
    tag: Hashable
    entries: list[PeerEntry]
    settling: bool
    without: tuple[int, ...] = ()
    seen_by: dict[str, list[int]] = field(default_factory=dict)
    """By peer, the trackers that list it, by number: of those that another one should list and does not."""


class StandingsFound(Struct, frozen=True):
    tag: Hashable
    entries: list[StandingEntry]
    settling: bool
    without: tuple[int, ...] = ()


class OrdersFound(Struct, frozen=True):
    tag: Hashable
    entries: list[OrderEntry]
    settling: bool
    without: tuple[int, ...] = ()


class SeedersFound(Struct, frozen=True):
    """``total`` sources are listed; ``seeders`` has all of them or a sample. ``cell`` is this peer's."""

    digest: str
    seeders: list[SeederEntry]
    settling: bool
    total: int
    cell: int | None = None
    cells: int = 0


class AskFailed(Struct, frozen=True):
    """Request ``tag`` has no answer; ``code`` is a `protocol.errors` word."""

    tag: Hashable
    code: str
    detail: str


Found = TorrentsFound | PeersFound | StandingsFound | OrdersFound
Effect = Dial | Ask | Found | SeedersFound | AskFailed | Note


class _Question:
    def __init__(self, tag: Hashable, message: LookupRequest, due: float, give_up_at: float | None) -> None:
        self.tag = tag
        self.message = message
        self.due = due
        self.give_up_at = give_up_at
        self.behind = False
        self.behind_count = 0
        self.found: list[Any] = []
        self.pages = 0


class _Wanted:
    """A swarm whose seeders are wanted. ``question`` is the id of the open request, 0 for none."""

    def __init__(self, now: float, own_too: bool) -> None:
        self.own_too = own_too
        self.ask_at = now
        self.asked_at = now - REFRESH_SECONDS_MIN
        self.question = 0


class Lookups:
    """Requests to one lookup at a time. ``peer`` is left out of the seeder lists it asks for."""

    def __init__(self, peer: str, rng: random.Random) -> None:
        self.endpoint = ""
        self._peer = peer
        self._rng = rng
        self._endpoints: list[str] = []
        self._connected = False
        self._outage = Outage()
        self._switch_at: float | None = None
        self._last_id = 0
        self._questions: dict[int, _Question] = {}
        self._wanted: dict[str, _Wanted] = {}

    # --- questions ---------------------------------------------------------------------------------------

    def ask(self, tag: Hashable, request: LookupRequest, now: float, patience: float | None = None) -> list[Effect]:
        """Ask ``request``, with an id of its own. No `AskFailed` for lack of an answer without ``patience``."""
        message = msgspec.structs.replace(request, id=self._new_id())
        give_up_at = None if patience is None else now + patience
        question = self._questions[message.id] = _Question(tag, message, now + REQUEST_TIMEOUT_SECONDS, give_up_at)
        return self._send(question)

    def drop(self, tag: Hashable) -> None:
        """No answer to what was asked with ``tag`` is needed any more."""
        for number in [number for number, question in self._questions.items() if question.tag == tag]:
            self._forget(number)

    def want(self, digest: str, now: float, own_too: bool = False) -> list[Effect]:
        """Keep asking who has ``digest``, this peer included if ``own_too``; the first time at once."""
        if digest not in self._wanted:
            self._wanted[digest] = _Wanted(now, own_too)
        return self.tick(now)

    def unwant(self, digest: str) -> None:
        wanted = self._wanted.pop(digest, None)
        if wanted is not None:
            self._forget(wanted.question)

    def refresh(self, digest: str, now: float) -> list[Effect]:
        """Ask who has ``digest`` now rather than at the next refresh."""
        wanted = self._wanted.get(digest)
        if wanted is not None:
            wanted.ask_at = max(now, wanted.asked_at + REFRESH_SECONDS_MIN)
        return self.tick(now)

    def refresh_all(self, now: float, within: float) -> list[Effect]:
        """Ask about everything wanted, spread over ``within`` seconds: many peers may do the same at once."""
        for wanted in self._wanted.values():
            moment = max(now, wanted.asked_at + REFRESH_SECONDS_MIN) + self._rng.uniform(0, within)
            wanted.ask_at = min(wanted.ask_at, moment) if not wanted.question else moment
        return self.tick(now)

    # --- what happens ------------------------------------------------------------------------------------

    def set_endpoints(self, endpoints: list[str], now: float) -> list[Effect]:
        """Set the list of lookups. The current one is kept if it is among them."""
        self._endpoints = list(endpoints)
        if self.endpoint in endpoints or not endpoints:
            return []
        return self._dial(self._rng.choice(self._endpoints), now)

    def connected(self, now: float) -> list[Effect]:
        self._connected = True
        self._switch_at = None
        # One that only takes connections has to answer first, where it was asked something.
        effects = [] if self._questions else self._answered(now)
        for question in self._questions.values():
            question.due = now + REQUEST_TIMEOUT_SECONDS
            effects.append(Ask(question.message))
        return effects

    def disconnected(self, why: str, now: float) -> list[Effect]:
        """The connection to the lookup was lost, or an attempt to make one failed. Switch to another lookup, if there
        is one: at first without delay."""
        self._connected = False
        first = self._outage.since is None
        effects = self._silent(f"lookup {self.endpoint}: {why}", now, now)
        if len(self._endpoints) > 1 and first:
            return effects + self._dial(self._following(), now)
        if len(self._endpoints) > 1 and self._switch_at is None:
            self._switch_at = now + self._rng.uniform(SWITCH_SECONDS, SWITCH_SECONDS_MAX)
        return effects

    def problem(self, now: float) -> str:
        """Why requests have no answer, in words; empty when they have."""
        since, why = self._outage.since, self._outage.why
        return "" if since is None else f"{why} (no answer for {now - since:.0f} s)"

    @property
    def is_silent(self) -> bool:
        return self._outage.since is not None

    def receive(self, reply: LookupReply, now: float) -> list[Effect]:
        """A message from the lookup; one that nobody waits for is ignored."""
        question = self._questions.get(reply.id)
        if question is None:
            return []
        effects = self._answered(now)
        if isinstance(reply, Behind):
            question.behind_count += 1
            question.behind = question.behind_count % BEHIND_COUNT_MAX != 0
            question.due = now + BEHIND_SECONDS * self._rng.uniform(0.5, 1.5)
            return effects
        if isinstance(reply, Error):
            del self._questions[reply.id]
            self._release(question)
            if isinstance(question.message, GetSeederList):
                return [*effects, Note("warning", f"lookup {self.endpoint} refused: {reply.detail} ({reply.code})")]
            return [*effects, AskFailed(question.tag, reply.code, reply.detail)]
        return effects + self._take(question, reply, now)

    def tick(self, now: float) -> list[Effect]:
        """Call at `next_deadline`; calling earlier does nothing."""
        effects: list[Effect] = []
        late = False
        for number, question in list(self._questions.items()):
            if question.give_up_at is not None and now >= question.give_up_at:
                self._forget(number)
                where = f"lookup {self.endpoint}" if self.endpoint else "tracker"
                effects.append(AskFailed(question.tag, "network", f"the {where} does not answer"))
            elif now >= question.due:
                question.due = now + REQUEST_TIMEOUT_SECONDS
                if question.behind:
                    question.behind = False
                    effects += self._send(question)
                else:
                    late = True
        if late and self._endpoints:
            effects += self._silent(f"lookup {self.endpoint} does not answer", now - REQUEST_TIMEOUT_SECONDS, now)
        if self._endpoints and (late or (self._switch_at is not None and now >= self._switch_at)):
            effects += self._dial(self._following(), now)
        for digest, wanted in self._wanted.items():
            if not wanted.question and now >= wanted.ask_at:
                effects += self._ask_seeders(digest, wanted, now)
        return effects

    def next_deadline(self) -> float | None:
        moments = [question.due for question in self._questions.values()]
        moments += [q.give_up_at for q in self._questions.values() if q.give_up_at is not None]
        moments += [wanted.ask_at for wanted in self._wanted.values() if not wanted.question]
        if self._switch_at is not None:
            moments.append(self._switch_at)
        return min(moments, default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _send(self, question: _Question) -> list[Effect]:
        return [Ask(question.message)] if self._connected else []

    def _forget(self, number: int) -> None:
        """Nobody waits for this answer any more. The last question to a silent lookup stays all the same: its answer is
        what says that the lookup is back."""
        if self.is_silent and [*self._questions] == [number]:
            self._questions[number].give_up_at = None
        else:
            self._questions.pop(number, None)

    def _take(self, question: _Question, reply: Any, now: float) -> list[Effect]:
        message = question.message
        del self._questions[message.id]
        if isinstance(message, GetSeederList) and isinstance(reply, SeederList):
            self._release(question)
            if message.digest not in self._wanted:
                return []
            return [SeedersFound(message.digest, reply.seeders, reply.settling, reply.total, reply.cell, reply.cells)]
        found = _PAGED.get((type(message), type(reply)))
        if found is None:
            return [AskFailed(question.tag, "bad_message", f"lookup answered with {type(reply).__name__}")]
        question.found += reply.peers if isinstance(reply, PeerList | StandingList) else reply.entries
        question.pages += 1
        if len(question.found) > ENTRIES_COUNT_MAX:
            return [AskFailed(question.tag, "usage", TOO_MANY)]
        if reply.next and question.pages >= PAGES_COUNT_MAX:
            return [AskFailed(question.tag, "bad_message", f"lookup {self.endpoint} sends pages endlessly")]
        if reply.next:
            question.message = msgspec.structs.replace(message, id=self._new_id(), after=reply.next)
            question.due = now + REQUEST_TIMEOUT_SECONDS
            self._questions[question.message.id] = question
            return self._send(question)
        if found is TorrentsFound:
            return [TorrentsFound(question.tag, question.found, reply.settling, reply.settling * reply.epoch * 1_000)]
        return [found(question.tag, question.found, reply.settling)]

    def _ask_seeders(self, digest: str, wanted: _Wanted, now: float) -> list[Effect]:
        wanted.asked_at = now
        wanted.ask_at = now + REFRESH_SECONDS * self._rng.uniform(0.8, 1.2)
        effects = self.ask(None, GetSeederList(0, digest, "" if wanted.own_too else self._peer), now)
        wanted.question = self._last_id
        return effects

    def _release(self, question: _Question) -> None:
        message = question.message
        wanted = self._wanted.get(message.digest) if isinstance(message, GetSeederList) else None
        if wanted is not None and wanted.question == message.id:
            wanted.question = 0

    def _following(self) -> str:
        if self.endpoint not in self._endpoints:
            return self._endpoints[0]
        return self._endpoints[(self._endpoints.index(self.endpoint) + 1) % len(self._endpoints)]

    def _silent(self, why: str, since: float, now: float) -> list[Effect]:
        """The present lookup does not answer, since then."""
        following = self._following()
        told = f"{why}; {'still trying' if following == self.endpoint else f'asking {following}'}"
        return [Note("warning", told)] if self._outage.goes_on(told, since, now) else []

    def _dial(self, endpoint: str, now: float) -> list[Effect]:
        self.endpoint = endpoint
        self._connected = False
        self._switch_at = None
        for question in self._questions.values():
            question.due = max(question.due, now + REQUEST_TIMEOUT_SECONDS)
        return [Dial(endpoint)]

    def _answered(self, now: float) -> list[Effect]:
        seconds = self._outage.end(now)
        return [] if seconds is None else [Note("info", f"lookup {self.endpoint} answers, after {seconds:.0f} s")]

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


_PAGED: dict[tuple[type, type], type[Found]] = {
    (GetTorrentList, TorrentList): TorrentsFound,
    (GetPeerList, PeerList): PeersFound,
    (GetStandingList, StandingList): StandingsFound,
    (GetOrderList, OrderList): OrdersFound,
}
"""By request and reply, the effect that has all pages."""
