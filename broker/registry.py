"""The registry: who is a member, and who has what. Pure state, the same class in registrar and lookup.

`Registry.apply` is the only way in. Reading is through the attributes; nobody else writes to them.

Memory. Many peers share the same few files, so what a (peer, file) entry costs is two dictionary slots: one in
`Member.listings` (digest to listing) and one in the swarm's `sources` or `requesting` (by peer). Keys are the one `str`
object of the member or swarm, values are shared objects: a member has one for all content it has whole and one for the
rest. Digest, manifest digest, name, length and signature are kept once per `Listing`. Further names of an entry, which
few have, are kept separately. Dictionaries whose keys are all `str` have 16-byte slots in CPython 3.11.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.cells import Cells
from broker.events import DownloadsSet, EntryGone, EntrySet, Event, LoadSet, OrderGone, OrderSet, PeerGone, PeerSet
from broker.listing_index import Listing, ListingIndex
from protocol.errors import LocalError
from protocol.messages import (
    Alias,
    DownloadState,
    Holding,
    Order,
    OtherTrackers,
    SeederEntry,
    StandingEntry,
    TransferState,
)

_ListingKey = tuple[str, str, int, bytes]
"""Manifest, name, length, signature."""

HOLDING_AFTER: dict[tuple[TransferState, Holding | None], Holding | None] = {
    ("requesting", None): "requesting",
    ("requesting", "requesting"): "requesting",
    ("requesting", "partial"): "partial",
    ("requesting", "whole"): "whole",
    ("started", None): "partial",
    ("started", "requesting"): "partial",
    ("started", "partial"): "partial",
    ("started", "whole"): "whole",
    ("finished", None): "whole",
    ("finished", "requesting"): "whole",
    ("finished", "partial"): "whole",
    ("finished", "whole"): "whole",
    ("failed", None): None,
    ("failed", "requesting"): None,
    ("failed", "partial"): None,
    ("failed", "whole"): "whole",
}
"""The holding of a peer after a transfer report; None is nothing. Reports only add: a late or repeated one takes
nothing back, only lists do."""


class Swarm:
    """All peers that have or want the content ``digest``. ``sources`` maps a peer to its entry in answers."""

    __slots__ = ("cells", "digest", "listings", "requesting", "sources", "whole")

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.cells: Cells | None = None
        """Of those who are, or were, receivers. Most swarms have none."""
        self.sources: dict[str, SeederEntry] = {}
        self.requesting: dict[str, None] = {}
        self.whole = 0
        self.listings: dict[_ListingKey, Listing] = {}

    @property
    def partial(self) -> int:
        """The number of sources that have part of it."""
        return len(self.sources) - self.whole

    @property
    def wanted(self) -> bool:
        """Is there a peer in the swarm that does not have all of it?"""
        return bool(self.requesting) or self.whole < len(self.sources)

    def set_cell(self, peer: str, cell: int | None) -> None:
        """``peer`` has that ``cell`` from now on; None: it has none."""
        if cell is not None and self.cells is None:
            self.cells = Cells()
        if self.cells is not None:
            self.cells.set(peer, cell)

    def cell(self, peer: str) -> int | None:
        """That of ``peer`` in the grid."""
        return None if self.cells is None else self.cells.of.get(peer)

    def holding(self, peer: str) -> Holding | None:
        """The holding of ``peer`` in this swarm."""
        source = self.sources.get(peer)
        if source is None:
            return "requesting" if peer in self.requesting else None
        return "whole" if source.whole else "partial"


class Member:
    """A member of the network, with counts of its entries by holding. ``listings`` has the first name of each of its
    contents, ``aliases`` the others of those that have more; ``weight`` counts all of them."""

    __slots__ = (
        "_as_source",
        "aliases",
        "downloads",
        "endpoint",
        "free",
        "key",
        "listings",
        "load",
        "name",
        "others",
        "partial",
        "peer",
        "rate",
        "requesting",
        "weight",
        "whole",
    )

    def __init__(self, peer: str, name: str, endpoint: str, key: str = "") -> None:
        self.peer = peer
        self.move(name, endpoint, key)
        self.load = 0
        self.free: int | None = None
        self.rate = 0
        self.others: OtherTrackers = ()
        self.downloads: list[DownloadState] = []
        self.listings: dict[str, Listing] = {}
        self.aliases: dict[str, tuple[Listing, ...]] = {}
        self.weight = 0
        self.whole = 0
        self.partial = 0
        self.requesting = 0

    def move(self, name: str, endpoint: str, key: str) -> None:
        """Set its name, endpoint and key."""
        self.name, self.endpoint, self.key = name, endpoint, key
        self._as_source = tuple(SeederEntry(self.peer, name, endpoint, whole, key) for whole in (False, True))

    def figures(self) -> LoadSet:
        """What its last heartbeat said, as an event."""
        return LoadSet(self.peer, self.load, self.free, self.rate, self.others)

    def as_source(self, whole: bool) -> SeederEntry:
        """Its entry in answers, as a source of whole or partial content: the same object for all swarms."""
        return self._as_source[whole]

    def count(self, holding: Holding, change: int) -> None:
        """Add ``change`` to the count of ``holding``."""
        if holding == "whole":
            self.whole += change
        elif holding == "partial":
            self.partial += change
        else:
            self.requesting += change


class Registry:
    """Members, swarms and their entries. ``index`` is kept up to date when given (lookups page by name)."""

    def __init__(self, index: ListingIndex | None = None) -> None:
        self.members: dict[str, Member] = {}
        self.swarms: dict[str, Swarm] = {}
        self.orders: dict[str, dict[str, Order]] = {}
        """By the peer that gives them, then by their ids; only peers that give any."""
        self.weight = 0
        """The number of names in all entries; limits count each as an entry."""
        self.without_seeder = 0
        """The number of swarms in which nobody has all of it."""
        self.membership_changes = 0
        """Counts joins and leaves."""
        self.index = index
        self._ids: list[str] = []
        self._ids_as_of = 0

    def ids(self) -> list[str]:
        """Those of all members, sorted."""
        if self._ids_as_of != self.membership_changes:
            self._ids, self._ids_as_of = sorted(self.members), self.membership_changes
        return self._ids

    # --- writing -----------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Apply ``event``. Raises `LocalError` for an entry of a peer that is not a member: a bug of the writer."""
        match event:
            case EntrySet():
                self._set_entry(event)
            case EntryGone():
                self._drop_entry(event.peer, event.digest)
            case PeerSet():
                self._set_peer(event)
            case PeerGone():
                self._drop_peer(event.peer)
            case LoadSet() | DownloadsSet() | OrderSet() | OrderGone():
                member = self.members.get(event.peer)
                if member is not None:
                    self._tell(member, event)

    def _tell(self, member: Member, event: LoadSet | DownloadsSet | OrderSet | OrderGone) -> None:
        match event:
            case LoadSet():
                member.load, member.free, member.rate, member.others = event.load, event.free, event.rate, event.others
            case DownloadsSet():
                member.downloads = event.downloads
            case OrderSet():
                self.orders.setdefault(event.peer, {})[event.order.order] = event.order
            case OrderGone():
                orders = self.orders.get(event.peer, {})
                orders.pop(event.order, None)
                if not orders:
                    self.orders.pop(event.peer, None)

    def _set_peer(self, event: PeerSet) -> None:
        member = self.members.get(event.peer)
        if member is None:
            self.members[event.peer] = Member(event.peer, event.name, event.endpoint, event.key)
            self.membership_changes += 1
        elif (member.name, member.endpoint, member.key) != (event.name, event.endpoint, event.key):
            member.move(event.name, event.endpoint, event.key)
            for digest in member.listings:
                sources = self.swarms[digest].sources
                if event.peer in sources:
                    sources[event.peer] = member.as_source(sources[event.peer].whole)

    def _drop_peer(self, peer: str) -> None:
        member = self.members.get(peer)
        if member is None:
            return
        for digest in list(member.listings):
            self._drop_entry(peer, digest)
        del self.members[peer]
        self.orders.pop(peer, None)
        self.membership_changes += 1

    def _set_entry(self, event: EntrySet) -> None:
        member = self.members.get(event.peer)
        if member is None:
            raise LocalError(f"registry: an entry of {event.peer}, which is no member")
        swarm = self.swarms.get(event.digest)
        if swarm is None:
            swarm = self.swarms[event.digest] = Swarm(event.digest)
            self.without_seeder += 1
        listing = self._listing(swarm, (event.manifest, event.name, event.length, event.signature), event.announced)
        known = member.listings.get(swarm.digest)
        if known is None:
            self._weigh(member, 1)
        else:
            self._unhold(member, swarm)
        if known is not listing:
            listing.peers += 1
            member.listings[swarm.digest] = listing
            if known is not None:
                self._release(swarm, known)
        if event.aliases or member.aliases:
            self._set_aliases(member, swarm, event)
        self._hold(member, swarm, event.holding)
        swarm.set_cell(event.peer, event.cell)

    def _set_aliases(self, member: Member, swarm: Swarm, event: EntrySet) -> None:
        known = member.aliases.pop(swarm.digest, ())
        if event.aliases:
            aliases = [
                self._listing(swarm, (alias.manifest, alias.name, event.length, alias.signature), alias.announced)
                for alias in event.aliases
            ]
            for listing in aliases:
                listing.peers += 1
            member.aliases[swarm.digest] = tuple(aliases)
        for listing in known:
            self._release(swarm, listing)
        self._weigh(member, len(event.aliases) - len(known))

    def _drop_entry(self, peer: str, digest: str) -> None:
        member = self.members.get(peer)
        listing = member.listings.pop(digest, None) if member is not None else None
        if member is None or listing is None:
            return
        swarm = self.swarms[digest]
        self._unhold(member, swarm)
        swarm.set_cell(peer, None)
        names = (listing, *member.aliases.pop(digest, ()))
        for one in names:
            self._release(swarm, one)
        self._weigh(member, -len(names))
        if not swarm.listings:
            del self.swarms[digest]
            self.without_seeder -= 1

    def _weigh(self, member: Member, change: int) -> None:
        member.weight += change
        self.weight += change

    def _hold(self, member: Member, swarm: Swarm, holding: Holding) -> None:
        member.count(holding, 1)
        if holding == "requesting":
            swarm.requesting[member.peer] = None
        else:
            swarm.sources[member.peer] = member.as_source(holding == "whole")
            swarm.whole += holding == "whole"
            self.without_seeder -= holding == "whole" and swarm.whole == 1

    def _unhold(self, member: Member, swarm: Swarm) -> None:
        source = swarm.sources.pop(member.peer, None)
        if source is None:
            del swarm.requesting[member.peer]
            member.requesting -= 1
        else:
            swarm.whole -= source.whole
            self.without_seeder += source.whole and swarm.whole == 0
            member.count("whole" if source.whole else "partial", -1)

    def _listing(self, swarm: Swarm, key: _ListingKey, announced: int) -> Listing:
        listing = swarm.listings.get(key)
        if listing is None:
            listing = swarm.listings[key] = Listing(swarm.digest, *key)
            if self.index is not None:
                self.index.add(listing)
        listing.announced = max(listing.announced, announced)
        return listing

    def _release(self, swarm: Swarm, listing: Listing) -> None:
        listing.peers -= 1
        if listing.peers == 0:
            del swarm.listings[(listing.manifest, listing.name, listing.length, listing.signature)]
            if self.index is not None:
                self.index.discarded()

    # --- reading -----------------------------------------------------------------------------------------

    def announced(self, digest: str, manifest: str, name: str, length: int, signature: bytes) -> int:
        """The timestamp of this name of the content; 0 when it is not known."""
        swarm = self.swarms.get(digest)
        listing = swarm.listings.get((manifest, name, length, signature)) if swarm is not None else None
        return 0 if listing is None else listing.announced

    def holding(self, peer: str, digest: str) -> Holding | None:
        """The holding of ``peer`` in swarm ``digest``; None when it has no such entry."""
        swarm = self.swarms.get(digest)
        return None if swarm is None else swarm.holding(peer)

    def standing(self, peer: str, digest: str) -> StandingEntry:
        """How the member ``peer`` stands with swarm ``digest``."""
        member = self.members[peer]
        download = next((one for one in member.downloads if one.digest == digest), None)
        return StandingEntry(peer, member.name, self.holding(peer, digest), download, member.free, member.rate)

    def cell_for(self, peer: str, digest: str, holding: Holding) -> int | None:
        """The cell that ``peer`` has in the grid of swarm ``digest`` or, if it is to be a receiver, gets."""
        swarm = self.swarms.get(digest)
        if swarm is None:
            return None if holding == "whole" else 0
        known = swarm.cell(peer)
        if known is not None or holding == "whole":
            return known
        return 0 if swarm.cells is None else swarm.cells.free()

    def peer_events(self, peer: str) -> list[Event]:
        """The events that rebuild ``peer`` without its entries; empty when it is not a member."""
        member = self.members.get(peer)
        if member is None:
            return []
        events: list[Event] = [PeerSet(peer, member.name, member.endpoint, member.key)]
        if (figures := member.figures()) != LoadSet(peer, 0):
            events.append(figures)
        if member.downloads:
            events.append(DownloadsSet(peer, member.downloads))
        events += [OrderSet(peer, order) for order in self.orders.get(peer, {}).values()]
        return events

    def order_changes(self, peer: str, orders: list[Order]) -> list[Event]:
        """The events after which ``orders`` are those that ``peer`` gives."""
        known, wanted = self.orders.get(peer, {}), {order.order: order for order in orders}
        events: list[Event] = [OrderGone(peer, order) for order in known if order not in wanted]
        return events + [OrderSet(peer, order) for name, order in wanted.items() if known.get(name) != order]

    def entry_event(self, peer: str, digest: str) -> EntrySet | None:
        """The event that rebuilds one entry; None when there is no such entry."""
        member = self.members.get(peer)
        if member is None:
            return None
        listing = member.listings.get(digest)
        holding = self.holding(peer, digest)
        if listing is None or holding is None:
            return None
        aliases: tuple[Alias, ...] = ()
        if digest in member.aliases:
            aliases = tuple(
                Alias(alias.name, alias.manifest, alias.announced, alias.signature) for alias in member.aliases[digest]
            )
        listed = (listing.manifest, listing.name, listing.length)
        cell = self.swarms[digest].cell(peer)
        return EntrySet(peer, digest, *listed, holding, aliases, listing.announced, listing.signature, cell)

    def events(self) -> Iterator[Event]:
        """The events that rebuild everything, in the order of joining."""
        for peer, member in self.members.items():
            yield from self.peer_events(peer)
            for digest in member.listings:
                event = self.entry_event(peer, digest)
                if event is not None:
                    yield event

    def check_invariants(self) -> None:
        """Assert that every count and cross-reference agrees with the entries themselves (for tests: slow)."""
        entries = [event for event in self.events() if isinstance(event, EntrySet)]
        assert len(entries) == sum(len(m.listings) for m in self.members.values())
        assert self.weight == sum(1 + len(entry.aliases) for entry in entries)
        held = sum(len(s.sources) + len(s.requesting) for s in self.swarms.values())
        assert held == len(entries), "an entry without its member, or the other way round"
        assert all(self.orders.values())
        assert self.orders.keys() <= self.members.keys()
        for peer, member in self.members.items():
            kinds = [self.holding(peer, digest) for digest in member.listings]
            assert (member.whole, member.partial, member.requesting) == tuple(
                kinds.count(kind) for kind in ("whole", "partial", "requesting")
            )
            assert member.aliases.keys() <= member.listings.keys()
            assert member.weight == len(member.listings) + sum(map(len, member.aliases.values()))
        assert self.without_seeder == sum(swarm.whole == 0 for swarm in self.swarms.values())
        for digest, swarm in self.swarms.items():
            assert swarm.whole == sum(source.whole for source in swarm.sources.values())
            for peer, source in swarm.sources.items():
                member = self.members[peer]
                assert source == SeederEntry(peer, member.name, member.endpoint, source.whole, member.key)
            assert not swarm.sources.keys() & swarm.requesting.keys()
            holders = [*swarm.sources, *swarm.requesting]
            if swarm.cells is not None:
                swarm.cells.check_invariants(holders)
            listed = [self.members[peer].listings[digest] for peer in holders]
            assert listed, "a swarm nobody is in"
            listed += [alias for peer in holders for alias in self.members[peer].aliases.get(digest, ())]
            for key, listing in swarm.listings.items():
                assert key == (listing.manifest, listing.name, listing.length, listing.signature)
                assert listing.peers == sum(one is listing for one in listed) > 0
            assert sum(listing.peers for listing in swarm.listings.values()) == len(listed)
        if self.index is not None:
            alive = [listing for swarm in self.swarms.values() for listing in swarm.listings.values()]
            self.index.check_invariants(alive)
