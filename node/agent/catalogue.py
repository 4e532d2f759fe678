"""What this peer shares, and what the others have to be told when it changes. Pure.

Items are by path; several may have the same content, of which the first is served, and all are announced, each by its
name. Owns the order of telling: library, piece server, tracker. Hashing is `node.agent.shares`', rows on disk
`node.agent.library`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from node.agent.effects import Announce, ForgetItem, SaveItem, ToPieceServer, Wish, Withdraw
from node.agent.library import LibraryItem
from node.local_messages import ShareAdd, SharedItem, ShareRemove, ShareState
from protocol.digest import begins_digest
from protocol.limits import ALIASES_COUNT_MAX, LOCAL_BYTES_MAX
from protocol.link import Link, format_link
from protocol.messages import Alias, Entry

STATE_BYTES_MAX = LOCAL_BYTES_MAX // 4
"""Of the items in one `ShareState`: the last may be a tree of a million files, 16 MB of stamps."""
ITEM_BYTES = 1_024
"""About what an item takes besides its stamps."""


class Catalogue:
    """``items`` are the library's. So are those that are ``dormant``: nobody is told of them in this run of the peer,
    unless it is asked for them."""

    def __init__(self, items: Iterable[LibraryItem], dormant: Iterable[LibraryItem] = ()) -> None:
        self._dormant = {item.path: item for item in dormant}
        self._items: dict[str, LibraryItem] = {}
        self._paths: dict[str, dict[str, None]] = {}
        for item in items:
            self._insert(item)

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> list[LibraryItem]:
        return list(self._items.values())

    def at(self, path: str) -> LibraryItem | None:
        return self._items.get(path)

    def known(self, path: str) -> LibraryItem | None:
        """What the library has at ``path``, dormant or not."""
        return self._items.get(path) or self._dormant.get(path)

    def with_digest(self, digest: str) -> LibraryItem | None:
        """The item that is served for ``digest``."""
        path = next(iter(self._paths.get(digest, ())), None)
        return None if path is None else self._items[path]

    def entry(self, digest: str) -> Entry | None:
        """What this peer's list says of ``digest``: the name of the item that is served, and those of the others."""
        first = self.with_digest(digest)
        if first is None:
            return None
        names: dict[Alias, None] = {}
        for path in self._paths[digest]:
            names[Alias(self._items[path].name, self._items[path].manifest)] = None
            if len(names) > ALIASES_COUNT_MAX:
                break
        return Entry(digest, first.manifest, first.name, first.length, "whole", tuple(names)[1:])

    def called(self, name: str) -> list[LibraryItem]:
        """Items whose name, or digest, or the beginning of that, is ``name``, dormant ones too."""
        items = (*self._items.values(), *self._dormant.values())
        return [item for item in items if name == item.name or begins_digest(name, item.digest)]

    def announcement(self) -> list[Wish]:
        """Say everything to a tracker that has not been told anything."""
        return [Announce(entry) for digest in self._paths if (entry := self.entry(digest)) is not None]

    def share_state(self, instance: int, peer: str, serving: bool) -> list[Wish]:
        """All that a new piece server has to be told: one `ShareState`, and what does not fit into it."""
        items = [item for digest in self._paths if (item := self._shared(digest)) is not None]
        size, fit = 0, 0
        while fit < len(items) and size < STATE_BYTES_MAX:
            size += len(items[fit].stamps) + ITEM_BYTES
            fit += 1
        state = ToPieceServer(ShareState(instance, peer, items[:fit], serving))
        return [state, *(ToPieceServer(ShareAdd(item)) for item in items[fit:])]

    def add(self, item: LibraryItem) -> list[Wish]:
        """Share ``item``, in place of what was at its path."""
        wishes: list[Wish] = []
        self._dormant.pop(item.path, None)
        before = self._items.get(item.path)
        if before is not None and before.digest != item.digest:
            wishes += self.remove(item.path)
        served = self._shared(item.digest)
        self._insert(item)  # keeps its place among those of the same content
        return [*wishes, SaveItem(item), *self._changed(item, served)]

    def wake(self, digest: str, besides: str) -> list[Wish]:
        """Share a dormant item of ``digest`` that is not at the path ``besides``, if there is one."""
        found = [item for path, item in self._dormant.items() if item.digest == digest and path != besides]
        return self.add(found[0]) if found else []

    def remove(self, path: str) -> list[Wish]:
        """Share what is at ``path`` no longer; another item of the same content takes its place."""
        if self._dormant.pop(path, None) is not None:
            return [ForgetItem(path)]
        item = self._items.get(path)
        if item is None:
            return []
        served = self._shared(item.digest)
        self._take_out(item)
        return [ForgetItem(path), *self._changed(item, served)]

    def _changed(self, item: LibraryItem, before: SharedItem | None) -> list[Wish]:
        """Tell that ``item`` came or went; ``before`` is what was served of its content."""
        entry, served = self.entry(item.digest), self._shared(item.digest)
        if entry is None or served is None:
            return [ToPieceServer(ShareRemove(item.digest)), Withdraw(item.digest)]
        told = served == before and served.root != item.path
        return [*([] if told else [ToPieceServer(ShareAdd(served))]), Announce(entry)]

    def _shared(self, digest: str) -> SharedItem | None:
        """What the piece server is told of ``digest``."""
        first = self.with_digest(digest)
        if first is None:
            return None
        seeds = {self._items[path].manifest: self._items[path].seed_path for path in self._paths[digest]}
        del seeds[first.manifest]
        return SharedItem(digest, first.manifest, first.seed_path, first.path, first.stamps, seeds)

    def _insert(self, item: LibraryItem) -> None:
        self._items[item.path] = item
        self._paths.setdefault(item.digest, {})[item.path] = None

    def _take_out(self, item: LibraryItem) -> None:
        del self._items[item.path]
        paths = self._paths[item.digest]
        del paths[item.path]
        if not paths:
            del self._paths[item.digest]


def link_of(item: LibraryItem) -> str:
    return format_link(Link(item.digest, item.manifest, item.name, item.length))
