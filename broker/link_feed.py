"""The registrar's end of the ordered link: feeds each lookup the state and then every change. Pure.

The state is not copied. It is read page by page from the live registry, as the lookup's acknowledgements allow, and
changes that happen meanwhile are sent in between. Since every event is absolute, a peer whose turn has not come yet
needs none of them, and for all others the order of the stream gives the right result. Peers that join later are read in
the same way: so if a thousand peers join at once with long lists, only their names wait.

What waits for one lookup is bounded (LINK_QUEUE_COUNT_MAX events, LINK_WINDOW_COUNT messages under way). A lookup
that falls behind further, or is silent, is forgotten; its next `Ack` is answered `LinkLost` and it starts over.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import islice

from broker.effects import Note, RegistrarEffect, SendLookup
from broker.events import EntryGone, EntrySet, Event, PeerGone, PeerSet
from broker.link_messages import Changes, FromLookup, LinkBeat, LinkLost, StateRequest
from broker.registry import Registry
from protocol import limits as lim

QUERY = "Query"
"""The kind of request that lookups answer."""
_SILENT_SECONDS = 3 * lim.LINK_SILENT_SECONDS


def _names_of(entry: EntrySet) -> set[object]:
    first = (entry.manifest, entry.name, entry.signature)
    return {first, *((alias.manifest, alias.name, alias.signature) for alias in entry.aliases)}


class _Link:
    """One lookup's place in the stream."""

    def __init__(self, route: bytes, request: StateRequest, peers: Sequence[str], now: float) -> None:
        self.route = route
        self.sync = request.sync
        self.answers = request.answers
        self.queries: int | None = None
        """How many it has heard, as it said last."""
        self.sent = 0
        self.acked = 0
        self.heard_at = now
        self.whole_at: int | None = None
        """The value of `sent` when the last page of the state was sent."""
        self.queue: deque[tuple[Event, int | None]] = deque()
        """Changes not yet sent; the last event of a change set with the seq reached after it."""
        self.unread: OrderedDict[str, None] = OrderedDict.fromkeys(peers)  # a plain dict finds its first ever slower
        """Members whose state is still to be sent."""
        self.told: set[str] = set()
        """Members whose state was sent, or is being sent."""
        self.unsent: dict[str, dict[str, None]] = {}
        """By member whose state is not sent yet: what it has announced meanwhile."""
        self.reading: tuple[str, deque[str]] | None = None
        """The member being sent, and those of its digests that are still to be sent."""

    @property
    def loading(self) -> bool:
        """Whether there is state left to read."""
        return self.whole_at is None or bool(self.unread) or self.reading is not None

    @property
    def following(self) -> bool:
        return self.whole_at is not None and self.acked >= self.whole_at

    def read_state(self, registry: Registry) -> list[Event]:
        """The next page of the state; less than a page only when it is the last."""
        page: list[Event] = []
        while len(page) < lim.LINK_PAGE_COUNT:
            if self.reading is None:
                if not self.unread:
                    break
                peer = next(iter(self.unread))
                start = registry.peer_events(peer)
                if len(page) + len(start) > lim.LINK_PAGE_COUNT:
                    break
                page += start
                del self.unread[peer]
                if not start:  # it has gone since
                    continue
                self.told.add(peer)
                self.reading = (peer, deque(registry.members[peer].listings))
            peer, digests = self.reading
            while digests and len(page) < lim.LINK_PAGE_COUNT:
                event = registry.entry_event(peer, digests.popleft())
                if event is not None:
                    page.append(event)
            if not digests:
                self.unsent.pop(peer, None)
                self.reading = None
        return page

    def add(self, events: Sequence[Event], seq: int, registry: Registry) -> None:
        """Queue one change set, which ``registry`` has applied, except for what the state will contain anyway."""
        gone: dict[str, None] = {}
        for event in events:
            if isinstance(event, PeerSet) and event.peer not in self.told:
                self.unread[event.peer] = None
            elif isinstance(event, PeerGone):
                self.told.discard(event.peer)
                gone |= self.unsent.pop(event.peer, {})
                if self.reading is not None and self.reading[0] == event.peer:
                    self.reading = None
            elif isinstance(event, EntrySet) and event.peer in self.unread:
                self.unsent.setdefault(event.peer, {})[event.digest] = None
            elif isinstance(event, EntryGone) and event.digest in self.unsent.get(event.peer, {}):
                gone[event.digest] = None
        again = [event for digest in gone for event in self._again(digest, registry)]
        wanted = [*again, *(event for event in events if event.peer not in self.unread)]
        self.queue.extend((event, None) for event in wanted[:-1])
        if wanted:
            self.queue.append((wanted[-1], seq))

    def _again(self, digest: str, registry: Registry) -> Iterator[Event]:
        """What was sent of ``digest``, of one member for each of its names: they may be newer, by an announcement of a
        member that is gone before its turn came."""
        swarm = registry.swarms.get(digest)
        holders = () if swarm is None else (*swarm.sources, *swarm.requesting)
        seen: set[object] = set()
        for peer in holders:
            event = registry.entry_event(peer, digest) if peer in self.told else None
            if event is not None and not seen.issuperset(names := _names_of(event)):
                seen |= names
                yield event

    def take_changes(self) -> tuple[list[Event], int | None]:
        """The events for the next message, and the seq reached with them; None within a change set."""
        chunk = list(islice(self.queue, lim.LINK_PAGE_COUNT))
        for _ in chunk:
            self.queue.popleft()
        return [event for event, _ in chunk], chunk[-1][1]


class LinkFeed:
    """All lookups that follow ``registry``. ``settled_at`` is the time from which the registrar is assumed to know all
    members."""

    def __init__(self, registry: Registry, epoch: int, settled_at: float) -> None:
        self._registry = registry
        self._epoch = epoch
        self._settled_at = settled_at
        self._seq = 0
        self._links: dict[bytes, _Link] = {}
        self.requests: Counter[str] = Counter()
        """How many requests of each kind the tracker has heard; the registrar counts its own."""

    @property
    def following(self) -> int:
        """How many lookups have the whole state."""
        return sum(link.answers and link.following for link in self._links.values())

    def handle(self, route: bytes, message: FromLookup, now: float) -> list[RegistrarEffect]:
        """A lookup requests the state or acknowledges."""
        if isinstance(message, StateRequest):
            return self._start(route, message, now)
        link = self._links.get(route)
        if link is None or link.sync != message.sync or message.received > link.sent:
            return [SendLookup(route, LinkLost(message.sync))]
        link.heard_at = now
        link.acked = max(link.acked, message.received)
        if link.queries is not None:
            self.requests[QUERY] += max(0, message.queries - link.queries)
        link.queries = message.queries
        return self._pump(link, now)

    def changed(self, events: Sequence[Event], seq: int, now: float) -> list[RegistrarEffect]:
        """The registry has applied ``events``, the change set that ends at ``seq``."""
        self._seq = seq
        effects: list[RegistrarEffect] = []
        for link in list(self._links.values()):
            link.add(events, seq, self._registry)
            effects += self._pump(link, now)
            if len(link.queue) > lim.LINK_QUEUE_COUNT_MAX:
                effects.append(self._forget(link, f"{len(link.queue)} changes behind"))
        return effects

    def lost(self, route: bytes) -> list[RegistrarEffect]:
        """Nothing can be sent to ``route`` any more."""
        link = self._links.get(route)
        return [] if link is None else [self._forget(link, "its connection is gone")]

    def beat(self, now: float) -> list[RegistrarEffect]:
        """Once a second: send a sign of life, and forget silent lookups."""
        effects: list[RegistrarEffect] = []
        for link in list(self._links.values()):
            if now - link.heard_at > _SILENT_SECONDS:
                effects.append(self._forget(link, f"silent for {now - link.heard_at:.0f} s"))
            else:
                effects.append(SendLookup(link.route, self._beat_for(link)))
        return effects

    def _beat_for(self, link: _Link) -> LinkBeat:
        if link.answers:
            return LinkBeat(link.sync, link.sent)
        lookups = sum(other.answers for other in self._links.values())
        return LinkBeat(link.sync, link.sent, tuple(sorted(self.requests.items())), lookups, self.following)

    def _start(self, route: bytes, request: StateRequest, now: float) -> list[RegistrarEffect]:
        known = self._links.get(route)
        if known is not None and known.sync == request.sync:
            return []  # repeated: it is under way
        if known is None and len(self._links) >= lim.LINKS_COUNT_MAX:
            return [Note("warning", f"refused a lookup: {lim.LINKS_COUNT_MAX} are connected")]
        link = self._links[route] = _Link(route, request, list(self._registry.members), now)
        return self._pump(link, now)

    def _pump(self, link: _Link, now: float) -> list[RegistrarEffect]:
        """Send what the window allows: changes first, so that a page of the state is never older than they are."""
        effects: list[RegistrarEffect] = []
        while link.sent - link.acked < lim.LINK_WINDOW_COUNT and (link.queue or link.loading):
            seq: int | None = self._seq
            if link.queue:
                events, seq = link.take_changes()
            else:
                events = link.read_state(self._registry)
                if link.whole_at is None and not link.unread and link.reading is None:
                    link.whole_at = link.sent + 1
            more = seq is None or link.loading
            settling = max(0.0, self._settled_at - now)
            message = Changes(link.sync, link.sent, self._epoch, seq or 0, more, settling, events)
            effects.append(SendLookup(link.route, message))
            link.sent += 1
        return effects

    def _forget(self, link: _Link, reason: str) -> Note:
        del self._links[link.route]
        return Note("warning", f"a lookup lost its link ({reason}); it will ask for the state again")
