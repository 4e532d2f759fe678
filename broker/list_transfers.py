"""Incoming file lists: pages are collected here, outside the registry, until a list is complete. Pure.

A peer keeps its old list (or is not yet a member) until the last page has arrived. There is one transfer per (peer,
token, run): a stranger who joins with somebody else's id disturbs nothing, nor do late messages of a run that has
ended; the first complete list wins. Bounded in number, in entries, and in the time between two pages. If there are too
many, a peer that asked to join and has not sent a page yet makes room for the next, and so does the address that has
most of them: thousands of such peers keep nobody out.

Many lists that arrive together, as after a restart, name the same few files: equal entries are stored once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from broker.events import EntrySet
from broker.ledger import moments_of
from broker.shares import Shares
from protocol import limits as lim
from protocol.digest import check_same_algorithm
from protocol.errors import SeedError
from protocol.messages import Entry, Error, FileList, PageOk, Update
from protocol.names import check_name

Key = tuple[str, bytes, int]


def weight_of(entries: Sequence[Entry]) -> int:
    """How many entries they count as in limits: an entry counts once for each of its names."""
    return len(entries) + sum(len(entry.aliases) for entry in entries)


def bad_entry(message: FileList | Update, entries: list[Entry]) -> Error | None:
    """Why one of ``entries`` is refused; None when none is."""
    for entry in entries:
        for alias in entry.names():
            try:
                check_name(alias.name)
            except SeedError as error:
                return Error(message.id, "bad_name", str(error)[: lim.DETAIL_BYTES_MAX])
            try:
                check_same_algorithm(entry.digest, alias.manifest)
            except SeedError as error:
                return Error(message.id, "bad_digest", f"{alias.name}: {error}")
            if len(alias.signature) not in (0, lim.SIGNATURE_BYTES):
                what = f"{alias.name}: a signature has {lim.SIGNATURE_BYTES} bytes, not {len(alias.signature)}"
                return Error(message.id, "bad_signature", what[: lim.DETAIL_BYTES_MAX])
    return None


def entry_set(peer: str, entry: Entry, cell: int | None) -> EntrySet:
    named = (entry.manifest, entry.name, entry.length)
    told = (entry.aliases, entry.announced, entry.signature)
    return EntrySet(peer, entry.digest, *named, entry.holding, *told, cell)


def page_ok(message: FileList, entries: Sequence[Entry]) -> PageOk:
    """``entries`` as they were taken."""
    return PageOk(message.id, message.list_id, message.page, moments_of(entries))


class ListTransfer:
    """One list, of which pages 0 to ``next_page`` - 1 have arrived. ``joining``: the peer (re)joins with it."""

    __slots__ = (
        "address",
        "deadline",
        "endpoint",
        "entries",
        "joining",
        "list_id",
        "name",
        "next_page",
        "version",
        "weight",
    )

    def __init__(self, list_id: int, name: str, endpoint: str, address: str, joining: bool) -> None:
        self.list_id = list_id
        self.address = address
        """The IP address it comes from."""
        self.name = name
        self.endpoint = endpoint
        self.joining = joining
        self.next_page = 0
        self.version = 0
        self.entries: dict[str, Entry] = {}
        """By digest. Of two entries with the same content the later one counts."""
        self.weight = 0
        """Entries as limits count them: one for each name of each entry received."""
        self.deadline = 0.0


class ListTransfers:
    """All running transfers, in the order of their deadlines."""

    def __init__(self) -> None:
        self._transfers: OrderedDict[Key, ListTransfer] = OrderedDict()
        self._pageless: OrderedDict[Key, None] = OrderedDict()
        """Those without any page yet, in the order of their deadlines."""
        self._count, self._entries = Shares(), Shares()
        """Transfers, and their weight, by address."""
        self._weight = 0
        self._shared: dict[Entry, Entry] = {}
        """Entries that lists have in common, or may have later; never more than are in the lists."""
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._transfers)

    def make_room(self, address: str) -> bool:
        """Whether there is room for another list from ``address``. Others may be dropped for it."""
        if len(self._transfers) < lim.LIST_TRANSFERS_COUNT_MAX:
            return True
        if self._pageless:
            self.drop(next(iter(self._pageless)))
            return True
        return self._drop_of(self._count.gives_way(address, 1))

    def make_room_for(self, transfer: ListTransfer, weight: int) -> bool:
        """Whether ``transfer`` may have further entries of ``weight``. Other addresses may lose theirs for it."""
        while self._weight + weight > lim.LIST_TRANSFER_ENTRIES_COUNT_MAX:
            if not self._drop_of(self._entries.gives_way(transfer.address, weight)):
                return False
        return True

    def _drop_of(self, address: str | None) -> bool:
        """Drop the heaviest transfer of ``address``; False if that is None."""
        if address is None:
            return False
        found = (key for key, transfer in self._transfers.items() if transfer.address == address)
        self.drop(max(found, key=lambda key: self._transfers[key].weight))
        return True

    def get(self, key: Key) -> ListTransfer | None:
        """The transfer of (peer, token, run)."""
        return self._transfers.get(key)

    def start(self, key: Key, name: str, endpoint: str, address: str, joining: bool, now: float) -> ListTransfer:
        """A new transfer; to be called after `make_room`, unless ``key`` has one already. One without a page yet is
        reused: the request for it was repeated.
        """
        known = self._transfers.get(key)
        if known is not None and known.next_page == 0:
            known.name, known.endpoint, known.joining = name, endpoint, joining or known.joining
            self._touch(key, known, now)
            return known
        self.drop(key)
        self._last_id += 1
        transfer = self._transfers[key] = ListTransfer(self._last_id, name, endpoint, address, joining)
        self._count.add(address, 1)
        self._touch(key, transfer, now)
        return transfer

    def take(self, key: Key, transfer: ListTransfer, page: FileList, now: float) -> None:
        """Add the next page."""
        for entry in page.entries:
            shared = self._shared.setdefault(entry, entry)
            transfer.entries[shared.digest] = shared
        weight = weight_of(page.entries)
        transfer.weight += weight
        self._weigh(transfer, weight)
        transfer.next_page += 1
        transfer.version = page.version
        self._touch(key, transfer, now)

    def drop(self, key: Key) -> None:
        """Forget the transfer of ``key``, if there is one."""
        transfer = self._transfers.pop(key, None)
        self._pageless.pop(key, None)
        if transfer is not None:
            self._count.add(transfer.address, -1)
            self._weigh(transfer, -transfer.weight)

    def next_deadline(self) -> float | None:
        """When `expire` is due."""
        return next((transfer.deadline for transfer in self._transfers.values()), None)

    def expire(self, now: float) -> int:
        """Drop those that made no progress for too long; returns how many."""
        late: list[Key] = []
        for key, transfer in self._transfers.items():
            if transfer.deadline > now:
                break
            late.append(key)
        for key in late:
            self.drop(key)
        return len(late)

    def _weigh(self, transfer: ListTransfer, change: int) -> None:
        self._weight += change
        self._entries.add(transfer.address, change)
        if len(self._shared) > self._weight:
            self._shared.clear()

    def _touch(self, key: Key, transfer: ListTransfer, now: float) -> None:
        transfer.deadline = now + lim.LIST_TRANSFER_SECONDS
        self._transfers.move_to_end(key)
        if transfer.next_page:
            self._pageless.pop(key, None)
        else:
            self._pageless[key] = None
            self._pageless.move_to_end(key)

    def check_invariants(self) -> None:
        """Assert that counts and order are correct (for tests)."""
        assert self._weight == sum(transfer.weight for transfer in self._transfers.values())
        assert self._weight == self._entries.total()
        assert len(self._transfers) == self._count.total()
        assert len(self._shared) <= self._weight
        deadlines = [transfer.deadline for transfer in self._transfers.values()]
        assert deadlines == sorted(deadlines)
        assert list(self._pageless) == [key for key, transfer in self._transfers.items() if not transfer.next_page]
        assert len(self._transfers) <= lim.LIST_TRANSFERS_COUNT_MAX
