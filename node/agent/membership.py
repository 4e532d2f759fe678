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

from node.agent.announced import AnnouncedList
from node.agent.effects import Note
from node.agent.outage import Outage
from protocol.endpoints import host_of, is_loopback, with_host
from protocol.limits import HEARTBEAT_SECONDS, REQUEST_TIMEOUT_SECONDS
from protocol.messages import (
    DownloadState,
    Entry,
    Error,
    FileList,
    Goodbye,
    Heartbeat,
    Join,
    Leave,
    ListRequest,
    Moment,
    Ok,
    Order,
    PageOk,
    RegistrarReply,
    RegistrarRequest,
    Rejoin,
    Transfer,
    TransferState,
    Update,
    Welcome,
)

BACKOFF_FACTOR = 1.5
REPEAT_SECONDS_MAX = 10.0
REFUSED_RETRY_SECONDS = 60.0
"""Time between attempts after a refusal that only a person, or the end of another peer, can resolve."""
ERROR_RETRY_SECONDS = 5.0
JOIN_LOST_SECONDS_FIRST = 0.2
"""A join that the registrar forgot is repeated after at least half of this, and twice as long each further time."""
LEAVE_SECONDS = 2.0
"""How long a leaving peer waits for Goodbye, all repetitions included."""
LEAVE_REPEAT_SECONDS = 0.7
RECONNECT_JITTER_SECONDS = 1.0
NEWS_SECONDS, NEWS_BYTES = 2.0, 30_000
"""While downloads go on, heartbeats come this often, or once for so many bytes that arrive if that is rarer: over
uplinks of 1.6 KB/s they would delay the pieces. When something is decided they come sooner..."""
HASTE_SECONDS = 1.0
"""...and this long after the last one when people wait for what has changed."""
AWAITED_SECONDS = 0.3
"""A new member sends its orders, and whether it accepts any, within this time."""
HEARTBEAT_SECONDS_MIN = 0.05
"""Minimum interval, however often a tracker asks for heartbeats."""
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


class Slot(Enum):
    """At most one request of each is open at a time."""

    CONVERSATION = "Join, FileList, Leave"
    HEARTBEAT = "Heartbeat"
    REPORT = "Update, Transfer"


class Send(Struct, frozen=True):
    message: RegistrarRequest


class Welcomed(Struct, frozen=True):
    """A member now. Endpoints are filled in."""

    welcome: Welcome


class Announced(Struct, frozen=True):
    """The registrar has taken the current entries (or removals) of ``digests``, as of ``seq``."""

    digests: tuple[str, ...]
    epoch: int
    seq: int


class Dated(Struct, frozen=True):
    """The registrar's timestamps of ``names``, each by digest, name and manifest."""

    names: dict[tuple[str, str, str], Moment]


class Departed(Struct, frozen=True):
    """Out of the network; ``acknowledged`` False when no Goodbye came in time."""

    acknowledged: bool


Effect = Send | Welcomed | Announced | Dated | Departed | Note


class _Open:
    """A request that waits for its reply."""

    def __init__(self, message: RegistrarRequest, now: float, due: float) -> None:
        self.message = message
        self.first_at = now
        self.due = due
        self.tries = 1


class Membership:
    """State machine of one peer's membership at one tracker. ``away``: out by request from the start, until `join`.
    ``downloads`` returns what to report about downloads at a given time."""

    def __init__(
        self,
        peer: str,
        token: bytes,
        name: str,
        tracker: str,
        rng: random.Random,
        away: bool = False,
        downloads: Callable[[float], list[DownloadState]] = lambda _now: [],
    ) -> None:
        self.state = State.LEFT if away else State.OUT
        self.list = AnnouncedList(peer, token)
        self.load = 0
        self.free: int | None = None
        """Free bytes for orders; None: orders are not accepted."""
        self.rate = 0
        """Of the last download that was long enough to measure, bytes/s; 0: there was none."""
        self.orders: list[Order] = []
        """Orders that this peer gives."""
        self.epoch = 0
        self.seq = 0
        self.endpoint = ""
        self.tracker_host = host_of(tracker)
        """The address at which the tracker was reached last, as the host of an endpoint."""
        self.reach_problem = ""
        """Why other machines cannot fetch from this peer although it is a member; empty when no such problem is
        known."""
        self._refusal = ""
        self._unreachable = ""
        self._outage = Outage()
        self._peer, self._token, self._name, self._tracker, self._rng = peer, token, name, tracker, rng
        self._own_endpoint = ""
        self._run = self._draw_run()
        self._wanted_in = not away
        self._been_member = False
        self._next_id = 1
        self._open: dict[Slot, _Open] = {}
        self._heartbeat_seconds = HEARTBEAT_SECONDS
        self._heartbeat_at: float | None = None
        self._beat_at = 0.0
        """When the last heartbeat was first sent."""
        self._downloads = downloads
        self._told_downloads: list[DownloadState] | None = None
        self._told_orders: list[Order] | None = None
        """Orders and downloads as the registrar last acknowledged them; None: it may have older ones."""
        self._join_at: float | None = None
        self._join_lost_seconds = JOIN_LOST_SECONDS_FIRST
        self._leave_by: float | None = None
        self._silent_since: float | None = None
        self._heard_at: float | None = None
        self._list_id = 0
        self._page = 0
        self._next_offset = 0

    # --- what the peer wants -----------------------------------------------------------------------------

    @property
    def network(self) -> str:
        """One word for a person: joining, joined, unreachable, refused, left."""
        if self.state in (State.LEAVING, State.LEFT):
            return "left"
        if self.state is State.REFUSED:
            return "refused"
        if self._silent_since is not None:
            return "unreachable"
        return "joined" if self._been_member and self.state in (State.MEMBER, State.LISTING) else "joining"

    @property
    def problem(self) -> str:
        """What keeps this peer from its tracker, in words; empty when nothing does."""
        return self._refusal or self._unreachable

    @property
    def joined(self) -> bool:
        return self.network == "joined"

    def silent_seconds(self, now: float) -> dict[str, float]:
        """How long the tracker has been silent; empty if it never said anything."""
        return {} if self._heard_at is None else {"tracker": now - self._heard_at}

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
            self._become(State.LEFT)
            return [Departed(True)]
        self._become(State.LEAVING)
        self._leave_by = now + LEAVE_SECONDS
        self.list.forget_news()
        return self._ask(Slot.CONVERSATION, Leave(self._new_id(), self._peer, self._token, self._run), now)

    def set_entry(self, entry: Entry, now: float) -> list[Effect]:
        """Announce ``entry``, in place of any other of its digest."""
        return self._pump(now) if self.list.set(entry) else []

    def remove_entry(self, digest: str, now: float) -> list[Effect]:
        return self._pump(now) if self.list.remove(digest) else []

    def transfer(self, digest: str, state: TransferState, now: float) -> list[Effect]:
        """Report a download's state; queued while not joined, dropped when out by request."""
        if not self._wanted_in:
            return []
        self.list.report(digest, state)
        return self._pump(now)

    def hasten(self, now: float) -> None:
        """Send the next heartbeat soon: people wait for changes of downloads or orders."""
        if self._heartbeat_at is not None:
            self._heartbeat_at = min(self._heartbeat_at, max(now, self._beat_at + HASTE_SECONDS))

    # --- what happens ------------------------------------------------------------------------------------

    def connected(self, host: str, now: float) -> list[Effect]:
        """There is a connection to the tracker, reached at ``host``, which may have restarted: repeat open requests,
        and send a heartbeat soon."""
        self.tracker_host = host
        if self._unreachable:
            self._unreachable = f"tracker {self._tracker} does not answer; still trying"
        if self.state is State.LISTING:
            return self._begin_join(now)
        effects: list[Effect] = []
        for request in self._open.values():
            request.first_at, request.due = now, now + self._patience(1)
            effects.append(Send(request.message))
        if self.state is State.MEMBER and Slot.HEARTBEAT not in self._open and self._heartbeat_at is not None:
            self._heartbeat_at = min(self._heartbeat_at, now + self._rng.uniform(0, RECONNECT_JITTER_SECONDS))
        return effects

    def disconnected(self, why: str, now: float) -> list[Effect]:
        """The connection was lost, or an attempt to make one failed. There will be another."""
        if not self._wanted_in:
            return []
        return self._silent(f"tracker {self._tracker}: {why}", now, now)

    def receive(self, reply: RegistrarReply, now: float) -> list[Effect]:
        """A message from the registrar."""
        self._heard_at = now
        effects = self._answered(now)
        slot = next((slot for slot, request in self._open.items() if request.message.id == reply.id), None)
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
            self._become(State.LEFT)
            return [Departed(False)]
        if self._join_at is not None and now >= self._join_at:
            effects += self._begin_join(now)
        for request in list(self._open.values()):
            if now >= request.due:
                effects += self._repeat(request, now)
        if self._heartbeat_at is not None and now >= self._heartbeat_at and Slot.HEARTBEAT not in self._open:
            effects += self._beat(now)
        return effects

    def next_deadline(self) -> float | None:
        moments = [request.due for request in self._open.values()]
        moments += [moment for moment in (self._leave_by, self._join_at) if moment is not None]
        if self._heartbeat_at is not None and Slot.HEARTBEAT not in self._open:
            moments.append(self._heartbeat_at)
        return min(moments, default=None)

    # --- replies, by the state they find -----------------------------------------------------------------

    def _on_list_request(self, reply: ListRequest, _slot: Slot, now: float) -> list[Effect]:
        self._become(State.LISTING)
        self.list.snapshot()
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
        self._heartbeat_seconds = max(HEARTBEAT_SECONDS_MIN, reply.heartbeat_seconds or HEARTBEAT_SECONDS)
        awaited = bool(self.orders) or self.free is not None
        seconds = min(AWAITED_SECONDS, self._heartbeat_seconds) if awaited else self._heartbeat_seconds
        self._heartbeat_at = now + seconds * self._rng.uniform(0.2, 1.0)
        self._told_downloads = self._told_orders = None
        lookups = [with_host(lookup, host) for lookup in reply.lookups]
        welcome = msgspec.structs.replace(reply, roster=with_host(reply.roster, host), lookups=lookups)
        effects += [Welcomed(welcome), Announced(self.list.snapshot_digests(), reply.epoch, reply.seq)]
        return effects + self._pump(now)

    def _on_ok(self, reply: Ok, slot: Slot, now: float) -> list[Effect]:
        effects = self._dated(slot, reply.announced)
        request = self._open.pop(slot).message
        self.seq = max(self.seq, reply.seq)
        if isinstance(request, Update):
            digests = (*(entry.digest for entry in request.added), *request.removed)
            effects.append(Announced(digests, reply.epoch, reply.seq))
        elif isinstance(request, Heartbeat):
            self._told_downloads = request.downloads if request.downloads is not None else self._told_downloads
            self._told_orders = request.orders if request.orders is not None else self._told_orders
        return effects + self._pump(now)

    def _dated(self, slot: Slot, moments: list[Moment]) -> list[Effect]:
        """The open request of ``slot`` announced something, with these timestamps."""
        request = self._open[slot].message
        entries = request.added if isinstance(request, Update) else []
        entries = request.entries if isinstance(request, FileList) else entries
        names = [(entry.digest, name.name, name.manifest) for entry in entries for name in entry.names()]
        if not moments or len(moments) != len(names):
            return []
        dated = {name: moment for name, moment in zip(names, moments, strict=True) if moment}
        self.list.announced(dated)
        return [Dated(dated)]

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
        self._become(State.LEFT)
        return [Departed(True)]

    def _on_error(self, reply: Error, slot: Slot, now: float) -> list[Effect]:
        request = self._open.pop(slot).message
        what = f"tracker {self._tracker} refused {type(request).__name__}: {reply.detail} ({reply.code})"
        if reply.code in LASTING_ERRORS:
            again_at = now + REFUSED_RETRY_SECONDS * self._rng.uniform(0.8, 1.2)
            return self._wait_to_join(State.REFUSED, again_at, Note("error", what))
        if slot is Slot.CONVERSATION:
            again_at = now + ERROR_RETRY_SECONDS * self._rng.uniform(0.8, 1.2)
            return self._wait_to_join(State.JOINING, again_at, Note("warning", what))
        return [Note("warning", what), *self._pump(now)]

    def _on_leave_error(self, reply: Error, _slot: Slot, _now: float) -> list[Effect]:
        self._become(State.LEFT)
        return [Departed(reply.code == "replaced")]  # then there is nothing of this peer any more

    def _on_nothing(self, _reply: RegistrarReply, _slot: Slot, _now: float) -> list[Effect]:
        return []

    # --- steps -------------------------------------------------------------------------------------------

    def _become(self, state: State) -> list[Effect]:
        """Enter ``state``; open or due requests belonged to the previous one, except for a transfer report, which is
        still owed."""
        report = self._open.pop(Slot.REPORT, None)
        self._open.clear()
        if report is not None and isinstance(report.message, Transfer):
            self.list.report_again(report.message)
        self._heartbeat_at = self._join_at = self._leave_by = None
        if state in (State.LEFT, State.OUT):
            self._silent_since = None
            self._unreachable = self._refusal = ""
            self._outage.end()
            self._been_member = False
            self.endpoint = self.reach_problem = ""
        self.state = state
        return []

    def _begin_join(self, now: float) -> list[Effect]:
        self._become(State.JOINING)
        join = Join(self._new_id(), self._peer, self._token, self._name, self._own_endpoint, self._run)
        return self._ask(Slot.CONVERSATION, join, now)

    def _wait_to_join(self, state: State, again_at: float, why: Note) -> list[Effect]:
        """Enter ``state`` and join at ``again_at``; the same problem is logged once."""
        told = self._refusal == why.text
        self._become(state)
        self._refusal, self._join_at = why.text, again_at
        return [] if told else [why]

    def _send_page(self, now: float) -> list[Effect]:
        place = self._list_id, self._page, self._next_offset
        page, self._next_offset = self.list.page(self._new_id(), self._run, *place)
        return self._ask(Slot.CONVERSATION, page, now)

    def _pump(self, now: float) -> list[Effect]:
        """Send the next change, if it is time and none is open."""
        if self.state is not State.MEMBER or Slot.REPORT in self._open or not self.list.owes_news:
            return []
        return self._ask(Slot.REPORT, self.list.next_news(self._new_id(), self._run), now)

    def _beat(self, now: float) -> list[Effect]:
        downloads = self._downloads(now)
        news = downloads if downloads != self._told_downloads else None
        rate = sum(one.rate for one in downloads) if news else 0
        seconds = (
            min(max(NEWS_SECONDS, NEWS_BYTES / rate), self._heartbeat_seconds) if rate else self._heartbeat_seconds
        )
        self._beat_at, self._heartbeat_at = now, now + seconds * self._rng.uniform(0.8, 1.0)
        orders = list(self.orders) if self.orders != self._told_orders else None
        figures = self.list.version, self.load, self._run, news, self.free, orders, self.rate
        return self._ask(Slot.HEARTBEAT, Heartbeat(self._new_id(), self._peer, self._token, *figures), now)

    def _ask(self, slot: Slot, message: RegistrarRequest, now: float) -> list[Effect]:
        self._open[slot] = _Open(message, now, now + self._patience(1))
        return [Send(message)]

    def _repeat(self, request: _Open, now: float) -> list[Effect]:
        request.tries += 1
        request.due = now + self._patience(request.tries)
        return [*self._unanswered(request.first_at, now), Send(request.message)]

    def _patience(self, tries: int) -> float:
        if self.state is State.LEAVING:
            return LEAVE_REPEAT_SECONDS
        seconds: float = min(REQUEST_TIMEOUT_SECONDS * BACKOFF_FACTOR ** (tries - 1), REPEAT_SECONDS_MAX)
        return seconds * self._rng.uniform(0.9, 1.1)

    def _unanswered(self, since: float, now: float) -> list[Effect]:
        if self._silent_since is not None or self.state is State.LEAVING or now < since:
            return []
        return self._silent(f"tracker {self._tracker} does not answer; still trying", since, now)

    def _silent(self, problem: str, since: float, now: float) -> list[Effect]:
        """The tracker has been silent since then."""
        self._silent_since = since if self._silent_since is None else self._silent_since
        self._unreachable = problem
        return [Note("warning", problem)] if self._outage.is_news(problem, now) else []

    def _answered(self, now: float) -> list[Effect]:
        if self._silent_since is None:
            return []
        seconds, self._silent_since = now - self._silent_since, None
        self._unreachable = ""
        self._outage.end()
        return [Note("info", f"tracker {self._tracker} is back after {seconds:.0f} s")]

    def _draw_run(self) -> int:
        return 1 + self._rng.getrandbits(_RUN_BITS)  # 0 would mean that it is not stated

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id


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
