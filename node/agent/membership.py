"""The peer's conversation with the registrar (PROTOCOL.md, section 4). Pure.

Join, whole list page by page, Welcome, heartbeats, updates and transfer reports one at a time, leave. Every request is
repeated with its id until it is answered; a reply whose id is not open is stale and changes nothing. The list itself is
in `node.agent.announced`. The shell sends, and reports when its connection is made or lost.

Every request names its ``run``, which each agent draws anew, so that the registrar can tell requests of a restarted
agent from late ones of the run before, and two peers with one identity from each other. A retry keeps it, and so
replaces no other peer; a person's `join` draws another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from node.agent.announced import AnnouncedList, Names, ToldList
from node.agent.effects import Note
from node.agent.heartbeats import Figures, Heartbeats
from node.agent.open_requests import REPEAT_SECONDS_MAX, OpenRequests, Slot
from node.agent.outage import Outage
from node.api_messages import Network
from protocol.endpoints import host_of, is_loopback, with_host
from protocol.limits import LEASE_SECONDS
from protocol.messages import (
    Error,
    FileList,
    Goodbye,
    Heartbeat,
    Join,
    Leave,
    ListRequest,
    Moment,
    Ok,
    PageOk,
    RegistrarReply,
    RegistrarRequest,
    Rejoin,
    Transfer,
    TransferState,
    Update,
    Welcome,
)

REFUSED_RETRY_SECONDS = 60.0
"""Time between attempts after a refusal that only a person, or the end of another peer, can resolve."""
ERROR_RETRY_SECONDS = 5.0
JOIN_LOST_SECONDS_FIRST = 0.2
"""A join that the registrar forgot is repeated after at least half of this, and twice as long each further time."""
LEAVE_SECONDS = 2.0
"""How long a leaving peer waits for Goodbye, all repetitions included."""
LEAVE_REPEAT_SECONDS = 0.7
LASTING_ERRORS = ("wrong_token", "bad_version", "replaced")
_RUN_BITS = 52


class State(Enum):
    OUT = "not joined yet: the port is not known"
    JOINING = "Join is under way"
    LISTING = "the whole list is under way"
    MEMBER = "welcome"
    REFUSED = "refused for a reason that lasts"
    LEAVING = "Leave is under way"
    LEFT = "out by request"


class Send(Struct, frozen=True):
    message: RegistrarRequest


class Welcomed(Struct, frozen=True):
    """A member now. Endpoints are filled in."""

    welcome: Welcome


class Announced(Struct, frozen=True):
    """The registrar has taken the current entries (or removals) of ``digests``."""

    digests: tuple[str, ...]


class Dated(Struct, frozen=True):
    """The registrar's timestamps of ``names``, each by digest, name and manifest."""

    names: Names


class Departed(Struct, frozen=True):
    """Out of the network; ``acknowledged`` False when no Goodbye came in time."""

    acknowledged: bool


Effect = Send | Welcomed | Announced | Dated | Departed | Note


class Membership:
    """State machine of one peer's membership at one ``tracker``. ``announced`` and ``figures`` are what it tells every
    tracker. ``away``: out by request from the start, until `join`."""

    def __init__(
        self,
        peer: str,
        token: bytes,
        name: str,
        tracker: str,
        rng: random.Random,
        announced: AnnouncedList,
        figures: Figures,
        away: bool = False,
    ) -> None:
        self.state = State.LEFT if away else State.OUT
        self.told = ToldList(announced, peer, token)
        self.epoch = 0
        self.seq = 0
        self.endpoint = ""
        self.tracker_host = host_of(tracker)
        """The address at which the tracker was reached last, as the host of an endpoint."""
        self.reach_problem = ""
        """Why other machines cannot fetch from this peer although it is a member; empty when no such problem is
        known."""
        self.outage = Outage()
        self.heard_at: float | None = None
        self.beats = Heartbeats(tracker, figures, rng)
        self._refusal, self._denied = "", False
        self._announced = announced
        self._peer, self._token, self._name, self._tracker, self._rng = peer, token, name, tracker, rng
        self._own_endpoint = ""
        self._run = self._draw_run()
        self._wanted_in = not away
        self._been_member = False
        self._lease_seconds: float = LEASE_SECONDS
        self._open = OpenRequests(rng)
        self._join_at: float | None = None
        self._join_lost_seconds = JOIN_LOST_SECONDS_FIRST
        self._leave_by: float | None = None
        self._list_id = 0
        self._page = 0
        self._next_offset = 0

    # --- what the peer wants -----------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """How this peer stands with the tracker, in a word."""
        if self.state in (State.LEAVING, State.LEFT):
            return "left"
        if self.state is State.REFUSED:
            return "refused"
        if self.outage.since is not None:
            return "unreachable"
        return "joined" if self._been_member and self.state in (State.MEMBER, State.LISTING) else "joining"

    @property
    def problem(self) -> str:
        """What keeps this peer from its tracker, in words; empty when nothing does."""
        return self._refusal or self.outage.why

    @property
    def joined(self) -> bool:
        return self.network == "joined"

    @property
    def is_refused(self) -> bool:
        """Whether the tracker wants no such peer, which it says again until a person has done something."""
        return self.state is State.REFUSED or self._denied

    def owes(self, digest: str, now: float) -> bool:
        """Whether the tracker may still list an old entry of ``digest``: it has not acknowledged the current one, or
        that there is none, nor been silent for so long that it has forgotten this peer."""
        since = self.outage.since
        if self.state is State.LEFT or (since is not None and now - since > self._lease_seconds):
            return False
        update = self._open.message(Slot.REPORT)
        sent = [*update.removed, *(entry.digest for entry in update.added)] if isinstance(update, Update) else []
        return self.state is not State.MEMBER or self.told.owes(digest) or digest in sent

    def set_endpoint(self, endpoint: str, now: float) -> list[Effect]:
        """The piece server serves at ``endpoint``: join with it, again if it was a different one before."""
        if endpoint == self._own_endpoint:
            return []
        self._own_endpoint = endpoint
        return self._begin_join(now) if self._wanted_in else []

    def join(self, now: float) -> list[Effect]:
        """Join again after `leave`, or without waiting after a refusal; does nothing when joined or joining."""
        if self._wanted_in and self.state is not State.REFUSED:
            return []
        self._wanted_in = True
        self._run = self._draw_run()
        return self._begin_join(now) if self._own_endpoint else self._become(State.OUT)

    def leave(self, now: float) -> list[Effect]:
        """Out of the network: `Departed` follows within `LEAVE_SECONDS`."""
        self._wanted_in = False
        if self.state is State.LEAVING:
            return []
        if self.state in (State.OUT, State.REFUSED, State.LEFT):
            return [*self._become(State.LEFT), Departed(True)]
        self._become(State.LEAVING)
        self._leave_by, self._open.every = now + LEAVE_SECONDS, LEAVE_REPEAT_SECONDS
        self.told.forget_news()
        return self._ask(Slot.CONVERSATION, Leave(self._open.new_id(), self._peer, self._token, self._run), now)

    def transfer(self, digest: str, state: TransferState, now: float) -> list[Effect]:
        """Report a download's state; queued while not joined, dropped when out by request."""
        if not self._wanted_in:
            return []
        self.told.report(digest, state)
        return self.pump(now)

    def pump(self, now: float) -> list[Effect]:
        """Send the next change of the list, if it is time and none is open."""
        if self.state is not State.MEMBER or Slot.REPORT in self._open or not self.told.owes_news:
            return []
        return self._ask(Slot.REPORT, self.told.next_news(self._open.new_id(), self._run), now)

    # --- what happens ------------------------------------------------------------------------------------

    def connected(self, host: str, now: float) -> list[Effect]:
        """There is a connection to the tracker, reached at ``host``, which may have restarted: repeat open requests,
        and send a heartbeat soon."""
        self.tracker_host, self._denied = host, False
        if self.outage.why:
            self.outage.why = f"tracker {self._tracker} does not answer; still trying"
        if self.state is State.LISTING:
            return self._begin_join(now)
        effects: list[Effect] = [Send(message) for message in self._open.reconnected(now)]
        if self.state is State.MEMBER and Slot.HEARTBEAT not in self._open:
            self.beats.reconnected(now)
        return effects

    def disconnected(self, why: str, now: float, denied: bool = False) -> list[Effect]:
        """The connection was lost, or an attempt to make one failed, for the reason ``why``; ``denied``: the tracker
        does not admit this peer. There will be another."""
        if not self._wanted_in:
            return []
        self._denied = denied
        return self._silent(f"tracker {self._tracker}: {why}", now, now)

    def receive(self, reply: RegistrarReply, now: float) -> list[Effect]:
        """A message from the registrar."""
        self.heard_at = now
        effects = self._answered(now)
        slot = self._open.answered_by(reply.id)
        if slot is None:
            return effects
        handler = _HANDLERS.get((self.state, type(reply)))
        if handler is None:
            effects.append(Note("warning", f"tracker {self._tracker} answered with {type(reply).__name__}; ignored"))
            return effects
        return effects + handler(self, reply, slot, now)

    def tick(self, now: float) -> list[Effect]:
        """Call at `next_deadline`; calling earlier does nothing."""
        effects: list[Effect] = []
        if self._leave_by is not None and now >= self._leave_by:
            return [*self._become(State.LEFT), Departed(False)]
        if self._join_at is not None and now >= self._join_at:
            effects += self._begin_join(now)
        for message, since in self._open.due(now):
            effects += [*self._unanswered(since, now), Send(message)]
        if self.beats.due is not None and now >= self.beats.due and Slot.HEARTBEAT not in self._open:
            beat = self.beats.next(self._open.new_id(), self._peer, self._token, self.told.version, self._run, now)
            effects += self._ask(Slot.HEARTBEAT, beat, now)
        return effects

    def next_deadline(self) -> float | None:
        beat = self.beats.due if Slot.HEARTBEAT not in self._open else None
        moments = (self._open.next_deadline(), self._leave_by, self._join_at, beat)
        return min((moment for moment in moments if moment is not None), default=None)

    # --- replies, by the state they find -----------------------------------------------------------------

    def _on_list_request(self, reply: ListRequest, _slot: Slot, now: float) -> list[Effect]:
        self._become(State.LISTING)
        self.told.snapshot()
        self._list_id = reply.list_id
        self._page = self._next_offset = 0
        return self._send_page(now)

    def _on_page_ok(self, reply: PageOk, slot: Slot, now: float) -> list[Effect]:
        if (reply.list_id, reply.page) != (self._list_id, self._page):
            return []
        dated = self._dated(slot, reply.announced)
        self._page += 1
        return [*dated, *self._send_page(now)]

    def _on_welcome(self, reply: Welcome, slot: Slot, now: float) -> list[Effect]:
        effects = self._dated(slot, reply.announced)
        host = self.tracker_host
        endpoint = with_host(reply.endpoint, host)
        self._become(State.MEMBER)
        if not self._been_member or reply.epoch != self.epoch:
            effects.append(Note("info", f"joined the network of {self._tracker} as {endpoint}"))
            self.reach_problem = _reach_problem(host_of(self._own_endpoint), host_of(endpoint))
            if self.reach_problem:
                effects.append(Note("warning", self.reach_problem))
        self._been_member = True
        self._join_lost_seconds = JOIN_LOST_SECONDS_FIRST
        self._refusal = ""
        self.epoch, self.seq, self.endpoint = reply.epoch, reply.seq, endpoint
        self._lease_seconds = reply.lease_seconds or LEASE_SECONDS
        self.beats.begin(reply.heartbeat_seconds, now)
        lookups = [with_host(lookup, host) for lookup in reply.lookups]
        welcome = msgspec.structs.replace(reply, roster=with_host(reply.roster, host), lookups=lookups)
        effects += [Welcomed(welcome), Announced(self.told.snapshot_digests())]
        return effects + self.pump(now)

    def _on_ok(self, reply: Ok, slot: Slot, now: float) -> list[Effect]:
        effects = self._dated(slot, reply.announced)
        request = self._open.close(slot)
        self.seq = max(self.seq, reply.seq)
        if isinstance(request, Update):
            digests = (*(entry.digest for entry in request.added), *request.removed)
            effects.append(Announced(digests))
        elif isinstance(request, Heartbeat):
            self.beats.acknowledged(request)
        return effects + self.pump(now)

    def _dated(self, slot: Slot, moments: list[Moment]) -> list[Effect]:
        """The open request of ``slot`` announced something, with these timestamps."""
        request = self._open.message(slot)
        if slot is not Slot.HEARTBEAT:
            self.told.sent = frozenset()
        entries = request.entries if isinstance(request, FileList) else []
        entries = request.added if isinstance(request, Update) else entries
        return [Dated(self._announced.dated(self.told, entries, moments))] if moments else []

    def _on_rejoin(self, _reply: Rejoin, _slot: Slot, now: float) -> list[Effect]:
        note = Note("info", f"tracker {self._tracker} does not know this peer (any longer); joining again")
        return [note, *self._begin_join(now)]

    def _on_join_lost(self, _reply: Rejoin, _slot: Slot, now: float) -> list[Effect]:
        """The registrar forgot the running join, for lack of room or time. If all joining peers began again at once,
        they would push each other out for ever."""
        what = f"tracker {self._tracker} forgot this peer's join; trying again"
        again_at = now + self._rng.uniform(0.5, 1.0) * self._join_lost_seconds
        self._join_lost_seconds = min(REPEAT_SECONDS_MAX, 2 * self._join_lost_seconds)
        return self._wait_to_join(State.JOINING, again_at, Note("info", what))

    def _on_goodbye(self, _reply: Goodbye, _slot: Slot, _now: float) -> list[Effect]:
        return [*self._become(State.LEFT), Departed(True)]

    def _on_error(self, reply: Error, slot: Slot, now: float) -> list[Effect]:
        request = self._open.close(slot)
        what = f"tracker {self._tracker} refused {type(request).__name__}: {reply.detail} ({reply.code})"
        if reply.code in LASTING_ERRORS:
            again_at = now + REFUSED_RETRY_SECONDS * self._rng.uniform(0.8, 1.2)
            return self._wait_to_join(State.REFUSED, again_at, Note("error", what))
        if slot is Slot.CONVERSATION:
            again_at = now + ERROR_RETRY_SECONDS * self._rng.uniform(0.8, 1.2)
            return self._wait_to_join(State.JOINING, again_at, Note("warning", what))
        return [Note("warning", what), *self.pump(now)]

    def _on_leave_error(self, reply: Error, _slot: Slot, _now: float) -> list[Effect]:
        return [
            *self._become(State.LEFT),
            Departed(reply.code == "replaced"),
        ]  # then there is nothing of this peer any more

    def _on_nothing(self, _reply: RegistrarReply, _slot: Slot, _now: float) -> list[Effect]:
        return []

    # --- steps -------------------------------------------------------------------------------------------

    def _become(self, state: State) -> list[Effect]:
        """Enter ``state``; open or due requests belonged to the previous one, except for a transfer report, which is
        still owed."""
        report = self._open.close(Slot.REPORT)
        self._open.clear()
        if isinstance(report, Transfer):
            self.told.report_again(report)
        if state not in (State.LISTING, State.MEMBER):
            self.told.await_snapshot()
        self.beats.due = self._join_at = self._leave_by = None
        if state in (State.LEFT, State.OUT):
            self._refusal, self._denied = "", False
            self.outage.end(0.0)
            self._been_member = False
            self.endpoint = self.reach_problem = ""
        self.state = state
        return []

    def _begin_join(self, now: float) -> list[Effect]:
        self._become(State.JOINING)
        join = Join(self._open.new_id(), self._peer, self._token, self._name, self._own_endpoint, self._run)
        return self._ask(Slot.CONVERSATION, join, now)

    def _wait_to_join(self, state: State, again_at: float, why: Note) -> list[Effect]:
        """Enter ``state`` and join at ``again_at``; the same problem is logged once."""
        told = self._refusal == why.text
        self._become(state)
        self._refusal, self._join_at = why.text, again_at
        return [] if told else [why]

    def _send_page(self, now: float) -> list[Effect]:
        place = self._list_id, self._page, self._next_offset
        page, self._next_offset = self.told.page(self._open.new_id(), self._run, *place)
        return self._ask(Slot.CONVERSATION, page, now)

    def _ask(self, slot: Slot, message: RegistrarRequest, now: float) -> list[Effect]:
        self._open.open(slot, message, now)
        return [Send(message)]

    def _unanswered(self, since: float, now: float) -> list[Effect]:
        if self.outage.since is not None or self.state is State.LEAVING or now < since:
            return []
        return self._silent(f"tracker {self._tracker} does not answer; still trying", since, now)

    def _silent(self, problem: str, since: float, now: float) -> list[Effect]:
        """The tracker has been silent since then."""
        return [Note("warning", problem)] if self.outage.goes_on(problem, since, now) else []

    def _answered(self, now: float) -> list[Effect]:
        seconds = self.outage.end(now)
        return [] if seconds is None else [Note("info", f"tracker {self._tracker} is back after {seconds:.0f} s")]

    def _draw_run(self) -> int:
        return 1 + self._rng.getrandbits(_RUN_BITS)  # 0 would mean that it is not stated


def _reach_problem(own: str, told: str) -> str:
    """Why other machines cannot dial a peer that announces host ``own``, of which they are told ``told``."""
    if is_loopback(own):
        return f"other machines cannot fetch from this peer: it serves at {own} only; set listen or advertise"
    if own == "0.0.0.0" and told.startswith("["):
        what = "it listens on IPv4 only, but they are told the IPv6 address from which it reaches the tracker"
        return f"others cannot fetch from this peer: {what}; set listen or advertise"
    return ""


_Handler = Callable[[Membership, Any, Slot, float], list[Effect]]

_HANDLERS: dict[tuple[State, type], _Handler] = {
    (State.JOINING, ListRequest): Membership._on_list_request,
    (State.JOINING, Error): Membership._on_error,
    (State.LISTING, ListRequest): Membership._on_list_request,
    (State.LISTING, PageOk): Membership._on_page_ok,
    (State.LISTING, Welcome): Membership._on_welcome,
    (State.LISTING, Rejoin): Membership._on_join_lost,
    (State.LISTING, Error): Membership._on_error,
    (State.MEMBER, Ok): Membership._on_ok,
    (State.MEMBER, ListRequest): Membership._on_list_request,
    (State.MEMBER, Rejoin): Membership._on_rejoin,
    (State.MEMBER, Error): Membership._on_error,
    (State.LEAVING, Goodbye): Membership._on_goodbye,
    (State.LEAVING, Rejoin): Membership._on_nothing,
    (State.LEAVING, Error): Membership._on_leave_error,
}
"""The handlers of replies to open requests. Any other pair is a mistake of the registrar: logged and ignored."""
