"""The registrar's conversations with peers (PROTOCOL.md, section 4). Pure; the only writer of the registry.

Join -> ListRequest, FileList -> PageOk ... -> Welcome; Heartbeat, Update, Transfer -> Ok; Leave -> Goodbye. When a peer
and the registrar disagree, the reply is `Rejoin` if the peer (or this run of it) is not a member, `ListRequest` if its
list has another version, `Error` if the fault is its own. Any request may be repeated: it takes effect once.

Elsewhere: numbers and announcements of changes (`broker.ledger`), incomplete lists (`broker.list_transfers`), leases
(`broker.sessions`), the lookups (`broker.link_feed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from broker.effects import Note, RegistrarEffect, Reply, SendLookup, Serving
from broker.events import DownloadsSet, EntryGone, EntrySet, Event, LoadSet, PeerGone, PeerSet
from broker.ledger import Ledger
from broker.link_messages import FromLookup
from broker.list_transfers import Key, ListTransfer, ListTransfers, bad_entry, entry_set, page_ok, weight_of
from broker.member_notes import MemberNotes, label
from broker.registry import HOLDING_AFTER, Member
from broker.room import Room
from broker.sessions import Session, Sessions
from protocol import limits as lim
from protocol.endpoints import member_endpoint
from protocol.errors import ProtocolError
from protocol.messages import (
    Entry,
    Error,
    FileList,
    Goodbye,
    Heartbeat,
    Join,
    Leave,
    ListRequest,
    MemberRequest,
    Ok,
    PageOk,
    RegistrarReply,
    Rejoin,
    Transfer,
    Update,
    Welcome,
)


class Terms(NamedTuple):
    """What the tracker tells and grants its peers. ``roster`` and ``lookups`` are the endpoints that peers dial."""

    lease_seconds: float
    heartbeat_seconds: float
    peers_max: int
    roster: str
    lookups: tuple[str, ...]


class Registrar:
    """One start of the registrar: ``epoch`` must differ from (be above) that of any earlier start."""

    def __init__(self, terms: Terms, epoch: int, now: float) -> None:
        self._terms = terms
        self._ledger = Ledger(epoch, settled_at=now + terms.lease_seconds, now=now)
        self.registry = self._ledger.registry
        self._sessions = Sessions(terms.lease_seconds)
        self._transfers = ListTransfers()
        self._room = Room(self.registry, self._sessions, terms.peers_max)
        self._loads: dict[str, LoadSet] = {}
        self._downloads: dict[str, DownloadsSet] = {}
        """Figures reported since the last beat, by peer."""
        self._beat_at = now
        self._expire_from = now
        self._serving = False
        self._notes = MemberNotes(now)

        self.requests = self._ledger.feed.requests
        """How many of each kind its owner has heard."""

    @property
    def seq(self) -> int:
        """The number of the last change."""
        return self._ledger.seq

    # --- events ------------------------------------------------------------------------------------------

    def handle(
        self, route: bytes, address: str, message: MemberRequest, now: float, key: str = ""
    ) -> list[RegistrarEffect]:
        """A peer at ``route``, whose IP address is ``address`` (empty: not known), asks; the last effect answers. Its
        id is that of ``key`` (empty: a network without keys)."""
        session = self._sessions.get(message.peer)
        effects: list[RegistrarEffect] = []
        if session is not None:
            if not session.accepts(message.token):
                return [Reply(route, self._wrong_token(message))]
            if message.run in session.replaced:
                return self._replaced(message, session, route)
            self._sessions.renew(message.peer, now)
        reply = self._converse(address, key, message, session, now, effects)
        effects.append(Reply(route, reply))
        return effects

    def handle_link(self, route: bytes, message: FromLookup, now: float) -> list[RegistrarEffect]:
        """A message from the lookup at ``route`` of the link socket."""
        effects = self._ledger.feed.handle(route, message, now)
        if not self._serving and self._ledger.feed.following >= len(self._terms.lookups):
            self._serving = True
            effects.append(Serving())
        return effects

    def undeliverable(self, effect: SendLookup) -> list[RegistrarEffect]:
        """``effect`` could not be sent."""
        return self._ledger.feed.lost(effect.route)

    def next_deadline(self) -> float:
        """When `tick` is due."""
        deadlines = [self._beat_at, self._transfers.next_deadline(), self._notes.next_deadline()]
        lease = self._sessions.next_deadline()
        if lease is not None:
            deadlines.append(max(lease, self._expire_from))
        return min(at for at in deadlines if at is not None)

    def tick(self, now: float) -> list[RegistrarEffect]:
        """Send the beat, and forget members that have been silent for a lease."""
        if now - self.next_deadline() > self._terms.lease_seconds / 3:
            # This process itself stood still (overload, suspended machine): heartbeats lie unread in its sockets.
            self._expire_from = now + self._terms.lease_seconds
        effects: list[RegistrarEffect] = []
        if now >= self._beat_at:
            self._beat_at = now + lim.ROSTER_BEAT_SECONDS
            figures: list[LoadSet | DownloadsSet] = [*self._loads.values(), *self._downloads.values()]
            self._loads.clear()
            self._downloads.clear()
            effects += [*self._ledger.commit_figures(figures, now), self._ledger.beat(), *self._ledger.feed.beat(now)]
        if now >= self._expire_from:
            weight = 0
            for peer in self._sessions.expired(now):
                weight += 1 + self.registry.members[peer].weight
                effects += self._remove(peer, expired=True, now=now)
                if weight >= lim.LINK_PAGE_COUNT:  # the rest in the next turn: others are waiting to be answered
                    break
        self._transfers.expire(now)
        return effects + self._notes.tick(now)

    # --- conversations -----------------------------------------------------------------------------------

    def _converse(
        self,
        address: str,
        public_key: str,
        message: MemberRequest,
        session: Session | None,
        now: float,
        effects: list[RegistrarEffect],
    ) -> RegistrarReply:
        """The reply to ``message``; its other effects are added to ``effects``."""
        match message:
            case Heartbeat() | Update() | Transfer():  # first, because nearly all are
                if session is None or session.run != message.run:
                    return Rejoin(message.id)
                return self._converse_with_member(message, session, now, effects)
            case Join():
                return self._join(message, address, now)
            case FileList():
                return self._file_list(message, public_key, session, now, effects)
            case Leave():
                self._transfers.drop(_key(message))
                if session is not None:
                    effects += self._remove(message.peer, expired=False, now=now)
                return Goodbye(message.id, self._ledger.epoch, self.seq)

    def _converse_with_member(
        self, message: Heartbeat | Update | Transfer, session: Session, now: float, effects: list[RegistrarEffect]
    ) -> RegistrarReply:
        match message:
            case Heartbeat():
                return self._heartbeat(message, session, now, effects)
            case Update():
                return self._update(message, session, now, effects)
            case Transfer():
                return self._transfer(message, session, now, effects)

    def _join(self, message: Join, address: str, now: float) -> RegistrarReply:
        if not self._room.for_member(message.peer, address):
            return self._too_many_peers(message)
        if message.name and not message.name.isprintable():
            return Error(message.id, "bad_name", "a peer's name is printable text on one line")
        try:
            endpoint = member_endpoint(message.endpoint, address)
        except ProtocolError as error:
            return Error(message.id, "bad_endpoint", str(error))
        key = _key(message)
        if self._transfers.get(key) is None and not self._transfers.make_room(address):
            return Error(message.id, "busy", f"{len(self._transfers)} peers are joining; try again in a few seconds")
        transfer = self._transfers.start(key, message.name, endpoint, address, joining=True, now=now)
        return ListRequest(message.id, transfer.list_id)

    def _file_list(
        self, message: FileList, public_key: str, session: Session | None, now: float, effects: list[RegistrarEffect]
    ) -> RegistrarReply:
        key = _key(message)
        transfer = self._transfers.get(key)
        if transfer is None or transfer.list_id != message.list_id:
            if session is not None and session.run == message.run and session.list_id == message.list_id:
                # a page of the list it is in with
                return self._welcome(message) if message.last else PageOk(message.id, message.list_id, message.page)
            return self._start_over(message, transfer, session, now)
        if message.page > transfer.next_page:
            return Error(message.id, "bad_page", f"page {message.page} came where {transfer.next_page} was expected")
        if message.page < transfer.next_page:
            return page_ok(message, [transfer.entries.get(entry.digest, entry) for entry in message.entries])
        if transfer.next_page and message.version != transfer.version:
            return self._start_over(message, transfer, session, now)
        refusal = self._page_refusal(message, transfer, now, effects)
        if refusal is not None:
            self._transfers.drop(key)
            return refusal
        entries = [self._ledger.announced(entry, now) for entry in message.entries]
        self._transfers.take(key, transfer, msgspec.structs.replace(message, entries=entries), now)
        if not message.last:
            return page_ok(message, entries)
        self._transfers.drop(key)
        return self._whole_list(message, transfer, public_key, now, effects)

    def _start_over(
        self, message: FileList | Heartbeat | Update, transfer: ListTransfer | None, session: Session | None, now: float
    ) -> RegistrarReply:
        """Ask a member, or a joining peer, for the whole list from page 0."""
        key = _key(message)
        if transfer is not None:
            where = (transfer.endpoint, transfer.address)
            transfer = self._transfers.start(key, transfer.name, *where, transfer.joining, now)
        elif session is None or session.run != message.run:
            return Rejoin(message.id)
        elif not self._transfers.make_room(session.address):
            return Error(message.id, "busy", f"{len(self._transfers)} lists are being received; try again later")
        else:
            member = self.registry.members[message.peer]
            where = (member.endpoint, session.address)
            transfer = self._transfers.start(key, member.name, *where, joining=False, now=now)
        return ListRequest(message.id, transfer.list_id)

    def _page_refusal(
        self, message: FileList, transfer: ListTransfer, now: float, effects: list[RegistrarEffect]
    ) -> Error | None:
        """Why ``message`` cannot be the next page of ``transfer``; None when it can."""
        weight = weight_of(message.entries)
        if not weight and not message.last:
            return Error(message.id, "bad_page", "a page without entries can only be the last one")
        count = transfer.weight + weight
        if count > lim.PEER_ENTRIES_COUNT_MAX:
            return Error(message.id, "too_many", f"a list has at most {lim.PEER_ENTRIES_COUNT_MAX} entries")
        if not self._transfers.make_room_for(transfer, weight):
            return Error(message.id, "busy", "too many lists are being received; try again in a few seconds")
        effects += self._make_room(message, transfer.address, count, now)
        if not self._room.is_there_for(message.peer, count):
            return self._registry_full(message)
        return bad_entry(message, message.entries)

    def _whole_list(
        self, message: FileList, transfer: ListTransfer, public_key: str, now: float, effects: list[RegistrarEffect]
    ) -> RegistrarReply:
        """All pages have arrived: the list replaces the old one, in one change set."""
        peer = message.peer
        member = self.registry.members.get(peer)
        if not self._room.for_member(peer, transfer.address):
            return self._too_many_peers(message)
        leaving = self._room.gives_way_to_member(peer, transfer.address)
        if leaving is not None:
            effects += self._give_way(leaving, now)
        events: list[Event] = []
        if transfer.joining or member is None:
            events.append(PeerSet(peer, transfer.name, transfer.endpoint, public_key))
            told = (transfer.name, transfer.endpoint, len(transfer.entries))
            effects += self._notes.joined(peer, *told, again=member is not None, now=now)
        events += self._list_changes(peer, member, transfer)
        effects += self._ledger.commit(events, now)
        session = Session(message.token, message.run, message.version, message.list_id, transfer.address)
        self._sessions.put(peer, session, now)
        self._room.changed(peer)
        return self._welcome(message)

    def _list_changes(self, peer: str, member: Member | None, transfer: ListTransfer) -> list[Event]:
        """The events that turn what ``member`` lists into the list of ``transfer``."""
        old = list(member.listings) if member is not None else []
        events: list[Event] = [EntryGone(peer, digest) for digest in old if digest not in transfer.entries]
        # A new address has to be announced with every entry: sources are known by it.
        moved = member is None or (transfer.joining and member.endpoint != transfer.endpoint)
        for entry in transfer.entries.values():
            event = self._entry_set(peer, entry)
            if moved or event != self.registry.entry_event(peer, entry.digest):
                events.append(event)
        return events

    def _heartbeat(
        self, message: Heartbeat, session: Session, now: float, effects: list[RegistrarEffect]
    ) -> RegistrarReply:
        member = self.registry.members[message.peer]
        if (message.free is None) != (member.free is None):  # people wait for that
            effects += self._ledger.commit_figures([msgspec.structs.replace(member.figures(), free=message.free)], now)
        figures = LoadSet(message.peer, message.load, message.free, message.rate, message.others)
        if figures != member.figures():
            self._loads[message.peer] = figures
        else:
            self._loads.pop(message.peer, None)
        if message.downloads is not None:
            self._downloads[message.peer] = DownloadsSet(message.peer, message.downloads)
        if message.orders is not None:
            others = [orders for peer, orders in self.registry.orders.items() if peer != message.peer]
            if sum(map(len, others)) + len(message.orders) > lim.ORDERS_COUNT_MAX:
                what = f"the tracker is at its limit of {lim.ORDERS_COUNT_MAX} orders; cancel some"
                return Error(message.id, "full", what)
            effects += self._ledger.commit(self.registry.order_changes(message.peer, message.orders), now)
        if message.version == session.version:
            return self._ok(message)
        transfer = self._transfers.get(_key(message))
        if transfer is not None and transfer.next_page:
            return self._ok(message)  # the newer list is on its way
        return self._start_over(message, transfer, session, now)

    def _update(self, message: Update, session: Session, now: float, effects: list[RegistrarEffect]) -> RegistrarReply:
        if message.version == session.version:
            return self._ok(message, message.added)
        if message.base != session.version:
            return self._start_over(message, self._transfers.get(_key(message)), session, now)
        member = self.registry.members[message.peer]
        count = member.weight + weight_of(message.added)
        if count > lim.PEER_ENTRIES_COUNT_MAX:
            return Error(message.id, "too_many", f"a list has at most {lim.PEER_ENTRIES_COUNT_MAX} entries")
        effects += self._make_room(message, session.address, count, now)
        if not self._room.is_there_for(message.peer, count):
            return self._registry_full(message)
        refusal = bad_entry(message, message.added)
        if refusal is not None:
            return refusal
        entries = [self._ledger.announced(entry, now) for entry in message.added]
        added = {entry.digest: self._entry_set(message.peer, entry) for entry in entries}
        gone = dict.fromkeys(digest for digest in message.removed if digest in member.listings and digest not in added)
        events: list[Event] = [EntryGone(message.peer, digest) for digest in gone]
        events += [event for event in added.values() if event != self.registry.entry_event(message.peer, event.digest)]
        effects += self._commit(message.peer, events, now)
        session.version = message.version
        return self._ok(message, message.added)

    def _transfer(
        self, message: Transfer, session: Session, now: float, effects: list[RegistrarEffect]
    ) -> RegistrarReply:
        peer, digest = message.peer, message.digest
        before = self.registry.holding(peer, digest)
        after = HOLDING_AFTER[message.state, before]
        if after == before:
            return self._ok(message)
        if after is None:
            effects += self._commit(peer, [EntryGone(peer, digest)], now)
            return self._ok(message)
        member, swarm = self.registry.members[peer], self.registry.swarms.get(digest)
        if swarm is None:
            return Error(message.id, "not_found", "no member lists this content; send its entry in an Update first")
        # Until its list says how it calls the content, it is known by the name the first of the others gave it.
        event = self.registry.entry_event(peer, digest)
        if event is None:
            listing = next(iter(swarm.listings.values()))
            named = (listing.manifest, listing.name, listing.length)
            event = EntrySet(peer, digest, *named, after, signature=listing.signature)
        cell = self.registry.cell_for(peer, digest, after)
        event = self._ledger.announced(msgspec.structs.replace(event, holding=after, cell=cell), now)
        if before is None:
            effects += self._make_room(message, session.address, member.weight + 1, now)
            if not self._room.is_there_for(peer, member.weight + 1):
                return self._registry_full(message)
        effects += self._commit(peer, [event], now)
        return self._ok(message)

    # --- members -----------------------------------------------------------------------------------------

    def put_out(self, peers: Iterable[str], now: float) -> list[RegistrarEffect]:
        """The keys of ``peers`` are authorised no more."""
        effects: list[RegistrarEffect] = []
        for peer in peers:
            if peer in self.registry.members:
                effects += self._remove(peer, False, now, "is shut out, because its key is no longer authorised")
        return effects

    def _remove(self, peer: str, expired: bool, now: float, what: str = "left") -> list[RegistrarEffect]:
        member = self.registry.members[peer]
        self._sessions.remove(peer)
        self._loads.pop(peer, None)
        self._downloads.pop(peer, None)
        what = f"was silent for {self._terms.lease_seconds:g} s and is forgotten" if expired else what
        notes = self._notes.left(peer, member.name, what, len(member.listings), now)
        return [*notes, *self._commit(peer, [PeerGone(peer, expired)], now)]

    def _entry_set(self, peer: str, entry: Entry) -> EntrySet:
        return entry_set(peer, entry, self.registry.cell_for(peer, entry.digest, entry.holding))

    def _commit(self, peer: str, events: Sequence[Event], now: float) -> list[RegistrarEffect]:
        """Take in ``events`` of the entries of member ``peer``."""
        effects = self._ledger.commit(events, now)
        self._room.changed(peer)
        return effects

    def _make_room(self, message: MemberRequest, address: str, count: int, now: float) -> list[RegistrarEffect]:
        """Have others give way, so that the peer at ``address`` can have ``count`` entries."""
        leaving = self._room.give_way_to_entries(message.peer, address, count)
        return [effect for peer in leaving for effect in self._give_way(peer, now)]

    def _give_way(self, peer: str, now: float) -> list[RegistrarEffect]:
        member = self.registry.members[peer]
        what = f"the tracker is full: {label(peer, member.name)} gives way, as most comes from its address"
        return [Note("warning", what), *self._remove(peer, expired=False, now=now)]

    def _welcome(self, message: FileList) -> Welcome:
        terms = self._terms
        endpoint = self.registry.members[message.peer].endpoint
        times = (terms.lease_seconds, terms.heartbeat_seconds)
        lookups, moments = list(terms.lookups), self._ledger.moments(message.peer, message.entries)
        return Welcome(message.id, self._ledger.epoch, self.seq, *times, endpoint, terms.roster, lookups, moments)

    def _ok(self, message: MemberRequest, added: Sequence[Entry] = ()) -> Ok:
        return Ok(message.id, self._ledger.epoch, self.seq, self._ledger.moments(message.peer, added))

    def _wrong_token(self, message: MemberRequest) -> Error:
        detail = (
            f"peer id {message.peer} belongs to a member that joined with another token. If this peer has several "
            f"trackers, this may be another of them by a second name: name each once. If that is another peer, "
            f"delete identity.json in the data directory of this one and start it again: it gets an id of its own. If "
            f"this peer had that token and lost it, the id is free {self._terms.lease_seconds:g} s after it ended."
        )
        return Error(message.id, "wrong_token", detail)

    def _replaced(self, message: MemberRequest, session: Session, route: bytes) -> list[RegistrarEffect]:
        """Refuse a run that another one has replaced: a late request of a peer that was restarted, or a twin."""
        self._transfers.drop(_key(message))
        effects: list[RegistrarEffect] = []
        if isinstance(message, Join) and not session.replaced[message.run]:
            session.replaced[message.run] = True
            name = label(message.peer, self.registry.members[message.peer].name)
            text = f"two peers use the identity of {name}; one data directory is probably a copy of the other"
            effects.append(Note("warning", f"{text}; the one that joined last is served"))
        detail = (
            "another peer has since joined with this peer's identity. One data directory is probably a copy of the "
            "other: stop the peer that runs on the copy, delete identity.json there and start it again; it gets an "
            "identity of its own. This peer can join again when the other one is gone, or with the command join."
        )
        return [*effects, Reply(route, Error(message.id, "replaced", detail))]

    def _too_many_peers(self, message: MemberRequest) -> Error:
        what = f"the tracker is at its limit of {self._terms.peers_max} peers (peers_max)"
        return Error(message.id, "full", what)

    def _registry_full(self, message: MemberRequest) -> Error:
        return Error(message.id, "full", f"the tracker is at its limit of {lim.ENTRIES_COUNT_MAX} entries")

    def check_invariants(self) -> None:
        """Assert that members, sessions and transfers agree (for tests: slow)."""
        self.registry.check_invariants()
        self._sessions.check_invariants()
        self._transfers.check_invariants()
        self._room.check_invariants()
        assert len(self._sessions) == len(self.registry.members)
        assert all(self._sessions.get(peer) is not None for peer in self.registry.members)
        assert all(peer in self.registry.members for peer in (*self._loads, *self._downloads))


def _key(message: MemberRequest) -> Key:
    return message.peer, message.token, message.run
